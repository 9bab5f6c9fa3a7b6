"""How a machine reads as JSON; members are added and never renamed."""

import json

import pytest

from relayd.hardware import (
    Bandwidth,
    Cpu,
    Device,
    DeviceKind,
    Machine,
    Memory,
    MemoryHolder,
    NumaNode,
    document,
)
from relayd.units import GIB, Bytes

pytestmark = pytest.mark.pure


def gib(count: float) -> Bytes:
    return Bytes(int(count * GIB))


GPU = Device(
    DeviceKind.CUDA,
    1,
    "GPU-1",
    "RTX",
    gib(24),
    gib(20),
    False,
    "580.65",
    (8, 9),
    pci="0000:01:00.0",
    bandwidth=Bandwidth(1008.0, "catalogue", "NVIDIA"),
    holders=(MemoryHolder(7, "Xorg", gib(1)), MemoryHolder(9, "", None)),
    engine_name="CUDA1",
)
MACHINE = Machine(
    "linux",
    "x86_64",
    Cpu("Ryzen", 8, 16, 8, flags=frozenset({"avx2", "fma", "spectre_v1"})),
    Memory(gib(64), gib(48)),
    (GPU,),
    ("a note",),
    (NumaNode(0, gib(64), gib(50), frozenset({1, 0})),),
)


def test_the_document_is_json_and_counts_bytes() -> None:
    said = json.loads(json.dumps(document(MACHINE)))

    assert 1 == said["schema"]
    assert 48 * GIB == said["memory"]["usable_bytes"]
    assert ["avx2", "fma"] == said["cpu"]["instruction_sets"]
    assert ["a note"] == said["notes"]
    assert {
        "index": 0,
        "memory_total_bytes": 64 * GIB,
        "memory_available_bytes": 50 * GIB,
        "cpus": [0, 1],
        "allowed": True,
    } == said["numa_nodes"][0]


def test_a_device_is_told_in_full() -> None:
    assert {
        "key": "cuda1",
        "kind": "cuda",
        "index": 1,
        "uuid": "GPU-1",
        "name": "RTX",
        "memory_total_bytes": 24 * GIB,
        "memory_free_bytes": 20 * GIB,
        "unified": False,
        "driver": "580.65",
        "compute_capability": "8.9",
        "cuda_version": None,
        "architecture": "",
        "pci": "0000:01:00.0",
        "instance": None,
        "display": False,
        "bandwidth": {"gb_s": 1008.0, "basis": "catalogue", "source": "NVIDIA", "disturbed": False},
        "holders": [
            {"pid": 7, "name": "Xorg", "memory_bytes": GIB},
            {"pid": 9, "name": "", "memory_bytes": None},
        ],
        "engine_name": "CUDA1",
    } == document(MACHINE)["devices"][0]


def test_what_is_not_known_is_null() -> None:
    cpu = document(MACHINE)["devices"][-1]

    assert (None, None, []) == (cpu["bandwidth"], cpu["engine_name"], cpu["holders"])
