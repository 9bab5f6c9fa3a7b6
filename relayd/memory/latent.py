"""Tensors of attention over compressed keys and values (MLA).

After `src/models/deepseek2.cpp` of llama.cpp b11434.
"""

from dataclasses import dataclass

from relayd.errors import ModelFileError
from relayd.gguf.metadata import ModelMetadata
from relayd.memory.blocks import Pass, linear, norm
from relayd.memory.graph import GraphTensor
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
    """

    heads: int
    key: int
    value: int
    rank: int
    rope: int
    rotated: bool = True


def latent_of(model: ModelMetadata, index: int, *, rotated: bool) -> Latent:
    """Return the dimensions of layer `index`.

    Raises:
        ModelFileError: The header lacks one of them.
    """
    dims = Latent(
        heads=model.per_layer("attention.head_count", index + 1)[index],
        key=model.positive("attention.key_length_mla"),
        value=model.positive("attention.value_length_mla"),
        rank=model.positive("attention.kv_lora_rank"),
        rope=model.whole("rope.dimension_count"),
        rotated=rotated,
    )
    if dims.rope > dims.key:
        raise ModelFileError(f"its header rotates {dims.rope} elements of a key head of {dims.key}")
    return dims


def latent_attention(run: Pass, weights: Weights, dims: Latent, source: GraphTensor) -> GraphTensor:
    """Return self-attention over `source`, heads folded into the queries (the absorbed form)."""
    graph, tokens = run.graph, source.shape[1]
    row = dims.rank + dims.rope
    whole = low_rank_queries(run, weights, dims, source)
    joint = graph.matmul(row, source)
    compressed = graph.view(joint, dims.rank, tokens, dense=False)
    rotated_key = graph.view(joint, dims.rope, 1, tokens, dense=False)
    key_end = graph.change(rotated_key, run.positions) if dims.rotated else rotated_key
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
    graph.expand(graph.store(graph.outside(1), graph.view(key, row, tokens), run.rows_k[0]))
    mixed = graph.expand(scores(run, dims, query))
    return linear(graph, weights, "attn_output", mixed)


def low_rank_queries(run: Pass, weights: Weights, dims: Latent, source: GraphTensor) -> GraphTensor:
    """Return the queries, through a low rank where the model has one."""
    graph = run.graph
    if weights.has("attn_q.weight"):
        whole = graph.matmul(weights.size("attn_q")[1], source)
    else:
        low = norm(graph, weights, "attn_q_a_norm", graph.matmul(weights.size("attn_q_a")[1], source))
        whole = graph.matmul(weights.size("attn_q_b")[1], low)
    return graph.view(whole, dims.key, dims.heads, source.shape[1])


def scores(run: Pass, dims: Latent, query: GraphTensor) -> GraphTensor:
    """Return the values weighted by attention and decompressed (`build_attn_mha` with `v_mla`)."""
    graph, extent = run.graph, run.extent
    tokens, streams = query.shape[2], extent.streams
    each = tokens // streams
    mask = run.masks[0]
    split = graph.view(query, query.shape[0], dims.heads, each, streams, dense=False)
    around = graph.view(split, query.shape[0], each, dims.heads, streams, dense=False)
    if run.flash:
        mixed = graph.make((dims.rank, dims.heads, each, streams), around, mask)
        mixed = graph.view(mixed, dims.rank, each, dims.heads, streams, dense=False)
    else:
        score = graph.make((extent.cells, each, dims.heads, streams), around)
        weighted = graph.change(score, mask)
        values = graph.make((extent.cells, dims.rank, 1, streams), graph.outside(1), item=run.key_item)
        mixed = graph.make((dims.rank, each, dims.heads, streams), values, weighted)
    full = graph.make((dims.value, each, dims.heads, streams), mixed)
    across = graph.view(full, dims.value, dims.heads, each, streams, dense=False)
    done = graph.make((dims.value * dims.heads, tokens), across)
    return graph.view(done, dims.value * dims.heads, tokens) if run.flash else done
