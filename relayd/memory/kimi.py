"""Tensors of Kimi K3: attention over earlier layers, and experts of a latent width.

After `src/models/kimi-k3.cpp` of llama.cpp b11434.
"""

from collections.abc import Iterable

from relayd.gguf.metadata import ModelMetadata
from relayd.memory.blocks import ExpertRouting, Pass, linear, mixture, norm, soft_gated
from relayd.memory.graph import Graph, GraphTensor
from relayd.memory.shape import Shape
from relayd.memory.shapes import Weights
from relayd.memory.transformer import Transformer, experts_of


class EarlierLayers:
    """The stream at every so many layers, which later ones mix into theirs.

    Args:
        graph: The graph.
        every: Layers from one to the next.
    """

    def __init__(self, graph: Graph, every: int) -> None:
        self._graph = graph
        self._every = every
        self._kept: GraphTensor | None = None

    def keep(self, index: int, stream: GraphTensor) -> bool:
        """Keep the stream before layer `index` if it is one of those, and return whether it was kept."""
        if not self._every or index % self._every:
            return False
        width, tokens = stream.shape[:2]
        single, kept = self._graph.view(stream, width, 1, tokens), self._kept
        self._kept = self._graph.make((width, kept.shape[1] + 1, tokens), kept, single) if kept else single
        return True

    def mixed(self, stream: GraphTensor) -> GraphTensor:
        """Return the stream with those that were kept, by weights of each token."""
        graph, kept = self._graph, self._kept
        if kept is None:
            return stream
        count, tokens = kept.shape[1], kept.shape[2]
        scored = graph.make((1, count, tokens), graph.change(graph.change(kept)))
        own = graph.make((1, tokens), graph.change(graph.change(stream)))
        shares = graph.change(graph.make((count + 1, tokens), graph.view(scored, count, tokens), own))
        theirs = graph.make((count, tokens), graph.view(shares, count, tokens, dense=False))
        ours = graph.make((1, tokens), graph.view(shares, 1, tokens, dense=False))
        return graph.change(graph.make(stream.shape, kept, theirs), graph.change(stream, ours))


def kimi3_stream(
    run: Pass,
    model: ModelMetadata,
    _shape: Shape,
    weights: Weights,
    transformer: Transformer,
    chosen: Iterable[int],
    stream: GraphTensor,
) -> GraphTensor:
    """Return the stream after the last layer, of the tokens that have an output."""
    graph = run.graph
    earlier = EarlierLayers(graph, model.whole("attn_res.block_size"))
    for index in chosen:
        block = weights.block(index)
        before = earlier.mixed(stream)
        kept = earlier.keep(index, stream)
        mixed = transformer.mix(block, index, graph.expand(norm(graph, block, "attn_norm", before)))
        stream = mixed if kept else graph.change(stream, mixed)
        normed = norm(graph, block, "ffn_norm", earlier.mixed(stream))
        stream = graph.change(stream, _fed(graph, block, experts_of(model, index), normed))
    return transformer.chosen(earlier.mixed(stream))


def kept_layers(model: ModelMetadata, shape: Shape) -> list[int]:
    """Return the layers before which the stream is kept: each makes all later ones larger."""
    every = model.whole("attn_res.block_size")
    return list(range(0, shape.n_layers, every)) if every else []


def _fed(graph: Graph, weights: Weights, experts: ExpertRouting, source: GraphTensor) -> GraphTensor:
    if not weights.has("ffn_gate_inp.weight"):
        return _dense(graph, weights, source)
    narrow = source
    if weights.has("ffn_routed_down.weight"):
        narrow = linear(graph, weights, "ffn_routed_down", source)
    done = mixture(graph, weights, experts, narrow, graph.matmul(experts.total, source))
    if weights.has("ffn_routed_norm.weight"):
        done = norm(graph, weights, "ffn_routed_norm", done)
    if weights.has("ffn_routed_up.weight"):
        done = linear(graph, weights, "ffn_routed_up", done)
    if weights.has("ffn_up_shexp.weight"):
        done = graph.change(done, _dense(graph, weights, source, "_shexp"))
    return done


def _dense(graph: Graph, weights: Weights, source: GraphTensor, suffix: str = "") -> GraphTensor:
    gate, up = (linear(graph, weights, f"ffn_{name}{suffix}", source) for name in ("gate", "up"))
    return linear(graph, weights, f"ffn_down{suffix}", soft_gated(graph, gate, up))
