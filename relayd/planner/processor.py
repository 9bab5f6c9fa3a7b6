"""How fast a kind of device reads weights, and how certain that is.

A token costs `layer_ms` for each layer, `moe_layer_ms` more for each layer with experts, and the time its
bytes take at the bandwidth of the memory, times `byte_factor`. The constants are least relative deviations
over two thirds of published llama.cpp runs; `python -m tests.oracle.speed` fits them again and prints the
errors on the last third, which no fit has seen.
"""

import re
from dataclasses import dataclass, replace
from enum import StrEnum

WIDE_SPREAD = 0.6
"""Relative error of prompts of devices whose peak is not known, and of work split over unlike devices."""

NARROW = 0.3
"""Relative error up to which a prediction of prompts counts as modelled rather than wide."""

CORE_GB_S = 19.0
"""GB/s of peak bandwidth that one core can make use of: below, cores limit decoding rather than memory.

A Core i9-13900K reads 12 GB/s of quantized weights a core with four (github.com/ggml-org/llama.cpp issue 34),
which is this over `byte_factor`.
"""


class Tag(StrEnum):
    """Where a number comes from, best first."""

    MEASURED = "measured"
    CALIBRATED = "calibrated"
    MODELLED = "modelled"
    WIDE = "modelled, wide"
    CATALOGUE = "catalogue"


@dataclass(frozen=True, slots=True)
class DeviceClass:
    """Devices that one set of constants describes.

    Attributes:
        name: How tables call it.
        layer_ms: Milliseconds of launches and synchronisation a layer.
        moe_layer_ms: Milliseconds more for a layer with experts.
        byte_factor: Time to read a byte, relative to the vendor's bandwidth; at least 1.
        prefill_tflops_per_gb_s: Useful TFLOPS of a prompt, for each GB/s of bandwidth, where a device's peak
            is not known.
        spread: Relative error that 80 % of the rows of a device left out of the fit stay within.
        peak_factor: Time of a prompt's arithmetic, relative to the vendor's peak.
        prompt_spread: The same for prompts, where the device's peak is known.
        supported: Whether that fit kept to 15 % in the median and 25 % for 80 % of the rows, over at least
            three devices.
    """

    name: str
    layer_ms: float
    moe_layer_ms: float
    byte_factor: float
    prefill_tflops_per_gb_s: float
    spread: float
    peak_factor: float = 2.0
    prompt_spread: float = 0.6
    supported: bool = False


NVIDIA = DeviceClass(
    "nvidia", 0.0411, 0.0500, 1.263, 0.086, 0.18, peak_factor=1.95, prompt_spread=0.3, supported=True
)
"""Turing and later with GDDR or LPDDR: eleven devices from RTX 2080 to 5090 and GB10."""

NVIDIA_HBM = replace(NVIDIA, name="nvidia-hbm", spread=0.6, prompt_spread=0.6, supported=False)
"""A100, H100, H200, B200: no rows, so the constants of the consumer cards and a wide band."""

NVIDIA_OLD = DeviceClass("nvidia-old", 0.142, 0.0, 2.51, 0.013, 0.5)
"""Before Turing, bound by arithmetic: 42 rows of a GTX 1050 Ti; the one row of a GTX 1070 is 43 % faster."""

APPLE = DeviceClass("apple", 0.112, 0.046, 1.147, 0.014, 0.2, peak_factor=1.4, supported=True)
"""M series over Metal: any of seven left out is missed by 12 % in the median, one row of seven by 25 %."""

AMD = DeviceClass("amd", 0.074, 0.035, 1.11, 0.06, 0.3, peak_factor=2.6, prompt_spread=0.3)
"""Radeon cards: RX 7900 XT, 9070 XT and R9700 on Vulkan, RX 7900 XTX on ROCm, which is a third slower."""

INTEGRATED = DeviceClass("integrated", 0.040, 0.128, 1.15, 0.036, 0.25, peak_factor=4.9, prompt_spread=0.4)
"""GPUs that share the CPU's memory: Radeon 780M and 8060S (Strix Halo) on Vulkan, 31 rows."""

CPU = DeviceClass("cpu", 0.030, 0.0, 1.59, 0.011, 0.25, prompt_spread=0.5)
"""x86 and ARM cores: 27 rows of one Ryzen 7840HS (8 cores, DDR5-5600), two of a Core Ultra 7 155H."""

CLASSES = (NVIDIA, NVIDIA_HBM, NVIDIA_OLD, APPLE, AMD, INTEGRATED, CPU)

HBM_NAMES = re.compile(r"\b(?:G?[ABH][12]00|GB?H?200|GB300|A30|A800|H800|H20|MI\d{3}X?)\b", re.IGNORECASE)
OLD_NAMES = re.compile(r"\b(?:GTX (?:9|10)\d\d|TITAN X[Pp]?|(?:Tesla )?[PMK](?:4|40|60|80|100)|V100)\b")

HBM_CAPABILITIES = frozenset({(8, 0), (9, 0), (10, 0), (10, 3)})
"""Compute capabilities of GA100, GH100, GB100 and GB300."""


def device_class(
    backend: str,
    name: str = "",
    *,
    compute_capability: tuple[int, int] | None = None,
    unified: bool = False,
) -> DeviceClass:
    """Return the class of a device.

    Args:
        backend: The backend of llama.cpp that drives it: `cuda`, `metal`, `rocm`, `vulkan`, `sycl` or `cpu`.
        name: What its maker calls it.
        compute_capability: CUDA's (major, minor); without it the name decides.
        unified: Whether it shares the CPU's memory.
    """
    if backend == "cuda":
        return _nvidia(name, compute_capability)
    if backend in {"metal", "cpu"}:
        return APPLE if backend == "metal" else CPU
    return INTEGRATED if unified else AMD


def _nvidia(name: str, capability: tuple[int, int] | None) -> DeviceClass:
    if capability is None:
        if OLD_NAMES.search(name):
            return NVIDIA_OLD
        return NVIDIA_HBM if HBM_NAMES.search(name) else NVIDIA
    if capability < (7, 5):
        return NVIDIA_OLD
    return NVIDIA_HBM if capability in HBM_CAPABILITIES else NVIDIA


@dataclass(frozen=True, slots=True)
class Processor:
    """One device that works on a model.

    Attributes:
        kind: Its class.
        bandwidth_gb_s: Bandwidth of its memory in 10^9 bytes a second: the vendor's figure, or a measured one
            times `kind.byte_factor`.
        prefill_tflops: Useful TFLOPS of a prompt; None estimates them from the bandwidth.
        overhead_scale: What this machine's runs make of the time a layer costs.
        byte_scale: What they make of the time a byte costs.
        prefill_scale: What they make of the time of a prompt.
        decode_spread: Relative error of decoding; None takes the class's.
        prefill_spread: Relative error of prompts; None is wide.
    """

    kind: DeviceClass
    bandwidth_gb_s: float
    prefill_tflops: float | None = None
    overhead_scale: float = 1.0
    byte_scale: float = 1.0
    prefill_scale: float = 1.0
    decode_spread: float | None = None
    prefill_spread: float | None = None

    @property
    def byte_factor(self) -> float:
        """Time to read a byte relative to the bandwidth; never below 1, whatever runs say."""
        return max(1.0, self.kind.byte_factor * self.byte_scale)

    @property
    def tflops(self) -> float:
        """Useful TFLOPS of a prompt."""
        return self.prefill_tflops or self.kind.prefill_tflops_per_gb_s * self.bandwidth_gb_s

    @property
    def prompt_spread(self) -> float:
        """Relative error of prompts: of its own runs, else its class's where its peak is known."""
        if self.prefill_spread is not None:
            return self.prefill_spread
        return WIDE_SPREAD if self.prefill_tflops is None else self.kind.prompt_spread

    @property
    def decode_tag(self) -> Tag:
        """How sure estimates of decoding are."""
        if self.decode_spread is not None:
            return Tag.CALIBRATED
        return Tag.MODELLED if self.kind.supported else Tag.WIDE

    @property
    def prefill_tag(self) -> Tag:
        """How sure estimates of prompts are."""
        if self.prefill_spread is not None:
            return Tag.CALIBRATED
        return Tag.MODELLED if self.prompt_spread <= NARROW else Tag.WIDE
