from dataclasses import replace

import pytest

from relayd.hardware import Cpu, Device, DeviceKind, Machine, Memory, MemoryHolder, residence
from relayd.units import GIB, Bytes

pytestmark = pytest.mark.pure

PID = 7


def card(index: int, *holders: int, engine_name: str | None = None) -> Device:
    held = tuple(MemoryHolder(pid, "llama-server", Bytes(GIB)) for pid in holders)
    name = f"CUDA{index}" if engine_name is None else engine_name
    card = Device(DeviceKind.CUDA, index, f"GPU-{index}", "card", Bytes(24 * GIB), Bytes(20 * GIB))
    return replace(card, holders=held, engine_name=name)


def machine(*gpus: Device) -> Machine:
    memory = Memory(Bytes(64 * GIB), Bytes(60 * GIB))
    return Machine("linux", "x86_64", Cpu("c", 8, 16, 8), memory, gpus)


TWO = machine(card(0), card(1))


def test_without_a_gpu_a_model_is_on_the_cpu() -> None:
    assert ("cpu",) == residence(machine(), PID, ["llama-server"])


def test_who_holds_memory_of_a_gpu_works_there_whatever_was_asked() -> None:
    held = machine(card(0, 99), card(1, 99, PID))
    assert ("cuda1",) == residence(held, PID, ["--device", "CUDA0,CUDA1"])


@pytest.mark.parametrize(
    ("command", "devices"),
    [
        ("", ("cuda0", "cuda1")),
        ("--device CUDA1", ("cuda1",)),
        ("--device CUDA1,CUDA0", ("cuda1", "cuda0")),
        ("--device CUDA0 -dev CUDA1", ("cuda1",)),
        ("--device Elsewhere0", ("Elsewhere0",)),
        ("--device none", ("cpu",)),
        ("--gpu-layers 0", ("cpu",)),
        ("--gpu-layers 20", ("cuda0", "cuda1", "cpu")),
        ("--gpu-layers 33", ("cuda0", "cuda1")),
        ("--gpu-layers all", ("cuda0", "cuda1")),
        ("--device CUDA0 --n-cpu-moe 4", ("cuda0", "cpu")),
    ],
)
def test_where_no_driver_tells_the_command_line_does(command: str, devices: tuple[str, ...]) -> None:
    assert devices == residence(TWO, PID, ["llama-server", *command.split()], layers=32)


def test_a_gpu_that_the_engine_does_not_list_runs_nothing() -> None:
    assert ("cpu",) == residence(machine(card(0, engine_name="")), PID, ["llama-server"])
