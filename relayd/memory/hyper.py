"""Tensors of models with several residual streams (hyper-connections).

After `src/models/hy-v4.cpp` of llama.cpp b11434.
"""

from collections.abc import Iterable

from relayd.gguf.metadata import ModelMetadata
from relayd.memory.blocks import Pass, norm
from relayd.memory.graph import Graph, GraphTensor
from relayd.memory.shape import Shape
from relayd.memory.shapes import Weights
from relayd.memory.transformer import Transformer


class Streams:
    """The residual streams of one model.

    Args:
        run: The pass.
        model: The model's header.
        stream: The embedded tokens.

    Raises:
        ModelFileError: The header does not say how many there are.
    """

    def __init__(self, run: Pass, model: ModelMetadata, stream: GraphTensor) -> None:
        self._graph = run.graph
        self._count = model.positive("hyper_connection.count")
        width, tokens = stream.shape[:2]
        single = self._graph.view(stream, width, 1, tokens)
        self.all = self._graph.make((width, self._count, tokens), single)
        self._mixes: GraphTensor | None = None

    def one(self, *, mixes: int = 2) -> GraphTensor:
        """Return the weighted sum of the streams, which the next half of a layer reads.

        Args:
            mixes: Weights of each stream: two where it is written again, one at the end.
        """
        graph, (width, count, tokens) = self._graph, self.all.shape[:3]
        copied = graph.make(self.all.shape, self.all)
        normed = graph.change(graph.view(self.all, count * width, tokens))
        self._mixes = graph.matmul(mixes * count, normed)
        own = self._mixes if mixes == 1 else graph.view(self._mixes, count, tokens, dense=False)
        shares = self._shares(own, steps=4)
        total: GraphTensor | None = None
        for _ in range(count):
            part = graph.view(copied, width, tokens, dense=False)
            part = graph.change(part, graph.view(shares, 1, tokens, dense=False))
            total = graph.change(total, part) if total else part
        return graph.make((width, tokens), *([total] if total else []))

    def write(self, done: GraphTensor) -> None:
        """Add what a half of a layer found to every stream."""
        graph, (width, count, tokens) = self._graph, self.all.shape[:3]
        before = graph.make(self.all.shape, self.all)
        news = graph.make(done.shape, done)
        mixes = self._mixes or done
        shares = self._shares(graph.view(mixes, count, tokens, dense=False), steps=5)
        shares = graph.make(shares.shape, shares)
        joined: GraphTensor | None = None
        for index in range(count):
            share = graph.view(shares, 1, tokens, dense=False)
            part = GraphTensor(
                (width, tokens),
                (graph.view(before, width, tokens, dense=False), graph.change(news, share)),
                in_place=True,
            )
            single = graph.view(part, width, 1, tokens)
            joined = graph.make((width, index + 1, tokens), joined, single) if joined else single
        self.all = graph.make(self.all.shape, *([joined] if joined else []))

    def _shares(self, source: GraphTensor, *, steps: int) -> GraphTensor:
        for _ in range(steps):
            source = self._graph.change(source)
        return source


def hyper_stream(
    run: Pass,
    model: ModelMetadata,
    _shape: Shape,
    weights: Weights,
    transformer: Transformer,
    chosen: Iterable[int],
    stream: GraphTensor,
) -> GraphTensor:
    """Return the stream after the last layer, of the tokens that have an output.

    Raises:
        ModelFileError: The header does not say how many residual streams there are.
    """
    graph = run.graph
    streams = Streams(run, model, stream)
    for index in chosen:
        block = weights.block(index)
        streams.write(transformer.mix(block, index, norm(graph, block, "attn_norm", streams.one())))
        streams.write(transformer.fed(block, index, norm(graph, block, "ffn_norm", streams.one())))
    return narrowed(graph, streams, transformer)


def narrowed(graph: Graph, streams: Streams, transformer: Transformer) -> GraphTensor:
    """Return the sum of the streams, of the tokens that have an output."""
    width, count, tokens = streams.all.shape[:3]
    rows = transformer.chosen(graph.view(streams.all, width * count, tokens))
    streams.all = graph.view(rows, width, count, rows.shape[1])
    return streams.one(mixes=1)
