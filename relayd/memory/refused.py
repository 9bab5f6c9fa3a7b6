"""Setups that an engine refuses, or ends at, for a model of some shape.

Read in `llama_init_from_model` of llama.cpp b11434 (llama-context.cpp), and found by
`python -m tests.oracle.memory`.
"""

from dataclasses import replace

from relayd.gguf.quants import QUANTS
from relayd.memory.setup import CACHE_TYPES, Setup
from relayd.memory.shape import Shape

UNEVEN = frozenset({"kimi-linear"})
"""Architectures whose graph is reserved for one slot after all others, with the caches of all.

The engine ends with an assertion where the tokens of a pass are not a multiple of the slots.
"""


def refused_by_engine(shape: Shape, setup: Setup) -> str:
    """Return why an engine would not run a model so; empty where it would.

    Args:
        shape: The model.
        setup: How it would run.
    """
    if reason := refused_cache(shape, setup.type_k, setup.type_v, flash_attention=setup.flash_attention):
        return reason
    if workable(shape, setup) != setup:
        return f"a pass of {setup.micro_batch} tokens is not a multiple of {setup.slots} separate slots"
    return ""


def workable(shape: Shape, setup: Setup) -> Setup:
    """Return the setup with one cache for all slots where the engine would end with separate ones."""
    asked = shape.extent(setup)
    tokens = min(asked.cells * asked.streams, setup.batch, setup.micro_batch)
    uneven = shape.architecture in UNEVEN and tokens % asked.streams
    return replace(setup, unified=True) if uneven else setup


def refused_cache(shape: Shape, type_k: str, type_v: str, *, flash_attention: bool = True) -> str:
    """Return why an engine would not keep keys and values of some types; empty where it would."""
    if not shape.cached:
        return ""
    if shape.same_cache_types and type_k != type_v:
        return f"keys of type {type_k} and values of type {type_v} differ, and share one row in this model"
    flash = flash_attention and not shape.without_flash
    if not flash:
        plain = type_v in {"f32", "f16", "bf16"}
        return "" if plain else f"values of type {type_v} need flash attention, which it cannot have"
    for what, kind, sizes in (("keys", type_k, shape.key_heads), ("values", type_v, shape.value_heads)):
        block = QUANTS[CACHE_TYPES[kind]].block
        for size in sorted(size for size in sizes if size % block):
            return f"{what} of type {kind} come in blocks of {block}, and its heads have {size}"
    return ""
