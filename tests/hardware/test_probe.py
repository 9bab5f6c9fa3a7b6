"""What the sources add up to, on recorded machines and on this one."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from relayd.hardware import MachineSources, probe
from relayd.units import GIB, Bytes

Lay = Callable[[str], Path]


def no_nvml() -> Any:
    raise ImportError


def not_asked() -> Any:
    raise AssertionError("another source has answered")


def recorded(root: Path, **changes: Any) -> MachineSources:
    sources: dict[str, Any] = {
        "os": "linux",
        "arch": "aarch64",
        "environ": {},
        "root": root,
        "load_nvml": no_nvml,
        "run_sysctl": not_asked,
        "system_memory": lambda: (Bytes(16 * GIB), Bytes(8 * GIB)),
        "describe_cpu": not_asked,
    }
    return MachineSources(**sources | changes)


@pytest.mark.system
def test_a_cpu_that_the_kernel_describes_is_not_measured(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("processor\t: 0\nFeatures\t: asimd i8mm\n")
    machine = probe(recorded(tmp_path))

    assert ("linux", "arm64") == (machine.os, machine.arch)
    assert ("asimd", "i8mm") == machine.cpu.instruction_sets
    assert 8 * GIB == machine.usable_ram
    assert () == machine.notes


@pytest.mark.system
def test_a_silent_kernel_is_made_up_for(tmp_path: Path) -> None:
    found = {"brand_raw": "C920", "count": 4, "flags": ["rv64"]}
    machine = probe(recorded(tmp_path, arch="riscv64", describe_cpu=lambda: found))

    assert ("C920", 4, 4) == (machine.cpu.model, machine.cpu.logical_cores, machine.cpu.usable_cores)
    assert () == machine.notes


@pytest.mark.system
def test_unknown_instruction_sets_are_a_note(tmp_path: Path) -> None:
    machine = probe(recorded(tmp_path, describe_cpu=dict))

    assert 1 == machine.cpu.usable_cores
    assert "instruction sets" in machine.notes[0]


@pytest.mark.system
def test_a_mac_is_asked_through_sysctl(tmp_path: Path) -> None:
    said = "hw.physicalcpu: 8\nhw.logicalcpu: 8\nhw.optional.arm64: 1\nhw.optional.arm.FEAT_I8MM: 1\n"
    machine = probe(
        recorded(tmp_path, os="macos", arch="arm64", run_sysctl=lambda: said, load_nvml=not_asked)
    )

    assert ["metal0", "cpu"] == [device.key for device in machine.devices]
    assert 8 == machine.cpu.usable_cores


@pytest.mark.system
def test_a_mac_without_sysctl_is_still_a_machine(tmp_path: Path) -> None:
    found = {"brand_raw": "Apple M1", "count": 8, "flags": []}
    machine = probe(
        recorded(tmp_path, os="macos", run_sysctl=lambda: "", describe_cpu=lambda: found, load_nvml=not_asked)
    )

    assert ("Apple M1", 8) == (machine.cpu.model, machine.cpu.logical_cores)


@pytest.mark.system
def test_cards_come_before_gpus_that_share_ram(machine_files: Lay) -> None:
    machine_files("intel_laptop")
    machine = probe(recorded(machine_files("amd_rx_7900_xtx"), describe_cpu=dict))

    assert ["amd0", "intel0", "cpu"] == [device.key for device in machine.devices]
    assert [960, None, None] == [device.bandwidth and device.bandwidth.gb_s for device in machine.devices]


@pytest.mark.system
@pytest.mark.parametrize(("release", "noted"), [("5.15.167.4-microsoft-standard-WSL2", 1), ("6.8.0-60", 0)])
def test_wsl_tells_what_its_numbers_mean(machine_files: Lay, release: str, noted: int) -> None:
    root = machine_files("amd_rx_7900_xtx")
    (root / "proc/sys/kernel").mkdir(parents=True)
    (root / "proc/sys/kernel/osrelease").write_text(f"{release}\n")
    machine = probe(recorded(root, describe_cpu=lambda: {"flags": ["avx2"]}))

    assert noted == sum(".wslconfig" in note for note in machine.notes)


@pytest.mark.system
def test_nodes_are_part_of_the_machine(machine_files: Lay) -> None:
    root = machine_files("numa_cpuset_mems_0")
    machine = probe(recorded(root, system_memory=not_asked, describe_cpu=dict))

    assert [True, False] == [node.allowed for node in machine.nodes]
    assert 110 * GIB == machine.usable_ram


@pytest.mark.system
def test_this_machine_agrees_with_psutil() -> None:
    machine = probe()
    memory = psutil.virtual_memory()

    assert memory.total == machine.memory.total
    assert 0 < machine.usable_ram <= machine.memory.total
    assert abs(memory.available - machine.memory.available) < memory.total // 10
    assert psutil.cpu_count() == machine.cpu.logical_cores
    assert (psutil.cpu_count(logical=False) or machine.cpu.physical_cores) == machine.cpu.physical_cores
    assert 1 <= machine.cpu.usable_cores <= machine.cpu.physical_cores
    assert machine.cpu.instruction_sets
    assert "cpu" == machine.devices[-1].key


@pytest.mark.system
def test_this_machine_has_the_same_key_twice() -> None:
    assert probe().cpu_key() == probe().cpu_key()
    assert sys.platform != "linux" or probe().cpu_key().startswith("linux-")
