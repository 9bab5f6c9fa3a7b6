"""What a process holds, by the kernel's files and by what drivers tell of devices."""

import os
from pathlib import Path

import psutil
import pytest

from relayd.hardware import Cpu, Device, DeviceKind, Held, Machine, Memory, MemoryHolder, held
from relayd.units import GIB, KIB, MIB, Bytes

pytestmark = pytest.mark.system


def card(index: int, *holders: tuple[int, Bytes | None]) -> Device:
    told = tuple(MemoryHolder(pid, "llama-server", memory) for pid, memory in holders)
    size = Bytes(24 * GIB)
    return Device(DeviceKind.CUDA, index, f"GPU-{index}", "card", size, size, holders=told)


def machine(*gpus: Device) -> Machine:
    return Machine("linux", "x86_64", Cpu("c", 8, 16, 8), Memory(Bytes(64 * GIB), Bytes(60 * GIB)), gpus)


def test_ram_is_the_share_of_shared_pages_and_devices_are_what_drivers_tell(tmp_path: Path) -> None:
    folder = tmp_path / "proc/42"
    folder.mkdir(parents=True)
    (folder / "smaps_rollup").write_text("0-f ---p 00000000 00:00 0  [rollup]\nRss:  9 kB\nPss:      7 kB\n")
    gpus = (card(0, (42, Bytes(3 * GIB)), (7, Bytes(GIB))), card(1, (42, None)), card(2))

    assert Held({"cuda0": Bytes(3 * GIB), "cpu": Bytes(7 * KIB)}, "pss") == held(42, machine(*gpus), tmp_path)


def test_where_no_share_is_told_all_pages_count(tmp_path: Path) -> None:
    found = held(os.getpid(), machine(), tmp_path)

    assert found
    assert "rss" == found.source
    assert psutil.Process().memory_info().rss == pytest.approx(found.by_device["cpu"], abs=64 * MIB)


def test_a_process_that_is_gone_holds_nothing(tmp_path: Path) -> None:
    assert held(2**30, machine(), tmp_path) is None


def test_pages_of_files_are_told_apart(tmp_path: Path) -> None:
    folder = tmp_path / "proc/42"
    folder.mkdir(parents=True)
    rollup = "Rss: 9 kB\nPss:      7 kB\nPss_Anon:      4 kB\nPss_File:      3 kB\n"
    (folder / "smaps_rollup").write_text(rollup)
    found = held(42, machine(), tmp_path)

    assert found is not None
    assert (7 * KIB, 3 * KIB) == (found.by_device["cpu"], found.mapped)
