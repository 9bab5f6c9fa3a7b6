"""Predicted speed: tokens a second, for prompts and answers.

    ms of a token = layer_ms * layers + moe_layer_ms * layers with experts
                    + byte_factor * (weights read + cache read at depth) / bandwidth

The form is the one of a graph of small kernels bound by memory. A share of the bandwidth alone is not a
model:
the share of published runs goes from 0.12 (small models, experts) to 0.85 (large dense ones).

At a batch, weights are read once and each sequence reads its own cache; every sequence after the first adds
`BATCH_COST` times what a token of a prompt costs, but no more than the shared part of a step. Layers on
different devices follow one another: times add.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from relayd.errors import UsageError
from relayd.planner.processor import CPU, WIDE_SPREAD, Processor, Tag

BATCH_COST = 2.5
"""Time of one more sequence in a decoding batch, relative to one more token of a prompt.

Small batches use the arithmetic units badly: 2.6 and 4.0 on M2 Ultra at 4 sequences (ggml-org/llama.cpp pull
requests 16894 and 15916), 5.2 at 2, 2.3 at 8 and 1.4 at 24 on a Ryzen 7840HS (localmaxxing).
"""

MOE_PREFILL = 2.0
"""Time of a prompt token of a model with experts, relative to a dense one of the same active weights.

Each expert sees only a few tokens of a batch: 2.2 is least on the rows, 1.3 to 2.6 by device.
"""

LAYER_PREFILL_MS, PASS_TOKENS = 0.4, 512
"""What a layer costs a pass over a prompt beside its arithmetic, and the tokens of a pass."""

ORDER = (Tag.CATALOGUE, Tag.MEASURED, Tag.CALIBRATED, Tag.MODELLED, Tag.WIDE)
"""Tags, surest first: a sum is as sure as its worst part."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What one token asks of the device that holds a part of a model, or all of it.

    Attributes:
        n_layer: Layers there.
        n_moe_layer: Those of them with experts.
        weight_bytes: Weights every token reads: attention, dense and shared networks, the output head. An
            input embedding is looked up, not read, unless it is the output head too.
        kv_bytes: Cache a sequence reads at its depth, sliding windows cut; recurrent state counts twice (read
            and written).
        expert_bytes: All routed experts together.
        n_expert: Experts of a layer, 0 without.
        n_expert_used: Experts that work on a token.
        active_parameters: Weights that work on a token.
        head_parameters: Of those, the output head's: only the last token of a prompt passes it.
        attention_flops: Floating-point operations of attention for a prompt token, in the mean:
            2 * layers * heads * head size * prompt length.
    """

    n_layer: int
    n_moe_layer: int = 0
    weight_bytes: float = 0.0
    kv_bytes: float = 0.0
    expert_bytes: float = 0.0
    n_expert: int = 0
    n_expert_used: int = 0
    active_parameters: float = 0.0
    head_parameters: float = 0.0
    attention_flops: float = 0.0

    def bytes_read(self, batch: int = 1) -> float:
        """Return what a step of `batch` sequences reads; experts overlap by chance: E(1 - (1 - k/E)^B)."""
        share = self.n_expert_used / self.n_expert if self.n_expert else 0.0
        touched = self.expert_bytes * (1 - (1 - share) ** batch)
        return self.weight_bytes + touched + batch * self.kv_bytes


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a model and the device that works on it."""

    workload: Workload
    processor: Processor


@dataclass(frozen=True, slots=True)
class Estimate:
    """A speed in tokens a second.

    Attributes:
        value: The most likely one.
        low: What 80 % of machines exceed or meet.
        high: What 80 % of machines stay below or meet.
        tag: Where it comes from.
    """

    value: float
    low: float
    high: float
    tag: Tag

    def times(self, factor: float) -> "Estimate":
        """Return the estimate of `factor` times this speed."""
        return Estimate(self.value * factor, self.low * factor, self.high * factor, self.tag)


@dataclass(frozen=True, slots=True)
class Decoding:
    """Speed of generation: of one sequence, and of all slots together."""

    each: Estimate
    together: Estimate


def roofline_tokens_per_second(workload: Workload, bandwidth_gb_s: float) -> float:
    """Return the speed of one sequence that the bandwidth forbids to exceed."""
    return bandwidth_gb_s * 1e9 / workload.bytes_read()


def overhead_ms(part: Part) -> float:
    """Return what the layers of a part cost a step, in milliseconds."""
    kind, workload = part.processor.kind, part.workload
    return part.processor.overhead_scale * (
        kind.layer_ms * workload.n_layer + kind.moe_layer_ms * workload.n_moe_layer
    )


def reading_ms(part: Part, batch: int = 1) -> float:
    """Return what reading weights and caches costs a step of `batch` sequences, in milliseconds."""
    processor = part.processor
    return processor.byte_factor * part.workload.bytes_read(batch) / (processor.bandwidth_gb_s * 1e6)


def prefill_ms(part: Part) -> float:
    """Return what a token of a prompt costs, in milliseconds: arithmetic at the useful TFLOPS, and layers."""
    workload, processor = part.workload, part.processor
    factor = MOE_PREFILL if workload.n_moe_layer else 1.0
    flops = factor * 2 * (workload.active_parameters - workload.head_parameters) + workload.attention_flops
    layers = 0.0 if processor.kind is CPU else LAYER_PREFILL_MS * workload.n_layer / PASS_TOKENS
    return processor.prefill_scale * (flops / (processor.tflops * 1e9) + layers)


def step_ms(parts: Sequence[Part], batch: int = 1) -> float:
    """Return how long one token of each of `batch` sequences takes, in milliseconds."""
    return sum(
        overhead_ms(part) + reading_ms(part, batch) + (batch - 1) * _sequence_ms(part) for part in parts
    )


def _sequence_ms(part: Part) -> float:
    """Return what the arithmetic of one more sequence costs a step, in milliseconds."""
    shared = Part(replace(part.workload, kv_bytes=0.0, expert_bytes=0.0), part.processor)
    return min(BATCH_COST * prefill_ms(part), overhead_ms(part) + reading_ms(shared))


def decode_tokens_per_second(parts: Sequence[Part], slots: int = 1) -> Decoding:
    """Return the speed of generation with `slots` sequences at once.

    Args:
        parts: The model, in the order a token passes the devices; one part if one device holds all.
        slots: Sequences that generate at the same time.

    Raises:
        UsageError: There is no part, no slot, or a bandwidth is not positive.
    """
    _check(parts, slots)
    total = 1000 * slots / step_ms(parts, slots)
    spread = max(part.processor.decode_spread or part.processor.kind.spread for part in parts)
    tag = max((part.processor.decode_tag for part in parts), key=ORDER.index)
    if _mixed(parts) or slots > 1:
        spread, tag = max(spread, WIDE_SPREAD if _mixed(parts) else spread), _at_best(tag)
    together = _estimate(total, spread, tag)
    return Decoding(each=together.times(1 / slots), together=together)


def prefill_tokens_per_second(parts: Sequence[Part]) -> Estimate:
    """Return the speed at which a prompt is read; slots share it.

    Raises:
        UsageError: There is no part, or a bandwidth is not positive.
    """
    _check(parts, 1)
    spread = max(part.processor.prompt_spread for part in parts)
    tag = max((part.processor.prefill_tag for part in parts), key=ORDER.index)
    return _estimate(1000 / sum(prefill_ms(part) for part in parts), spread, tag)


def first_token_seconds(parts: Sequence[Part], prompt_tokens: int) -> float:
    """Return how long an idle replica takes from a prompt to its first token.

    Raises:
        UsageError: There is no part, or a bandwidth is not positive.
    """
    return prompt_tokens / prefill_tokens_per_second(parts).value + step_ms(parts) / 1000


def _estimate(value: float, spread: float, tag: Tag) -> Estimate:
    """Return `value` and the speeds m for which |value / m - 1| stays within the spread."""
    return Estimate(value, value / (1 + spread), value / (1 - spread), tag)


def _mixed(parts: Sequence[Part]) -> bool:
    return len({part.processor.kind.name for part in parts}) > 1


def _at_best(tag: Tag) -> Tag:
    """Return `tag`, or wide: batches and mixed devices have too few rows to be surer."""
    return tag if tag is Tag.CALIBRATED else Tag.WIDE


def _check(parts: Sequence[Part], slots: int) -> None:
    if not parts or slots < 1:
        raise UsageError(
            f"no speed without a device and a slot ({len(parts)} devices, {slots} slots)",
            remedy="Give at least one of each.",
        )
    for part in parts:
        if part.processor.bandwidth_gb_s <= 0:
            raise UsageError(
                f"a {part.processor.kind.name} device has {part.processor.bandwidth_gb_s} GB/s of bandwidth",
                remedy="State the bandwidth of its memory.",
            )
