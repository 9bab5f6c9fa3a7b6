"""Tensors of attention over compressed keys and values (MLA).

After `src/models/deepseek2.cpp`, `dots3note.cpp`, `hy-v4.cpp` and `bailingmoe3.cpp` of llama.cpp b11434.
"""

from dataclasses import dataclass

from relayd.errors import ModelFileError
from relayd.gguf.metadata import ModelMetadata
from relayd.memory.architectures import GATE_COPIED, UNROTATED
from relayd.memory.blocks import Pass, linear, norm
from relayd.memory.graph import GraphTensor
from relayd.memory.indexer import Indexer, sparse_mask
from relayd.memory.shapes import Weights


@dataclass(frozen=True, slots=True)
class Latent:
    """The dimensions of latent attention.

    Attributes:
        heads: Query heads.
        key: Elements of a head's key.
        value: Elements of a head's value.
        rank: Elements of the compressed row.
        rope: Elements of a head that positions rotate.
        rotated: Whether positions are put in at all.
        window: Whether it slides.
        copied: Whether its result is copied behind its gate.
    """

    heads: int
    key: int
    value: int
    rank: int
    rope: int
    rotated: bool = True
    window: bool = False
    copied: bool = False


def latent_of(model: ModelMetadata, index: int, *, window: bool) -> Latent:
    """Return the dimensions of layer `index`.

    Raises:
        ModelFileError: The header lacks one of them.
    """
    of_window = "_swa" if window else ""
    dims = Latent(
        heads=model.per_layer("attention.head_count", index + 1)[index],
        key=model.positive(f"attention.key_length_mla{of_window}"),
        value=model.positive(f"attention.value_length_mla{of_window}"),
        rank=model.positive(f"attention.kv_lora_rank{of_window}"),
        rope=model.whole("rope.dimension_count"),
        rotated=model.architecture not in UNROTATED,
        window=window,
        copied=model.architecture in GATE_COPIED,
    )
    if dims.rope > dims.key:
        raise ModelFileError(f"its header rotates {dims.rope} elements of a key head of {dims.key}")
    return dims


def latent_attention(
    run: Pass, weights: Weights, dims: Latent, source: GraphTensor, indexer: Indexer | None = None
) -> GraphTensor:
    """Return self-attention over `source`, heads folded into the queries (the absorbed form).

    Args:
        run: The pass.
        weights: Of the layer.
        dims: Its dimensions.
        source: What it reads.
        indexer: Chooses the cells it sees; None for all.
    """
    graph, tokens = run.graph, source.shape[1]
    row = dims.rank + dims.rope
    low = low_rank(run, weights, source)
    chosen = indexer.chosen(run, weights, source, low) if indexer else None
    whole = graph.matmul(dims.heads * dims.key, low)
    joint = graph.matmul(row, source)
    compressed = graph.view(joint, dims.rank, tokens, dense=False)
    key_end = graph.view(joint, dims.rope, 1, tokens, dense=False)
    if weights.has("attn_k_norm.weight"):
        key_end = norm(graph, weights, "attn_k_norm", key_end)
    key_end = graph.change(key_end, run.positions) if dims.rotated else key_end
    compressed = norm(graph, weights, "attn_kv_a_norm", compressed)
    plain = graph.view(whole, dims.key - dims.rope, tokens, dims.heads, dense=False)
    query_end = graph.view(whole, dims.rope, dims.heads, tokens, dense=False)
    if dims.rotated:
        query_end = graph.change(query_end, run.positions)
    absorbed = graph.make((dims.rank, tokens, dims.heads), plain)
    across = graph.view(absorbed, dims.rank, dims.heads, tokens, dense=False)
    query = graph.make((row, dims.heads, tokens), across, query_end)
    value = graph.view(compressed, dims.rank, 1, tokens)
    key = graph.make((row, 1, tokens), value, key_end)
    for tensor in (query, value, key):
        graph.expand(tensor)
    rows = run.rows_k[int(dims.window)]
    graph.expand(graph.store(graph.outside(1), graph.view(key, row, tokens), rows))
    mask = run.masks[int(dims.window)]
    mixed = scores(run, dims, query, sparse_mask(graph, mask, chosen) if chosen else mask)
    graph.expand(mixed)
    return linear(graph, weights, "attn_output", _gated(run, weights, dims, mixed, source))


def _gated(run: Pass, weights: Weights, dims: Latent, mixed: GraphTensor, source: GraphTensor) -> GraphTensor:
    """Return attention's result times a gate from its input, one a head or one an element."""
    graph, tokens = run.graph, source.shape[1]
    if not weights.has("attn_gate.weight"):
        return mixed
    elements = weights.rows("attn_gate")
    if elements > dims.heads:
        return graph.change(mixed, graph.change(graph.matmul(elements, source)))
    opened = graph.change(graph.view(graph.matmul(dims.heads, source), 1, dims.heads, tokens))
    product = graph.change(graph.view(mixed, dims.value, dims.heads, tokens), opened)
    flat = (dims.value * dims.heads, tokens)
    return graph.make(flat, product) if dims.copied else graph.view(product, *flat)


def low_rank(run: Pass, weights: Weights, source: GraphTensor) -> GraphTensor:
    """Return what the queries are made of: `source`, or its projection of low rank where there is one."""
    if not weights.has("attn_q_a.weight"):
        return source
    return norm(run.graph, weights, "attn_q_a_norm", run.graph.matmul(weights.size("attn_q_a")[1], source))


def scores(run: Pass, dims: Latent, query: GraphTensor, mask: GraphTensor) -> GraphTensor:
    """Return the values weighted by attention and decompressed (`build_attn_mha` with `v_mla`)."""
    graph, extent = run.graph, run.extent
    tokens, streams = query.shape[2], extent.streams
    each = tokens // streams
    cells = extent.window_cells if dims.window else extent.cells
    split = graph.view(query, query.shape[0], dims.heads, each, streams, dense=False)
    around = graph.view(split, query.shape[0], each, dims.heads, streams, dense=False)
    if run.flash:
        mixed = graph.make((dims.rank, dims.heads, each, streams), around, mask)
        mixed = graph.view(mixed, dims.rank, each, dims.heads, streams, dense=False)
    else:
        score = graph.make((cells, each, dims.heads, streams), around)
        weighted = graph.change(score, mask)
        values = graph.make((cells, dims.rank, 1, streams), graph.outside(1), item=run.key_item)
        mixed = graph.make((dims.rank, each, dims.heads, streams), values, weighted)
    full = graph.make((dims.value, each, dims.heads, streams), mixed)
    across = graph.view(full, dims.value, dims.heads, each, streams, dense=False)
    done = graph.make((dims.value * dims.heads, tokens), across)
    return graph.view(done, dims.value * dims.heads, tokens) if run.flash else done
