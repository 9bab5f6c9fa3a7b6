"""Memory of the KV cache and of recurrent state."""

from relayd.gguf.quants import row_bytes
from relayd.memory.setup import CACHE_TYPES, Extent, Setup
from relayd.memory.shape import Layer, Shape
from relayd.units import Bytes


def cache_bytes(shape: Shape, layer: Layer, setup: Setup, extent: Extent) -> Bytes:
    """Return what the keys and values of `layer` take.

    Without flash attention values are stored transposed, each row as wide as the widest layer's
    (llama-kv-cache.cpp `TAG_V_CACHE_VARIABLE`).
    """
    if not layer.key:
        return Bytes(0)
    width = layer.value
    if width and not setup.flash_attention:
        width = shape.widest_value
    cell = _row(setup.type_k, layer.key) + _row(setup.type_v, width)
    return Bytes(cell * (extent.window_cells if layer.window else extent.cells) * extent.streams)


def indexer_bytes(layer: Layer, setup: Setup, extent: Extent) -> Bytes:
    """Return what the keys of the sparse-attention indexer of `layer` take (llama-kv-cache-dsa.cpp)."""
    cell = _row(setup.type_k, layer.indexer) + _row(setup.type_v, layer.indexer_value)
    return Bytes(cell * extent.cells * extent.streams)


def state_bytes(layer: Layer, setup: Setup, extent: Extent) -> Bytes:
    """Return what the recurrent state of `layer` takes: F32, one row a slot (llama-memory-recurrent.cpp).

    A draft of n tokens keeps n more rows, to roll back to.
    """
    return Bytes(4 * layer.state * extent.sequences * (1 + setup.draft_tokens))


def _row(type_name: str, width: int) -> int:
    return row_bytes(CACHE_TYPES[type_name], width) if width else 0
