"""What the engine's own list of devices corrects."""

from dataclasses import replace

import pytest

from relayd.hardware import (
    Cpu,
    Device,
    DeviceKind,
    Listed,
    Machine,
    Memory,
    MemoryLimit,
    merge_engine_devices,
    parse_devices,
)
from relayd.units import GIB, MIB, Bytes

pytestmark = pytest.mark.pure

RAM = Memory(Bytes(64 * GIB), Bytes(48 * GIB))

TWO = """\
ggml_cuda_init: found 2 CUDA devices:
  Device 0: NVIDIA GeForce RTX 4090, compute capability 8.9, VMM: yes
Available devices:
  CUDA0: NVIDIA GeForce RTX 4090 (24564 MiB, 20000 MiB free)
  CUDA1: NVIDIA GeForce RTX 3060 (12288 MiB, 11000 MiB free)
"""


def gpu(index: int, name: str, total_mib: int, free_mib: int, **said: object) -> Device:
    kind = said.pop("kind", DeviceKind.CUDA)
    assert isinstance(kind, DeviceKind)
    device = Device(kind, index, f"GPU-{index}", name, Bytes(total_mib * MIB), Bytes(free_mib * MIB))
    return replace(device, **said)  # type: ignore[arg-type]  # a test names the fields it needs


def machine(*gpus: Device, memory: Memory = RAM) -> Machine:
    return Machine("linux", "x86_64", Cpu("CPU", 8, 16, 8), memory, gpus)


def merged(text: str, *gpus: Device, memory: Memory = RAM) -> Machine:
    return merge_engine_devices(machine(*gpus, memory=memory), parse_devices(text))


RTX_4090 = gpu(0, "NVIDIA GeForce RTX 4090", 24564, 20000)
RTX_3060 = gpu(1, "NVIDIA GeForce RTX 3060", 12288, 11000)


def test_the_list_is_read_among_what_drivers_print() -> None:
    assert (
        Listed("CUDA0", "NVIDIA GeForce RTX 4090", Bytes(24564 * MIB), Bytes(20000 * MIB)),
        Listed("CUDA1", "NVIDIA GeForce RTX 3060", Bytes(12288 * MIB), Bytes(11000 * MIB)),
    ) == parse_devices(TWO)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Available devices:\n  (none)\n",
        "  BLAS: OpenBLAS (0 MiB, 0 MiB free)\n",
        "  RPC0: 10.0.0.2:50052 (24000 MiB, 23000 MiB free)\n",
    ],
    ids=["silence", "CPU build", "BLAS", "another machine"],
)
def test_what_has_no_memory_here_is_no_device(text: str) -> None:
    assert () == parse_devices(text)


def test_names_in_brackets_are_read_whole() -> None:
    (listed,) = parse_devices("  Vulkan0: AMD Radeon RX 7900 XTX (RADV NAVI31) (24560 MiB, 24000 MiB free)\n")

    assert ("Vulkan", DeviceKind.AMD, "AMD Radeon RX 7900 XTX (RADV NAVI31)") == (
        listed.backend,
        listed.kind,
        listed.description,
    )


def test_devices_are_matched_by_name_and_keep_their_uuids() -> None:
    found = merged(TWO, RTX_3060, RTX_4090)

    assert [("GPU-1", "CUDA1"), ("GPU-0", "CUDA0")] == [(one.uuid, one.engine_name) for one in found.gpus]
    assert () == found.notes


def test_identical_devices_are_matched_in_the_order_that_was_asked_for() -> None:
    text = TWO.replace("3060 (12288", "4090 (24564")
    twins = (RTX_4090, replace(RTX_4090, index=1, uuid="GPU-1", memory_free=Bytes(11000 * MIB)))

    assert ["CUDA0", "CUDA1"] == [one.engine_name for one in merged(text, *twins).gpus]
    assert ("GPU-0", "GPU-1") == machine(*twins).cuda_order


def test_the_engine_wins_where_it_differs_and_a_note_says_so() -> None:
    found = merged(TWO, replace(RTX_4090, memory_free=Bytes(23000 * MIB)), RTX_3060)

    assert 20000 * MIB == found.gpus[0].memory_free
    assert 1 == len(found.notes)
    assert "cuda0 has 22 GiB free of 24 GiB by its driver, 20 GiB of 24 GiB by the engine" in found.notes[0]


def test_the_context_of_the_engine_itself_is_no_difference() -> None:
    found = merged(TWO, replace(RTX_4090, memory_free=Bytes(20400 * MIB)), RTX_3060)

    assert (20000 * MIB, ()) == (found.gpus[0].memory_free, found.notes)


def test_a_device_that_the_engine_does_not_list_is_shown_and_not_used() -> None:
    found = merged("  (none)\n", RTX_4090)

    assert ["cuda0", "cpu"] == [one.key for one in found.devices]
    assert ["cpu"] == [one.key for one in found.usable_devices]
    assert "does not list cuda0, NVIDIA GeForce RTX 4090" in found.notes[0]


def test_without_an_answer_every_device_is_usable() -> None:
    assert ["cuda0", "cpu"] == [one.key for one in machine(RTX_4090).usable_devices]


def test_a_device_that_only_the_engine_knows_is_added() -> None:
    found = merged("  Vulkan0: Adreno X1-85 (16000 MiB, 15000 MiB free)\n")

    assert [("vulkan0", "Vulkan0", 15000 * MIB)] == [
        (one.key, one.engine_name, one.memory_free) for one in found.gpus
    ]
    assert "Only the engine lists vulkan0" in found.notes[0]


def test_a_card_that_two_backends_list_is_one_card() -> None:
    text = TWO + "  Vulkan0: NVIDIA GeForce RTX 4090 (24564 MiB, 20000 MiB free)\n"
    found = merged(text, RTX_4090, RTX_3060)

    assert ["CUDA0", "CUDA1"] == [one.engine_name for one in found.gpus]


def test_a_vulkan_build_drives_every_maker_s_cards() -> None:
    amd = gpu(0, "AMD GPU 0x744c", 24560, 24000, kind=DeviceKind.AMD)
    text = (
        "  Vulkan0: NVIDIA GeForce RTX 4090 (24564 MiB, 20000 MiB free)\n"
        "  Vulkan1: AMD Radeon RX 7900 XTX (RADV NAVI31) (24560 MiB, 24000 MiB free)\n"
    )
    found = merged(text, RTX_4090, amd)

    assert ["Vulkan0", "Vulkan1"] == [one.engine_name for one in found.gpus]
    assert "AMD Radeon RX 7900 XTX (RADV NAVI31)" == found.gpus[1].name
    assert [1008, 960] == [one.bandwidth and one.bandwidth.gb_s for one in found.gpus]


def test_metal_s_own_limit_is_preferred_to_a_share_and_macos_keeps_its_part() -> None:
    ram = Memory(Bytes(32 * GIB), Bytes(28 * GIB))
    metal = gpu(0, "Apple M2 Pro", 21 * 1024, 21 * 1024, kind=DeviceKind.METAL, unified=True)

    assert [22 * 1024 * MIB, 28 * GIB] == [
        merged(f"  MTL0: Apple M2 Pro ({mib} MiB, {mib} MiB free)\n", metal, memory=ram).gpus[0].memory_total
        for mib in (22 * 1024, 31 * 1024)
    ]


def test_the_engine_does_not_know_the_control_group_of_unified_memory() -> None:
    limited = Memory(Bytes(128 * GIB), Bytes(100 * GIB), MemoryLimit(Bytes(32 * GIB), Bytes(GIB), Bytes(0)))
    gb10 = gpu(0, "NVIDIA GB10", 32 * 1024, 31 * 1024, unified=True)
    found = merged("  CUDA0: NVIDIA GB10 (122502 MiB, 100000 MiB free)\n", gb10, memory=limited)

    assert (32 * GIB, 31 * GIB, ()) == (
        found.gpus[0].memory_total,
        found.gpus[0].memory_free,
        found.notes,
    )


def test_one_listed_mig_instance_speaks_for_its_siblings() -> None:
    name = "NVIDIA H100 80GB HBM3 MIG 3g.40gb"
    first, second = (replace(gpu(0, name, 40000, 39000), instance=i, uuid=f"MIG-{i}") for i in (0, 1))
    found = merged(f"  CUDA0: {name} (40000 MiB, 39000 MiB free)\n", first, second)

    assert ["CUDA0", "CUDA0"] == [one.engine_name for one in found.gpus]
    assert ("MIG-0",) == found.cuda_order
    assert () == found.notes


def test_cuda_devices_without_a_uuid_cannot_be_asked_for_in_order() -> None:
    assert () == machine(replace(RTX_4090, uuid="")).cuda_order
