"""What an installation learns of the machine."""

from dataclasses import replace

import pytest

from relayd.engine.host import Cuda, host_of
from relayd.hardware import Device, DeviceKind, Machine, probe
from relayd.units import GIB, Bytes


def card(cuda: tuple[int, int] | None, capability: tuple[int, int] | None) -> Device:
    memory = Bytes(8 * GIB)
    return Device(
        DeviceKind.CUDA, 0, "", "card", memory, memory, compute_capability=capability, cuda_version=cuda
    )


@pytest.fixture
def machine() -> Machine:
    return replace(probe(), gpus=())


@pytest.mark.system
def test_this_machine_has_cores_memory_and_a_key(machine: Machine) -> None:
    host = host_of(machine)

    assert host.cores >= 1
    assert host.memory > 1 << 28
    assert machine.cpu_key() == host.cpu_key
    assert None is host.cuda


@pytest.mark.system
def test_a_mac_is_named_as_its_archives_are(machine: Machine) -> None:
    host = host_of(replace(machine, os="macos", arch="arm64"))

    assert ("darwin", "arm64") == (host.system, host.machine)


@pytest.mark.system
def test_the_weakest_card_decides_what_all_can_run(machine: Machine) -> None:
    cards = (card((12, 8), (8, 9)), card((12, 8), (7, 5)))

    assert Cuda((12, 8), (7, 5)) == host_of(replace(machine, gpus=cards)).cuda


@pytest.mark.system
def test_a_card_that_could_not_be_read_decides_nothing(machine: Machine) -> None:
    cards = (card((12, 8), None), card(None, (9, 0)))

    assert None is host_of(replace(machine, gpus=cards)).cuda
