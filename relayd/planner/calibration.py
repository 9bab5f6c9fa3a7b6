"""Calibration of predicted speeds by this machine's own benchmark runs.

A run moves two numbers: what a layer costs and what a byte costs. Both start at the class's value with an
error of `PRIOR`, and each run measures their sum with an error of `NOISE`; the answer is the most likely
pair (linear regression with a Gaussian prior). One run thus moves the larger share most, and the second of
another size tells the two apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from relayd.planner.processor import Processor
from relayd.planner.speed import Part, Workload, overhead_ms, prefill_ms, reading_ms

NOISE = 0.1
"""Relative error of a run: repeats differ by 1 to 8 %, models by 3 to 10 % from their device's fit."""

PRIOR = 0.5
"""Relative error of a class's constants; devices differ from their class by up to a factor of 1.8."""

LIMITS = (0.2, 5.0)
"""Scales outside are errors of the measurement, not properties of a machine."""

DECODE_SPREAD = 0.25
"""Relative error that 80 % of the rows of a device stay within, after three of them calibrated it.

15 to 18 % for NVIDIA, CPU and Radeon 780M, 27 % for RX 7900 XTX, 31 % for Apple. A class with a narrower
spread keeps it.
"""

PREFILL_SPREAD = 0.4
"""The same for prompts, with margin for lengths and batches that were not run."""


@dataclass(frozen=True, slots=True)
class BenchmarkRun:
    """What a replica did on one device, alone.

    Attributes:
        workload: What its tokens asked, at the mean depth of the run.
        decode_tokens_per_second: One sequence, measured; 0 when it was not.
        prefill_tokens_per_second: A prompt, measured; 0 when it was not.
    """

    workload: Workload
    decode_tokens_per_second: float = 0.0
    prefill_tokens_per_second: float = 0.0


def calibrate(processor: Processor, runs: Sequence[BenchmarkRun]) -> Processor:
    """Return the device as its runs show it; without runs, as it was.

    Args:
        processor: The device as its class describes it; an earlier calibration is replaced.
        runs: Everything measured on it, alone and with the whole model there.
    """
    plain = Processor(processor.kind, processor.bandwidth_gb_s, processor.prefill_tflops)
    decoding = [run for run in runs if run.decode_tokens_per_second > 0]
    prompts = [run for run in runs if run.prefill_tokens_per_second > 0]
    if decoding:
        overhead, byte = _scales(plain, decoding)
        spread = min(DECODE_SPREAD, plain.kind.spread)
        plain = replace(plain, overhead_scale=overhead, byte_scale=byte, decode_spread=spread)
    if prompts:
        ratios = [_milliseconds(run) / prefill_ms(Part(run.workload, plain)) for run in prompts]
        plain = replace(plain, prefill_scale=_limit(median(ratios)), prefill_spread=PREFILL_SPREAD)
    return plain


def _milliseconds(run: BenchmarkRun) -> float:
    return 1000 / run.prefill_tokens_per_second


def _scales(processor: Processor, runs: Sequence[BenchmarkRun]) -> tuple[float, float]:
    """Return the most likely scales of overhead and bytes: the normal equations of two unknowns."""
    certainty = (NOISE / PRIOR) ** 2
    xx, xy, yy, x_one, y_one = certainty, 0.0, certainty, certainty, certainty
    for run in runs:
        part = Part(run.workload, processor)
        x = overhead_ms(part) * run.decode_tokens_per_second / 1000
        y = reading_ms(part) * run.decode_tokens_per_second / 1000
        xx, xy, yy, x_one, y_one = xx + x * x, xy + x * y, yy + y * y, x_one + x, y_one + y
    determinant = xx * yy - xy * xy
    return (
        _limit((x_one * yy - y_one * xy) / determinant),
        _limit((y_one * xx - x_one * xy) / determinant),
    )


def _limit(scale: float) -> float:
    return min(max(scale, LIMITS[0]), LIMITS[1])
