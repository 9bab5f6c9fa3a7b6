"""How a machine reads on a terminal of 80 columns without colour."""

import io

import pytest
from rich.console import Console

from relayd.hardware.machine import (
    Bandwidth,
    Cpu,
    Device,
    DeviceKind,
    Machine,
    Memory,
    MemoryHolder,
    MemoryLimit,
    NumaNode,
)
from relayd.ui.hardware import render_machine
from relayd.units import GIB, Bytes

pytestmark = pytest.mark.pure


def gib(count: int) -> Bytes:
    return Bytes(count * GIB)


FULL = Machine(
    "linux",
    "x86_64",
    Cpu("AMD Ryzen 9 7950X", 16, 32, 16, 4.0, frozenset({"avx2", "avx512_vnni", "popcnt", "ht"})),
    Memory(gib(64), gib(48), MemoryLimit(gib(16), gib(9), gib(3))),
    (
        Device(
            DeviceKind.CUDA,
            0,
            "GPU-0",
            "RTX [4090]",
            gib(24),
            gib(20),
            driver="580.65.06",
            compute_capability=(8, 9),
            display=True,
            bandwidth=Bandwidth(1008, "catalogue", "NVIDIA"),
            holders=(MemoryHolder(412, "python3", gib(3)), MemoryHolder(77, "", None)),
            engine_name="CUDA0",
        ),
        Device(
            DeviceKind.AMD,
            0,
            "",
            "AMD Radeon 780M Graphics",
            gib(32),
            gib(28),
            unified=True,
            architecture="gfx1103",
            engine_name="",
        ),
    ),
    ("NVIDIA GPU 1 name could not be read (Unknown Error): see nvidia-smi -q",),
    (
        NumaNode(0, gib(32), gib(24), frozenset(range(16))),
        NumaNode(1, gib(32), gib(20), frozenset(range(16, 32)), allowed=False),
    ),
    Bandwidth(61.4, "measured", "16 threads reading RAM"),
)


def shown(machine: Machine) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=80, color_system=None).print(render_machine(machine))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_a_machine_reads_as_a_page_of_80_columns() -> None:
    assert [
        "System   linux x86_64",
        "CPU      AMD Ryzen 9 7950X",
        "Cores    4 usable of 16 (32 logical, CPU time for 4)",
        "Vectors  avx2 avx512_vnni",
        "RAM      10 GiB usable of 64 GiB (limited to 16 GiB here)",
        "NUMA     node 0: 16 CPUs, 24 GiB of 32 GiB; node 1: 16 CPUs, 20 GiB of 32 GiB",
        "         (closed to us)",
        "Driver   580.65.06",
        "",
        "Device  Name                       Free      Of  GB/s  Details",
        "cuda0   RTX [4090]               20 GiB  24 GiB  1008  compute 8.9, display,",
        "                                                       engine: CUDA0",
        "amd0    AMD Radeon 780M          28 GiB  32 GiB        shares RAM, gfx1103,",
        "        Graphics                                       unused",
        "cpu     AMD Ryzen 9 7950X        10 GiB  16 GiB    61  measured",
        "Memory of cuda0 is held by python3 (412) 3.0 GiB, process (77)",
        "Note: NVIDIA GPU 1 name could not be read (Unknown Error): see nvidia-smi -q",
    ] == shown(FULL)


def test_what_is_not_known_is_said_or_left_out() -> None:
    lines = shown(Machine("linux", "riscv64", Cpu("", 1, 1, 1), Memory(gib(4), gib(2))))

    assert "CPU      unknown" in lines
    assert "Vectors  unknown" in lines
    assert not any(line.startswith(("Driver", "Note")) for line in lines)
