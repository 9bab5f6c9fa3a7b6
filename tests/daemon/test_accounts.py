"""What plans and the machine name by device is counted by account, and others' use beyond the reserve."""

import pytest

from relayd.config.schema import MemoryBudget
from relayd.daemon.accounts import MachineAccounts
from relayd.hardware import Cpu, Device, DeviceKind, Machine, Memory
from relayd.planner.reserve import allowance
from relayd.units import GIB, MIB, Bytes

pytestmark = pytest.mark.pure

RAM = 64 * GIB


def machine(*gpus: Device, available: int = RAM) -> Machine:
    return Machine("linux", "x86_64", Cpu("c", 8, 16, 8), Memory(Bytes(RAM), Bytes(available)), gpus)


def card(kind: DeviceKind = DeviceKind.CUDA, *, free: int = 24 * GIB, unified: bool = False) -> Device:
    return Device(kind, 0, "GPU-0", "card", Bytes(24 * GIB), Bytes(free), unified=unified)


def accounts(*gpus: Device, host_mib: int = 0, device_mib: int = 0) -> MachineAccounts:
    limits = MemoryBudget(host_mib=host_mib, device_mib=device_mib)
    return MachineAccounts.of(allowance(machine(*gpus), limits))


def test_rooms_are_what_models_may_take_whatever_is_free() -> None:
    assert {"cuda0": 8 * GIB, "host": 2 * GIB} == accounts(
        card(free=GIB), host_mib=2048, device_mib=8192
    ).rooms


def test_without_a_budget_nothing_is_counted() -> None:
    assert MachineAccounts() == MachineAccounts.of(None)


@pytest.mark.parametrize("ram", ["cpu", "host"])
def test_ram_has_one_name(ram: str) -> None:
    assert {"host": 3, "cuda0": 4} == accounts(card()).by_account({ram: 3, "cuda0": 4})


def test_memory_of_a_device_that_is_ram_counts_there_too() -> None:
    unified = accounts(card(DeviceKind.METAL, unified=True))

    assert {"host": 7, "metal0": 4} == unified.by_account({"host": 3, "metal0": 4})


@pytest.mark.parametrize(
    ("available", "ours", "others"),
    [
        (RAM, 0, 0),
        (RAM - 62 * GIB, 0, 0),  # all of it out of the reserve
        (GIB, 0, GIB),
        (GIB, GIB, 0),  # what replicas hold is not others'
        (GIB, 512 * MIB, 512 * MIB),
    ],
)
def test_others_hold_what_is_missing_of_the_room(available: int, ours: int, others: int) -> None:
    counted = accounts(host_mib=2048).others(machine(available=available), [{"cpu": ours}])

    assert {"host": others} == counted


def test_others_on_a_device_are_counted_there() -> None:
    gpu = card(free=2 * GIB)
    found = accounts(card(), device_mib=8192).others(machine(gpu), [{"cpu": 0, "cuda0": GIB}])

    assert 5 * GIB == found["cuda0"]
    assert 0 == found["host"]


def test_an_account_that_cannot_be_read_any_more_is_left_out() -> None:
    assert {"host"} == accounts(card()).others(machine(), []).keys()
