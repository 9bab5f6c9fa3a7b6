"""What planners read from a machine: usable RAM, usable cores, devices, the engine's key."""

from dataclasses import replace

import pytest

from relayd.hardware import Cpu, Device, DeviceKind, Machine, Memory, MemoryLimit
from relayd.units import GIB, Bytes

pytestmark = pytest.mark.pure


def gib(count: float) -> Bytes:
    return Bytes(int(count * GIB))


CPU = Cpu("Ryzen", 8, 16, 8, flags=frozenset({"avx2", "fma", "spectre_v1"}))
GPU = Device(DeviceKind.CUDA, 1, "GPU-1", "RTX", gib(24), gib(20), False, "580.65", (8, 9))
MACHINE = Machine("linux", "x86_64", CPU, Memory(gib(64), gib(48)), (GPU,), ("a note",))


def test_without_a_limit_what_is_available_is_usable() -> None:
    assert gib(48) == MACHINE.usable_ram


def test_page_cache_of_the_control_group_counts_as_free() -> None:
    memory = Memory(gib(64), gib(48), MemoryLimit(gib(8), usage=gib(7), reclaimable=gib(5)))

    assert gib(6) == memory.usable
    assert gib(8) == memory.ceiling


def test_a_limit_does_not_make_memory_that_the_machine_lacks() -> None:
    assert gib(2) == Memory(gib(64), gib(2), MemoryLimit(gib(32), gib(0), gib(0))).usable


def test_a_group_over_its_limit_has_no_headroom() -> None:
    assert 0 == MemoryLimit(gib(4), gib(6), gib(1)).headroom


@pytest.mark.parametrize(("quota", "threads"), [(None, 8), (64.0, 8), (4.0, 4), (2.5, 2), (0.5, 1)], ids=str)
def test_threads_stay_within_cores_and_quota(quota: float | None, threads: int) -> None:
    assert threads == replace(CPU, quota_cores=quota).usable_cores


def test_the_cpu_is_the_last_device_and_owns_what_the_process_may_use() -> None:
    memory = Memory(gib(64), gib(48), MemoryLimit(gib(8), gib(1), gib(0)))
    gpu, cpu = replace(MACHINE, memory=memory).devices

    assert ("cuda1", "cpu") == (gpu.key, cpu.key)
    assert (gib(8), gib(7)) == (cpu.memory_total, cpu.memory_free)


def test_the_key_ignores_flags_that_are_no_instructions() -> None:
    patched = replace(CPU, flags=CPU.flags | {"retbleed", "hypervisor"})

    assert MACHINE.cpu_key() == replace(MACHINE, cpu=patched).cpu_key()
    assert MACHINE.cpu_key().startswith("linux-x86_64-")


@pytest.mark.parametrize(
    "other",
    [
        replace(MACHINE, cpu=replace(CPU, flags=CPU.flags | {"avx512f"})),
        replace(MACHINE, arch="arm64"),
        replace(MACHINE, os="macos"),
    ],
    ids=["sets", "arch", "os"],
)
def test_the_key_differs_where_a_build_could_not_run(other: Machine) -> None:
    assert MACHINE.cpu_key() != other.cpu_key()


def test_memory_of_devices_is_told_one_by_one_and_never_added() -> None:
    other = replace(GPU, index=0, memory_free=gib(3))

    assert (gib(3), gib(20), gib(48)) == tuple(
        device.memory_free for device in replace(MACHINE, gpus=(other, GPU)).devices
    )


def test_a_mig_instance_has_a_key_of_its_own() -> None:
    assert "cuda1.2" == replace(GPU, instance=2).key
