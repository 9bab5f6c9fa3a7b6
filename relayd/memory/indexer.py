"""Tensors of the indexer of sparse attention: which cells a token attends to.

After `src/models/deepseek32.cpp`, `hy-v4.cpp` and `llama-graph.cpp` (`llm_graph_input_attn_k_dsa`) of
llama.cpp b11434.
"""

from relayd.gguf.metadata import ModelMetadata
from relayd.memory.architectures import INDEXER_PLAIN
from relayd.memory.blocks import I64, Pass, norm
from relayd.memory.graph import Graph, GraphTensor
from relayd.memory.shapes import Weights


class Indexer:
    """Chooses cells by scores of their own; layers without one use the choice of a layer before.

    Args:
        run: The pass; the indexer has inputs of its own in it.
        model: The model's header.

    Raises:
        ModelFileError: The header lacks its dimensions.
    """

    def __init__(self, run: Pass, model: ModelMetadata) -> None:
        graph, extent = run.graph, run.extent
        self._heads = model.positive("attention.indexer.head_count")
        self._key = model.positive("attention.indexer.key_length")
        self._most = model.positive("attention.indexer.top_k")
        self._rows = graph.input(extent.tokens, item=I64)
        each = extent.tokens // extent.streams
        self._mask = graph.input(extent.cells, each, 1, extent.streams, item=2)
        size = self._key & -self._key
        turns = model.architecture not in INDEXER_PLAIN
        self._turn = graph.input(size, size) if turns else None
        self._last: GraphTensor | None = None

    def chosen(
        self, run: Pass, weights: Weights, source: GraphTensor, low: GraphTensor
    ) -> GraphTensor | None:
        """Return the cells that each token of a layer attends to.

        Args:
            run: The pass.
            weights: Of the layer.
            source: What it reads.
            low: Its queries before they are expanded.
        """
        if weights.has("indexer.attn_q_b.weight"):
            self._last = self._choose(run, weights, source, low)
        return self._last

    def _choose(self, run: Pass, weights: Weights, source: GraphTensor, low: GraphTensor) -> GraphTensor:
        graph, extent, tokens = run.graph, run.extent, source.shape[1]
        streams = extent.streams
        query = graph.view(graph.matmul(self._heads * self._key, low), self._key, self._heads, tokens)
        query = self._turned(graph, graph.change(query, run.positions))
        key = norm(graph, weights, "indexer.k_norm", graph.matmul(self._key, source), rms=False)
        key = graph.change(graph.view(key, self._key, 1, tokens), run.positions)
        key = graph.view(self._turned(graph, key), self._key, tokens)
        graph.expand(graph.store(graph.outside(1), key, self._rows))
        split = graph.view(query, self._key, self._heads, tokens // streams, streams)
        shares = graph.matmul(self._heads, source)
        shares = graph.change(graph.view(shares, self._heads, tokens // streams, 1, streams))
        cells = (extent.cells, tokens // streams, 1, streams)
        score = graph.make(cells, split, shares, self._mask)
        best = graph.make((min(extent.cells, self._most), *cells[1:]), score)
        return graph.make(best.shape, best)

    def _turned(self, graph: Graph, source: GraphTensor) -> GraphTensor:
        return source if self._turn is None else graph.make(source.shape, self._turn, source)


def sparse_mask(graph: Graph, mask: GraphTensor, chosen: GraphTensor) -> GraphTensor:
    """Return a mask that hides all cells but the chosen ones (`build_attn` over the sparse cache)."""
    cells, tokens, _, streams = mask.shape
    most = chosen.shape[0]
    zeros = graph.change(graph.input(1, most, tokens, streams))
    places = graph.view(chosen, most, tokens, streams)
    hidden = graph.view(graph.change(mask), 1, cells, tokens, streams)
    shown = graph.view(graph.store(hidden, zeros, places), cells, tokens, 1, streams)
    return graph.change(shown, mask)
