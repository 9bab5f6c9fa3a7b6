"""What processes give back when they end."""

from dataclasses import replace
from pathlib import Path

import pytest

from relayd.hardware import Cpu, Device, DeviceKind, Machine, Memory, MemoryHolder, MemoryLimit
from relayd.hardware.freed import freed
from relayd.units import GIB, Bytes

pytestmark = pytest.mark.system

ROLLUP = "0-f ---p 00000000 00:00 0  [rollup]\nRss:  9999 kB\nPss:  9999 kB\nAnonymous:   2097152 kB\n"
HOLDERS = (
    MemoryHolder(42, "llama-server", Bytes(3 * GIB)),
    MemoryHolder(7, "Xorg", Bytes(GIB)),
    MemoryHolder(43, "x", None),
)
CARD = Device(
    DeviceKind.CUDA, 0, "GPU-0", "card", Bytes(24 * GIB), Bytes(20 * GIB), unified=False, holders=HOLDERS
)
MEMORY = Memory(Bytes(16 * GIB), Bytes(10 * GIB))
MACHINE = Machine("linux", "x86_64", Cpu("c", 8, 16, 8), MEMORY, (CARD,))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "proc/42").mkdir(parents=True)
    (tmp_path / "proc/42/smaps_rollup").write_text(ROLLUP)
    return tmp_path


def test_pages_of_no_file_and_what_drivers_tell_come_back(root: Path) -> None:
    machine = freed(MACHINE, {42, 43, 2**30}, root)

    assert 12 * GIB == machine.memory.available
    (card,) = machine.gpus
    assert (23 * GIB, ("Xorg",)) == (card.memory_free, tuple(holder.name for holder in card.holders))


def test_a_limit_has_as_much_more_room(root: Path) -> None:
    limit = MemoryLimit(Bytes(4 * GIB), Bytes(3 * GIB), Bytes(0))
    machine = freed(replace(MACHINE, memory=replace(MEMORY, limit=limit)), {42}, root)

    assert 3 * GIB == machine.memory.usable


def test_never_more_than_there_is_comes_back(root: Path) -> None:
    full = replace(
        MACHINE,
        memory=Memory(Bytes(11 * GIB), Bytes(10 * GIB)),
        gpus=(replace(CARD, memory_free=CARD.memory_total),),
    )
    machine = freed(full, {42}, root)

    assert (11 * GIB, 24 * GIB) == (machine.memory.available, machine.gpus[0].memory_free)
    assert full == freed(full, (), root)
