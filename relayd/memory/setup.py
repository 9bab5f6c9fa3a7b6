"""How a model is run, as far as that decides its memory."""

from collections.abc import Mapping
from dataclasses import dataclass

from relayd.errors import UsageError

CACHE_TYPES: Mapping[str, int] = {
    "f32": 0, "f16": 1, "bf16": 30, "q8_0": 8, "q4_0": 2, "q4_1": 3, "iq4_nl": 20, "q5_0": 6, "q5_1": 7,
}  # fmt: skip
"""What `--cache-type-k` and `--cache-type-v` take (common/arg.cpp `kv_cache_types`) -> its ggml type."""

PADDING = 256
"""Cells that a context is rounded up to (llama-context.cpp `GGML_PAD(cparams.n_ctx, 256)`)."""

AUTOMATIC_SLOTS = 4
"""Slots of a server without a number of slots, with one cache for all (server.cpp `n_parallel < 0`)."""

EVERY_LAYER = 1 << 30
"""More layers than any model has: everything on the GPU, or every layer's experts on the CPU."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A device that takes part of a model.

    Attributes:
        key: How ledgers call it: `cuda0`.
        share: Its part of the layers on GPUs, relative to the others; by default llama.cpp takes free memory.
    """

    key: str
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Setup:
    """The flags of a llama-server that decide its memory.

    Attributes:
        context: Tokens over all slots (`--ctx-size`); 0 is what the model was trained on.
        slots: Requests at once (`--parallel`); 0 leaves it to the engine: 4, sharing one cache.
        unified: Whether the slots share one cache (`--kv-unified`); with `slots` 0 they do anyway.
        type_k: Type of the keys (`--cache-type-k`).
        type_v: Type of the values (`--cache-type-v`).
        batch: Tokens of one request to decode (`--batch-size`).
        micro_batch: Tokens of one pass (`--ubatch-size`).
        flash_attention: Whether attention is computed without its score matrix (`--flash-attn`).
        window_full: Whether layers with a sliding window keep the whole context (`--swa-full`).
        embeddings: Whether every token's output is kept (`--embeddings`).
        gpus: The devices that take layers, in the engine's order.
        gpu_layers: Layers on GPUs, counted from the last (`--gpu-layers`).
        experts_on_cpu: Layers, counted from the first, whose experts stay in RAM (`--n-cpu-moe`).
        repacked: Types whose weights the CPU copies into another order; empty is `--no-repack`.
        cache_ram_mib: Host memory for earlier prompts (`--cache-ram`), in MiB.
        draft_tokens: Tokens a draft may propose at once; 0 without speculation.
    """

    context: int = 0
    slots: int = 0
    unified: bool = False
    type_k: str = "f16"
    type_v: str = "f16"
    batch: int = 2048
    micro_batch: int = 512
    flash_attention: bool = True
    window_full: bool = False
    embeddings: bool = False
    gpus: tuple[Gpu, ...] = ()
    gpu_layers: int = EVERY_LAYER
    experts_on_cpu: int = 0
    repacked: frozenset[int] = frozenset()
    cache_ram_mib: int = 8192
    draft_tokens: int = 0

    def __post_init__(self) -> None:
        for flag, value in (("type_k", self.type_k), ("type_v", self.type_v)):
            if value not in CACHE_TYPES:
                raise UsageError(
                    f"{value} is not a valid type of the KV cache ({flag})",
                    remedy=f"Choose one of {', '.join(CACHE_TYPES)}.",
                )
        if self.type_v not in {"f32", "f16", "bf16"} and not self.flash_attention:
            raise UsageError(
                f"values of type {self.type_v} need flash attention",
                remedy="Switch it on, or keep f16 values.",
            )

    @property
    def sequences(self) -> int:
        """Slots, the automatic number resolved."""
        return self.slots or AUTOMATIC_SLOTS

    @property
    def streams(self) -> int:
        """Caches side by side: one that all slots share, or one for each."""
        return 1 if self.unified or not self.slots else self.slots


@dataclass(frozen=True, slots=True)
class Extent:
    """How much a setup asks of a model in cells and tokens (llama-context.cpp of b11434, lines 245 to 306).

    Attributes:
        cells: Tokens a stream of the cache holds.
        window_cells: Tokens a stream of the cache of sliding layers holds.
        streams: Caches side by side.
        sequences: Slots.
        tokens: Tokens of one pass.
        outputs: Tokens of one pass whose logits are kept.
    """

    cells: int
    window_cells: int
    streams: int
    sequences: int
    tokens: int
    outputs: int


def extent(setup: Setup, trained: int, window: int, *, causal: bool) -> Extent:
    """Return the extent of a model trained on `trained` tokens, with sliding layers that see `window`.

    Args:
        setup: How it runs.
        trained: Tokens it was trained on.
        window: Tokens that sliding layers see.
        causal: Whether tokens see only earlier ones; only then the context limits a batch.
    """
    asked = setup.context or trained
    batch = min(asked, setup.batch) if causal else setup.batch
    if setup.embeddings:
        batch = min(batch, setup.micro_batch)
    micro_batch = min(batch, setup.micro_batch)
    whole = pad(asked)
    cells = whole if setup.streams == 1 else pad(whole // setup.sequences)
    shared = setup.sequences if setup.streams == 1 and (setup.unified or not setup.slots) else 1
    limited = pad(min(cells, window * shared + micro_batch))
    sequences = setup.sequences
    # The graph is reserved for as many tokens of each slot (llama-context.cpp `graph_reserve`).
    tokens = min(cells * setup.streams, micro_batch)
    return Extent(
        cells=cells,
        window_cells=cells if setup.window_full else limited,
        streams=setup.streams,
        sequences=sequences,
        tokens=pad(tokens, sequences),
        outputs=min(tokens, batch if setup.embeddings else sequences * (1 + setup.draft_tokens)),
    )


def pad(count: int, unit: int = PADDING) -> int:
    """Return `count` rounded up to a multiple of `unit`."""
    return -(-count // unit) * unit
