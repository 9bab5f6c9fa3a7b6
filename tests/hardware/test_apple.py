"""What macOS tells, from recorded sysctl output; no Mac has run these yet."""

import pytest

from relayd.hardware.apple import read_cpu, read_gpus
from relayd.hardware.kernel import parse_pairs
from relayd.hardware.machine import DeviceKind, Memory
from relayd.units import GIB, MIB, Bytes

pytestmark = pytest.mark.pure

M2 = """\
hw.physicalcpu: 8
hw.logicalcpu: 8
hw.memsize: 17179869184
hw.optional.arm64: 1
hw.optional.arm.FEAT_DotProd: 1
hw.optional.arm.FEAT_FP16: 1
hw.optional.arm.FEAT_I8MM: 1
hw.optional.arm.FEAT_BF16: 1
hw.optional.arm.FEAT_SME: 0
machdep.cpu.brand_string: Apple M2
iogpu.wired_limit_mb: {wired}
"""

INTEL = """\
hw.physicalcpu: 4
hw.logicalcpu: 8
machdep.cpu.brand_string: Intel(R) Core(TM) i5-8259U CPU @ 2.30GHz
machdep.cpu.features: FPU SSE3 SSE4.2 AVX1.0 FMA F16C
machdep.cpu.leaf7_features: BMI1 AVX2
machdep.cpu.extfeatures: SYSCALL LZCNT
"""

RAM = Memory(Bytes(16 * GIB), Bytes(9 * GIB))


def m2(wired_mib: int = 0) -> dict[str, str]:
    return parse_pairs(M2.format(wired=wired_mib))


def test_apple_silicon_speaks_of_features() -> None:
    cpu = read_cpu(m2())

    assert ("Apple M2", 8, 8) == (cpu.model, cpu.physical_cores, cpu.usable_cores)
    assert ("asimddp", "asimdhp", "bf16", "i8mm") == cpu.instruction_sets


def test_an_intel_mac_speaks_of_cpuid_names() -> None:
    cpu = read_cpu(parse_pairs(INTEL))

    assert (4, 8) == (cpu.physical_cores, cpu.logical_cores)
    assert ("abm", "avx", "avx2", "bmi1", "f16c", "fma", "pni", "sse4_2") == cpu.instruction_sets


def test_the_gpu_of_apple_silicon_shares_ram() -> None:
    (gpu,) = read_gpus(m2(), RAM)

    assert (DeviceKind.METAL, "metal0", True) == (gpu.kind, gpu.key, gpu.unified)
    assert int(16 * GIB * 0.66) == gpu.memory_total
    assert 9 * GIB == gpu.memory_free


def test_the_operator_may_move_the_wired_limit() -> None:
    (gpu,) = read_gpus(m2(wired_mib=4096), RAM)

    assert (4096 * MIB, 4096 * MIB) == (gpu.memory_total, gpu.memory_free)


@pytest.mark.parametrize(("ram_gib", "limit_gib"), [(32, 21), (64, 48), (128, 107)])
def test_larger_machines_give_the_gpu_a_larger_share(ram_gib: int, limit_gib: int) -> None:
    ram = Bytes(ram_gib * GIB)
    (gpu,) = read_gpus(m2(), Memory(ram, ram))

    assert limit_gib == gpu.memory_total // GIB


def test_a_mac_of_8_gb_keeps_4_for_macos() -> None:
    (gpu,) = read_gpus(m2(wired_mib=7000), Memory(Bytes(8 * GIB), Bytes(6 * GIB)))

    assert (4 * GIB, 4 * GIB) == (gpu.memory_total, gpu.memory_free)


def test_an_intel_mac_has_no_gpu_for_models() -> None:
    assert () == read_gpus(parse_pairs(INTEL), RAM)
