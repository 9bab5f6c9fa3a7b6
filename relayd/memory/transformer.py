"""One transformer layer's part of the residual stream."""

from relayd.errors import ModelFileError
from relayd.gguf.metadata import ModelMetadata
from relayd.memory.architectures import (
    CLAMPED,
    DENSE_ONLY,
    LATENT_INDEXED,
    NORM_FIRST,
    PARALLEL,
    PRE_FEED,
    ROTATED_BUT_EVERY,
    ROUTED_EARLY,
    STREAM_AHEAD,
    STREAM_FIRST,
    UNROTATED,
    WINDOW_ROTATED,
)
from relayd.memory.blocks import ExpertRouting, Heads, Pass, attention, feed_forward, linear, mixture, norm
from relayd.memory.blocksparse import BlockSparse
from relayd.memory.graph import GraphTensor
from relayd.memory.indexer import Indexer
from relayd.memory.kda import kimi_delta, kimi_delta_of
from relayd.memory.latent import latent_attention, latent_of
from relayd.memory.recurrent import recurrence_of, recurrent
from relayd.memory.shape import Shape
from relayd.memory.shapes import Weights

EXPERTS_USED = 256
"""Most experts that a token passes in one layer; models have up to 32."""


class Transformer:
    """The layers of one model, recorded one after another.

    Args:
        run: The pass they belong to.
        model: The model's header.
        shape: Its shape.
        weights: All of its weights.
        outputs: Which tokens go on to the head; an input of the pass.
        positions: Positions that a cache of blocks holds by then.
    """

    def __init__(
        self,
        run: Pass,
        model: ModelMetadata,
        shape: Shape,
        weights: Weights,
        outputs: GraphTensor,
        positions: int,
    ) -> None:
        self._run = run
        self._graph = run.graph
        self._model = model
        self._shape = shape
        self._weights = weights
        self._outputs = outputs
        self._entered = outputs
        indexed = shape.architecture in LATENT_INDEXED and model.whole("attention.indexer.top_k")
        self._indexer = Indexer(run, model) if indexed else None
        blocks = shape.architecture == "minimax-m3" and BlockSparse.works(run)
        self._blocks = BlockSparse(run, model, positions) if blocks else None

    def layer(self, index: int, stream: GraphTensor, *, last: bool) -> GraphTensor:
        """Return the stream after layer `index`; after the last one only tokens with an output remain."""
        block = self._weights.block(index)
        self._entered = stream
        normed = self._first_norm(block, stream)
        mixed = self.mix(block, index, normed)
        if self._is_parallel(block):
            return self._parallel(block, index, stream, normed, mixed, last=last)
        if last:
            mixed, stream = self.chosen(mixed), self.chosen(stream)
        if _both_post_norms(block):
            mixed = norm(self._graph, block, "post_attention_norm", mixed)
        ahead = self._shape.architecture in STREAM_AHEAD
        after = self._graph.change(stream, mixed) if ahead else self._graph.change(mixed, stream)
        return self._second_half(block, index, after, ahead=ahead)

    def _first_norm(self, block: Weights, stream: GraphTensor) -> GraphTensor:
        after_only = _both_post_norms(block) or block.has("layer_output_norm.weight")
        if after_only and not block.has("attn_norm.weight"):
            return stream
        name = "attn_norm_2" if block.has("attn_norm_2.weight") else "attn_norm"
        normed = norm(self._graph, block, name, stream)
        if self._shape.architecture in NORM_FIRST:
            self._graph.expand(normed)
        return normed

    def _is_parallel(self, block: Weights) -> bool:
        named = any(block.has(f"{name}.weight") for name in PRE_FEED)
        return self._shape.architecture in PARALLEL and not named

    def chosen(self, source: GraphTensor) -> GraphTensor:
        """Return the rows of the tokens that have an output."""
        return self._graph.make((source.shape[0], self._run.extent.outputs), source, self._outputs)

    def _parallel(
        self,
        block: Weights,
        index: int,
        stream: GraphTensor,
        normed: GraphTensor,
        mixed: GraphTensor,
        *,
        last: bool,
    ) -> GraphTensor:
        graph = self._graph
        if block.has("attn_norm_2.weight"):
            normed = norm(graph, block, "attn_norm", stream)
        if last:
            mixed, stream, normed = self.chosen(mixed), self.chosen(stream), self.chosen(normed)
        done = self.fed(block, index, normed)
        if self._shape.architecture in STREAM_FIRST:
            return graph.change(graph.change(done, stream), mixed)
        return graph.change(graph.change(done, mixed), stream)

    def _second_half(self, block: Weights, index: int, after: GraphTensor, *, ahead: bool) -> GraphTensor:
        graph = self._graph
        if block.has("layer_output_norm.weight"):
            after = norm(graph, block, "attn_output_norm", after, rms=False)
            done = graph.change(self.fed(block, index, after), after)
            return norm(graph, block, "layer_output_norm", done, rms=False)
        if self._has_one_half(block, index):
            return after
        done = self.fed(block, index, self._pre_feed(block, after))
        if block.has("post_ffw_norm.weight"):
            done = norm(graph, block, "post_ffw_norm", done)
        return graph.change(after, done) if ahead else graph.change(done, after)

    def _has_one_half(self, block: Weights, index: int) -> bool:
        """Return whether a layer is attention, a recurrent layer or a feed-forward part alone."""
        fed_only = not block.has("attn_output.weight") and not self._shape.layers[index].state
        return fed_only or not (block.has("ffn_down.weight") or block.has("ffn_down_exps.weight"))

    def _pre_feed(self, block: Weights, after: GraphTensor) -> GraphTensor:
        name = next((name for name in PRE_FEED if block.has(f"{name}.weight")), "ffn_norm")
        if _both_post_norms(block) and name == "post_attention_norm":
            return after
        return norm(self._graph, block, name, after)

    def mix(self, block: Weights, index: int, normed: GraphTensor) -> GraphTensor:
        """Return what the first half of a layer adds: attention, a recurrent layer, or both."""
        kept, run = self._shape.layers[index], self._run
        if block.has("ssm_f_a.weight"):
            return kimi_delta(run, block, kimi_delta_of(self._model), normed)
        if kept.state and not kept.key:
            return recurrent(run, block, recurrence_of(self._model, block), normed)
        if block.has("attn_kv_a_mqa.weight"):
            dims = latent_of(self._model, index, window=kept.window)
            indexer = None if kept.window else self._indexer
            return latent_attention(run, block, dims, normed, indexer)
        if not block.has("attn_output.weight"):
            return self.fed(block, index, normed)
        if self._blocks and not self._blocks.leads(index):
            return self._blocks.attention(run, block, heads_of(self._model, self._shape, index), normed)
        own = kept.key > 0 or not self._shape.cached
        mixed = attention(run, block, heads_of(self._model, self._shape, index), normed, own=own)
        if not kept.state:
            return mixed
        again = norm(self._graph, block, "attn_norm", self._entered)
        return self._graph.change(mixed, recurrent(run, block, recurrence_of(self._model, block), again))

    def fed(self, block: Weights, index: int, source: GraphTensor) -> GraphTensor:
        """Return the feed-forward part of a layer: dense, or experts with what is shared among them."""
        graph = self._graph
        if self._shape.architecture in DENSE_ONLY and not block.has("ffn_up.weight"):
            return graph.change(source)
        if not block.has("ffn_gate_inp.weight"):
            return feed_forward(graph, block, source, limited=limited_at(self._model, index, "shexp"))
        experts = experts_of(self._model, index)
        early = self._shape.architecture in ROUTED_EARLY
        logits = graph.matmul(experts.total, self._entered) if early else None
        done = mixture(graph, block, experts, source, logits)
        if not block.has("ffn_up_shexp.weight"):
            return done
        limited = limited_at(self._model, index, "shexp")
        shared = feed_forward(graph, block, source, "_shexp", limited=limited)
        if block.has("ffn_gate_inp_shexp.weight"):
            shared = graph.change(shared, graph.change(linear(graph, block, "ffn_gate_inp_shexp", source, 1)))
        return graph.change(done, shared)


def _both_post_norms(block: Weights) -> bool:
    return block.has("post_attention_norm.weight") and block.has("post_ffw_norm.weight")


def experts_of(model: ModelMetadata, index: int) -> ExpertRouting:
    """Return how a layer routes.

    Raises:
        ModelFileError: It uses more experts than it has.
    """
    total, used = model.whole("expert_count"), model.per_layer("expert_used_count", index + 1, 0)[index]
    if used > min(total, EXPERTS_USED):
        most = min(total, EXPERTS_USED)
        raise ModelFileError(f"{model.architecture}.expert_used_count is {used}: expected at most {most}")
    return ExpertRouting(
        total,
        used,
        softmax_after=model.architecture == "gpt-oss",
        normalised=model.architecture != "gpt-oss",
        first=model.architecture == "llama4",
        soft=model.architecture == "kimi-k3",
        limited=limited_at(model, index, "exp"),
    )


def limited_at(model: ModelMetadata, index: int, which: str) -> bool:
    """Return whether a layer clamps its gated projections, those of experts (`exp`) or others (`shexp`)."""
    if model.architecture not in CLAMPED:
        return False
    listed = model.listed(f"swiglu_clamp_{which}")
    limit = listed[index] if listed and index < len(listed) else model.number(f"swiglu_clamp_{which}", 0)
    return isinstance(limit, int | float) and limit > 0


def heads_of(model: ModelMetadata, shape: Shape, index: int) -> Heads:
    """Return the heads of a layer."""
    window = shape.layers[index].window
    heads = model.per_layer("attention.head_count", index + 1, 0)[index]
    key = model.whole("attention.key_length", shape.n_embd // max(1, heads))
    value = model.whole("attention.value_length", shape.n_embd // max(1, heads))
    if window:
        key = model.whole("attention.key_length_swa", key)
        value = model.whole("attention.value_length_swa", value)
    by_window = shape.architecture in WINDOW_ROTATED
    always = not by_window or index < model.whole("leading_dense_block_count")
    if period := ROTATED_BUT_EVERY.get(shape.architecture):
        always = (index + 1) % period != 0
    rotated = shape.architecture not in UNROTATED and (window or always)
    shared = model.per_layer("attention.head_count_kv", index + 1, heads)[index]
    return Heads(heads, shared, key, value, window=window, rotated=rotated)
