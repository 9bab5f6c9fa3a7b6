"""Tensors of attention over chosen blocks of positions (MiniMax M3).

After `src/models/minimax-m3.cpp` of llama.cpp b11434.
"""

from relayd.gguf.metadata import ModelMetadata
from relayd.memory.blocks import I64, Heads, Pass, linear, norm, prepared, queries, store, turned
from relayd.memory.graph import Graph, GraphTensor
from relayd.memory.setup import PADDING, pad
from relayd.memory.shapes import Weights


class BlockSparse:
    """Chooses blocks of positions; the inputs that all layers share.

    Args:
        run: The pass.
        model: The model's header.
        positions: Positions that the cache holds, at most: while it is reserved, the least there is.

    Raises:
        ModelFileError: The header lacks the dimensions of its indexer.
    """

    def __init__(self, run: Pass, model: ModelMetadata, positions: int = PADDING) -> None:
        graph, extent = run.graph, run.extent
        self._heads = model.positive("attention.indexer.head_count")
        self._key = model.positive("attention.indexer.key_length")
        self._most = model.positive("attention.indexer.top_k")
        block = model.positive("attention.indexer.block_size")
        self._positions = pad(positions, block)
        self._blocks = self._positions // block
        self._dense = model.whole("leading_dense_block_count")
        self._rows = graph.input(extent.tokens, item=I64)
        self._forced = graph.input(self._blocks, extent.tokens)
        self._seen = graph.input(self._positions, extent.tokens)
        self._cells = graph.input(self._positions, extent.streams)
        self._block_of = graph.input(extent.cells, extent.streams)
        # The mask is copied once, for all layers, where the first of them needs it.
        self._mask = graph.make(run.masks[0].shape, run.masks[0])

    @staticmethod
    def works(run: Pass) -> bool:
        """Return whether blocks are chosen: only with flash attention and a cache for each slot."""
        return run.flash and run.extent.streams == run.extent.sequences

    def leads(self, index: int) -> bool:
        """Return whether layer `index` sees everything."""
        return index < self._dense

    def attention(self, run: Pass, weights: Weights, heads: Heads, source: GraphTensor) -> GraphTensor:
        """Return attention over the blocks that the indexer of a layer chooses."""
        graph, extent = run.graph, run.extent
        tokens = extent.tokens
        query, key, value = queries(run, weights, heads, source)
        query = prepared(run, weights, "attn_q_norm", query, heads)
        key = prepared(run, weights, "attn_k_norm", key, heads)
        asked = graph.view(linear(graph, weights, "indexer.q_proj", source), self._key, self._heads, tokens)
        kept = graph.view(linear(graph, weights, "indexer.k_proj", source), self._key, 1, tokens)
        asked, kept = (
            norm(graph, weights, "indexer.q_norm", asked),
            norm(graph, weights, "indexer.k_norm", kept),
        )
        asked, kept = graph.change(asked, run.positions), graph.change(kept, run.positions)
        graph.expand(graph.store(graph.outside(1), graph.view(kept, self._key, tokens), self._rows))
        query, key = turned(graph, query, run.turn_k[0]), turned(graph, key, run.turn_k[0])
        value = turned(graph, value, run.turn_v[0])
        for tensor in (query, key, value):
            graph.expand(tensor)
        store(run, key, run.rows_k[0], transposed=False)
        store(run, value, run.rows_v[0], transposed=False)
        parts = [self._stream(run, heads, query, asked) for _ in range(extent.streams)]
        mixed = parts[0]
        for part in parts[1:]:
            mixed = graph.make((mixed.shape[0], mixed.shape[1] + part.shape[1]), mixed, part)
        mixed = turned(graph, mixed, run.turn_v[0])
        return linear(graph, weights, "attn_output", mixed)

    def _stream(self, run: Pass, heads: Heads, query: GraphTensor, asked: GraphTensor) -> GraphTensor:
        """Return the attention of the tokens of one slot."""
        graph, tokens = run.graph, run.extent.tokens // run.extent.streams
        part = graph.view(query, heads.key, tokens, heads.query, dense=False)
        mixed = graph.make(
            (heads.value, heads.query // self._heads, tokens, self._heads),
            part,
            self._shown(graph, run, self._chosen(graph, asked, tokens), tokens),
        )
        turned_round = graph.view(mixed, heads.value, heads.query, tokens, dense=False)
        if tokens > 1:
            turned_round = graph.make(
                (heads.value, heads.query // self._heads, self._heads, tokens), turned_round
            )
        return graph.view(turned_round, heads.value * heads.query, tokens)

    def _chosen(self, graph: Graph, asked: GraphTensor, tokens: int) -> GraphTensor:
        """Return a mask over blocks, one for each token and head of the indexer."""
        keys = graph.make((self._key, self._positions), graph.view(self._cells, self._positions))
        flat = graph.view(asked, self._key, self._heads * tokens)
        score = graph.make((self._positions, self._heads * tokens), keys, flat)
        shape = (self._positions, self._heads, tokens)
        seen = graph.view(self._seen, self._positions, 1, tokens)
        score = graph.update(graph.view(score, *shape), seen)
        best = graph.make((self._blocks, self._heads, tokens), score)
        forced = graph.view(self._forced, self._blocks, 1, tokens)
        order = graph.make((min(self._most, self._blocks), self._heads, tokens), graph.change(best, forced))
        zeros = graph.view(graph.change(graph.make(order.shape, order)), *order.shape)
        places = graph.view(order, *order.shape)
        hidden = graph.make(forced.shape, graph.change(forced), item=2)
        hidden = graph.make(best.shape, hidden, item=2)
        chosen = graph.store(graph.view(hidden, *best.shape), zeros, places)
        turned_round = graph.view(chosen, self._blocks, tokens, self._heads, dense=False)
        return graph.make((self._blocks, tokens, self._heads), turned_round, item=2)

    def _shown(self, graph: Graph, run: Pass, chosen: GraphTensor, tokens: int) -> GraphTensor:
        """Return the mask over cells that a mask over blocks makes."""
        cells, pairs = run.extent.cells, tokens * self._heads
        across = graph.view(chosen, pairs, self._blocks, dense=False)
        across = graph.make((pairs, self._blocks), across, item=2)
        spread = graph.make((pairs, cells), across, graph.view(self._block_of, cells))
        back = graph.make((cells, pairs), graph.view(spread, cells, pairs, dense=False))
        causal = graph.view(self._mask, cells, tokens, 1)
        combined = graph.update(graph.view(back, cells, tokens, self._heads), causal)
        return graph.make(
            (cells, tokens, 1, self._heads), graph.view(combined, cells, tokens, 1, self._heads), item=2
        )
