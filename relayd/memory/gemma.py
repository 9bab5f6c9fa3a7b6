"""Tensors that Gemma models make and other transformers do not.

After `src/models/gemma4.cpp` and `gemma3n.cpp` of llama.cpp b11434: embeddings for every layer, a dense part
beside the experts, and four parallel streams.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from relayd.memory.blocks import (
    ExpertRouting,
    Heads,
    Pass,
    attend,
    feed_forward,
    mixture,
    norm,
    prepared,
    queries,
)
from relayd.memory.graph import GraphTensor
from relayd.memory.shapes import Weights

STREAMS = 4
"""Parallel residual streams of Gemma 3n (`n_altup`)."""

SPARSE = 10
"""Leading layers of Gemma 3n that drop small gates (`n_layer_sparsity`)."""


@dataclass(frozen=True, slots=True)
class PerLayer:
    """The embeddings that every layer gets its own part of.

    Attributes:
        inputs: The parts of all layers.
        width: Elements of a part.
    """

    inputs: GraphTensor
    width: int


@dataclass(frozen=True, slots=True)
class GemmaLayer:
    """What one layer is made of.

    Attributes:
        index: Its number.
        heads: Its attention.
        experts: How it routes, if it does.
        own: Whether it has a cache of its own.
    """

    index: int
    heads: Heads
    experts: ExpertRouting
    own: bool


def gemma4_stream(
    run: Pass, weights: Weights, layers: Iterable[GemmaLayer], stream: GraphTensor, layered: tuple[int, int]
) -> GraphTensor:
    """Return the residual stream of Gemma 4 after its last layer.

    Args:
        run: The pass.
        weights: All weights.
        layers: The layers to record.
        stream: The embedded tokens.
        layered: Width of a per-layer embedding, 0 for none, and how many layers have one.
    """
    parts = per_layer_inputs(run, stream, *layered) if layered[0] else None
    for layer in layers:
        stream = gemma4_layer(run, weights.block(layer.index), layer, stream, parts)
    return stream


def gemma3n_stream(
    run: Pass, weights: Weights, layers: Iterable[GemmaLayer], stream: GraphTensor, n_layers: int
) -> GraphTensor:
    """Return the residual stream of Gemma 3n after its last layer, the parallel ones joined."""
    graph, (width, tokens) = run.graph, stream.shape[:2]
    parts = per_layer_inputs(run, stream, weights.size("blk.0.inp_gate")[1], n_layers)
    streams = parallel_streams(run, stream)
    for layer in layers:
        streams = gemma3n_layer(run, weights.block(layer.index), layer, streams, parts)
    target = magnitude(run, graph.view(streams, width, tokens))
    rest = STREAMS - 1
    back = graph.make((width, tokens, rest), graph.view(streams, width, tokens, rest))
    length = magnitude(run, back)
    scaled = graph.change(graph.change(back, target), length)
    total = graph.view(streams, width, tokens)
    for _ in range(rest):
        total = GraphTensor((width, tokens), (total, graph.view(scaled, width, tokens)), in_place=True)
    return graph.change(total)


def per_layer_inputs(run: Pass, stream: GraphTensor, width: int, layers: int) -> PerLayer:
    """Return the per-layer embeddings (`build_inp_per_layer`, `project_per_layer_inputs`)."""
    graph, tokens = run.graph, run.extent.tokens
    looked_up = graph.make((width * layers, tokens), graph.input(tokens))
    scaled = graph.change(graph.view(looked_up, width, layers, tokens))
    graph.expand(scaled)
    projected = graph.change(graph.matmul(width * layers, stream))
    split = graph.view(projected, width, layers, tokens)
    normed = graph.change(graph.change(split))
    joined = graph.change(graph.change(normed, scaled))
    across = graph.view(joined, width, tokens, layers, dense=False)
    return PerLayer(graph.make((width, tokens, layers), across), width)


def gemma_attention(
    run: Pass, weights: Weights, heads: Heads, source: GraphTensor, *, own: bool
) -> GraphTensor:
    """Return self-attention whose values are normalised too, and may be the keys themselves."""
    graph = run.graph
    query, key, value = queries(run, weights, heads, source)
    query = prepared(run, weights, "attn_q_norm", query, heads)
    if not own:
        return attend(run, weights, heads, query, None, None)
    if not weights.has("attn_v.weight"):
        value = graph.view(key.sources[0], *key.shape[:3])
    key = prepared(run, weights, "attn_k_norm", key, heads)
    return attend(run, weights, heads, query, key, graph.change(value))


def gemma4_feed(run: Pass, weights: Weights, experts: ExpertRouting, source: GraphTensor) -> GraphTensor:
    """Return the feed-forward part of Gemma 4: dense, or dense and experts side by side."""
    graph = run.graph
    if not weights.has("ffn_gate_inp.weight"):
        return feed_forward(graph, weights, norm(graph, weights, "ffn_norm", source))
    dense = feed_forward(graph, weights, norm(graph, weights, "ffn_norm", source))
    dense = norm(graph, weights, "post_ffw_norm_1", dense)
    routed = norm(graph, weights, "pre_ffw_norm_2", source)
    logits = graph.change(graph.change(graph.change(source)))
    logits = graph.matmul(experts.total, logits)
    mixed = norm(graph, weights, "post_ffw_norm_2", mixture(graph, weights, experts, routed, logits))
    return graph.change(dense, mixed)


def gemma4_layer(
    run: Pass, weights: Weights, layer: GemmaLayer, stream: GraphTensor, layered: PerLayer | None
) -> GraphTensor:
    """Return the residual stream after a layer of Gemma 4; every token goes on to the last one."""
    graph = run.graph
    normed = norm(graph, weights, "attn_norm", stream)
    mixed = gemma_attention(run, weights, layer.heads, normed, own=layer.own)
    after = graph.change(norm(graph, weights, "post_attention_norm", mixed), stream)
    done = norm(graph, weights, "post_ffw_norm", gemma4_feed(run, weights, layer.experts, after))
    done = graph.change(done, after)
    if layered is not None:
        done = graph.change(done, layer_part(run, weights, layered, done))
    return graph.change(done) if weights.has("layer_output_scale.weight") else done


def layer_part(run: Pass, weights: Weights, layered: PerLayer, source: GraphTensor) -> GraphTensor:
    """Return what the per-layer embedding adds."""
    graph = run.graph
    gate = graph.change(graph.matmul(layered.width, source))
    part = graph.view(layered.inputs, layered.width, run.extent.tokens)
    projected = graph.matmul(source.shape[0], graph.change(gate, part))
    return norm(graph, weights, "post_norm", projected)


def parallel_streams(run: Pass, stream: GraphTensor) -> GraphTensor:
    """Return the stream and its three projections side by side."""
    graph, (width, tokens) = run.graph, stream.shape[:2]
    target = magnitude(run, stream)
    repeated = graph.make((width, tokens, STREAMS - 1), stream)
    added = graph.make((width, tokens, STREAMS - 1), repeated)
    length = magnitude(run, added)
    scaled = graph.change(graph.change(added, target), length)
    return graph.make((width, tokens, STREAMS), stream, scaled)


def magnitude(run: Pass, source: GraphTensor) -> GraphTensor:
    """Return the length of every row."""
    graph = run.graph
    return graph.change(graph.make((1, *source.shape[1:]), graph.change(source)))


def gemma3n_layer(
    run: Pass, weights: Weights, layer: GemmaLayer, streams: GraphTensor, layered: PerLayer
) -> GraphTensor:
    """Return the parallel streams after a layer of Gemma 3n."""
    graph, (width, tokens) = run.graph, streams.shape[:2]
    predicted = predictions(run, weights, streams)
    active = graph.view(predicted, width, tokens)
    normed = norm(graph, weights, "attn_norm", active)
    low = graph.matmul(width, graph.matmul(weights.rows("laurel_l"), normed))
    beside = graph.change(norm(graph, weights, "laurel_post_norm", low), normed)
    mixed = gemma_attention(run, weights, layer.heads, normed, own=layer.own)
    mixed = graph.change(norm(graph, weights, "post_attention_norm", mixed), active)
    joined = graph.change(graph.change(mixed, beside))
    done = gelu_feed(run, weights, norm(graph, weights, "ffn_norm", joined), sparse=layer.index < SPARSE)
    done = graph.change(norm(graph, weights, "post_ffw_norm", done), joined)
    corrected = corrections(run, weights, predicted, done)
    first = graph.change(graph.view(corrected, width, tokens))
    part = layer_part(run, weights, layered, first)
    rest = GraphTensor(
        (width, tokens, STREAMS - 1), (graph.view(corrected, width, tokens, STREAMS - 1), part), in_place=True
    )
    return graph.make((width, tokens, STREAMS), graph.view(corrected, width, tokens), rest)


def gelu_feed(run: Pass, weights: Weights, source: GraphTensor, *, sparse: bool) -> GraphTensor:
    """Return the feed-forward part of Gemma 3n, whose first layers drop all but the largest gates."""
    graph = run.graph
    up = graph.matmul(weights.size("ffn_up")[1], source)
    gate = graph.matmul(weights.size("ffn_gate")[1], source)
    if sparse:
        row = (1, *gate.shape[1:])
        mean = graph.make(row, gate)
        spread = graph.change(graph.change(graph.make(row, graph.change(graph.change(gate, mean)))))
        cutoff = graph.change(mean, graph.change(spread))
        gate = graph.change(graph.change(gate, cutoff))
    return graph.matmul(source.shape[0], graph.change(up, graph.change(gate)))


def modalities(run: Pass, weights: Weights, source: GraphTensor) -> GraphTensor:
    """Return how much of each stream goes where (`altup_compute_router_modalities`)."""
    graph = run.graph
    scaled = graph.change(norm(graph, weights, "altup_router_norm", source))
    return graph.change(graph.matmul(STREAMS, scaled))


def predictions(run: Pass, weights: Weights, streams: GraphTensor) -> GraphTensor:
    """Return what each stream is expected to become (`altup_predict`)."""
    graph, (width, tokens) = run.graph, streams.shape[:2]
    shares = graph.matmul(STREAMS * STREAMS, modalities(run, weights, graph.view(streams, width, tokens)))
    shares = graph.view(shares, STREAMS, STREAMS, tokens)
    across = graph.make((STREAMS, width, tokens), graph.view(streams, STREAMS, width, tokens, dense=False))
    mixed = graph.make((width, STREAMS, tokens), across, shares)
    back = graph.make((width, tokens, STREAMS), graph.view(mixed, width, tokens, STREAMS, dense=False))
    return graph.change(back, streams)


def corrections(run: Pass, weights: Weights, predicted: GraphTensor, done: GraphTensor) -> GraphTensor:
    """Return the streams corrected by what the layer found (`altup_correct`)."""
    graph, (width, tokens) = run.graph, done.shape[:2]
    chosen = modalities(run, weights, done)
    news = graph.change(done, graph.view(predicted, width, tokens))
    shares = graph.change(graph.matmul(STREAMS, chosen))
    turned = graph.make((1, tokens, STREAMS), graph.view(shares, tokens, STREAMS, dense=False))
    repeated = graph.make((width, tokens, STREAMS), news)
    return graph.change(graph.change(repeated, turned), predicted)
