"""Tensors of single architectures whose layers are like no other's.

After `src/models/talkie.cpp` and `minicpm3.cpp` of llama.cpp b11434.
"""

from collections.abc import Iterable

from relayd.gguf.metadata import ModelMetadata
from relayd.memory.blocks import Heads, Pass, attend, feed_forward, norm, queries
from relayd.memory.graph import GraphTensor
from relayd.memory.shape import Shape
from relayd.memory.shapes import Weights
from relayd.memory.transformer import Transformer, heads_of


def talkie_stream(
    run: Pass,
    model: ModelMetadata,
    shape: Shape,
    weights: Weights,
    transformer: Transformer,
    chosen: Iterable[int],
    stream: GraphTensor,
) -> GraphTensor:
    """Return the stream of Talkie, which adds the embedded tokens behind every layer."""
    graph = run.graph
    stream = embedded = graph.change(stream)
    for index in chosen:
        block, heads = weights.block(index), heads_of(model, shape, index)
        query, key, value = queries(run, block, heads, graph.change(stream))
        query, key = (graph.change(part, run.positions) for part in (query, key))
        query, key = norm(graph, block, "attn_q_norm", query), norm(graph, block, "attn_k_norm", key)
        mixed, skipped = attend(run, block, heads, query, key, value), embedded
        if index == shape.n_layers - 1:
            mixed, stream, skipped = (transformer.chosen(part) for part in (mixed, stream, embedded))
        after = graph.change(mixed, stream)
        done = graph.change(feed_forward(graph, block, graph.change(after)), after)
        stream = graph.change(done, graph.change(skipped))
    return stream


def minicpm3_stream(
    run: Pass,
    model: ModelMetadata,
    shape: Shape,
    weights: Weights,
    transformer: Transformer,
    chosen: Iterable[int],
    stream: GraphTensor,
) -> GraphTensor:
    """Return the stream of MiniCPM 3, which caches its compressed keys and values expanded."""
    graph = run.graph
    for index in chosen:
        block, heads = weights.block(index), heads_of(model, shape, index)
        normed = norm(graph, block, "attn_norm", stream)
        mixed = _expanded_attention(run, model, block, heads, normed)
        if index == shape.n_layers - 1:
            mixed, stream = transformer.chosen(mixed), transformer.chosen(stream)
        after = graph.change(graph.change(mixed), stream)
        done = feed_forward(graph, block, norm(graph, block, "ffn_norm", after))
        stream = graph.change(graph.change(done), after)
    return stream


def _expanded_attention(
    run: Pass, model: ModelMetadata, weights: Weights, heads: Heads, source: GraphTensor
) -> GraphTensor:
    graph, tokens = run.graph, source.shape[1]
    rank, rope = model.positive("attention.kv_lora_rank"), model.whole("rope.dimension_count")
    low = norm(graph, weights, "attn_q_a_norm", graph.matmul(weights.size("attn_q_a")[1], source))
    query = graph.view(graph.matmul(heads.query * heads.key, low), heads.key, heads.query, tokens)
    query = graph.change(query, run.positions)
    joint = graph.matmul(rank + rope, source)
    compressed = norm(graph, weights, "attn_kv_a_norm", graph.view(joint, rank, tokens, dense=False))
    plain = heads.key - rope
    both = graph.matmul(heads.query * (plain + heads.value), compressed)
    value = graph.make(
        (heads.value, heads.query, tokens), graph.view(both, heads.value, heads.query, tokens, dense=False)
    )
    end = graph.change(graph.view(joint, rope, 1, tokens, dense=False), run.positions)
    repeated = graph.make((rope, heads.query, tokens), end)
    front = graph.view(both, plain, heads.query, tokens, dense=False)
    key = graph.make((heads.key, heads.query, tokens), front, repeated)
    return attend(run, weights, heads, query, key, value)
