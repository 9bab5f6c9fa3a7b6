"""Tensors of Kimi delta attention: a recurrent layer with a decay for each channel.

After `src/models/kimi-linear.cpp`, `bailingmoe3.cpp`, `kimi-k3.cpp` and `glm5-next.cpp` of llama.cpp b11434.
"""

from dataclasses import dataclass

from relayd.gguf.metadata import ModelMetadata
from relayd.memory.blocks import Pass, norm
from relayd.memory.graph import Graph, GraphTensor
from relayd.memory.recurrent import loaded
from relayd.memory.shapes import Weights

KERNEL = 4
"""Width of the convolutions where the header gives none (llama-hparams.cpp `n_embd_r`)."""


@dataclass(frozen=True, slots=True)
class KimiDelta:
    """The dimensions of a layer of delta attention.

    Attributes:
        heads: Heads.
        head: Elements of a head.
        kernel: Width of the convolutions over queries, keys and values.
    """

    heads: int
    head: int
    kernel: int

    @property
    def inner(self) -> int:
        """Width inside."""
        return self.heads * self.head


def kimi_delta_of(model: ModelMetadata) -> KimiDelta:
    """Return the dimensions of a model's layers of delta attention.

    Raises:
        ModelFileError: The header lacks one of them.
    """
    heads = model.per_layer("attention.head_count", 1)[0]
    return KimiDelta(heads, model.positive("kda.head_dim"), model.whole("ssm.conv_kernel") or KERNEL)


def kimi_delta(run: Pass, weights: Weights, dims: KimiDelta, source: GraphTensor) -> GraphTensor:
    """Return what a layer of delta attention adds."""
    graph, sequences, whole = run.graph, run.extent.sequences, run.extent.tokens
    before = loaded(run, 3 * (dims.kernel - 1) * dims.inner)
    filtered = [_convolved(run, dims, before, source) for _ in range(3)]
    decay = _decay(graph, weights, dims, source)
    beta = graph.view(graph.matmul(dims.heads, source), 1, dims.heads, whole)
    opened = graph.change(beta)
    size = dims.head * dims.inner
    state = loaded(run, size)
    query, key, value = (_activated(graph, dims, one) for one in filtered)
    query, key = (graph.change(graph.change(one)) for one in (query, key))
    result = graph.make((dims.inner * whole + size * sequences,), query, key, value, decay, opened, state)
    graph.expand(graph.store(graph.outside(1), graph.view(result, size, sequences, dense=False)))
    output = graph.make((dims.head, dims.heads, whole), graph.view(result, dims.inner, whole, dense=False))
    normed = norm(graph, weights, "ssm_norm", output)
    gated = graph.change(normed, graph.change(graph.view(_gate(graph, weights, dims, source), *normed.shape)))
    flat = graph.make((dims.inner, whole), gated)
    return graph.matmul(weights.size("attn_output")[1], flat)


def _convolved(run: Pass, dims: KimiDelta, before: GraphTensor, source: GraphTensor) -> GraphTensor:
    """Return one projection behind its convolution; the last tokens of it are kept."""
    graph, sequences = run.graph, run.extent.sequences
    tokens = run.extent.tokens // sequences
    held = graph.view(before, dims.kernel - 1, dims.inner, sequences, dense=False)
    turned = graph.view(graph.matmul(dims.inner, source), tokens, dims.inner, sequences, dense=False)
    joined = graph.make((dims.kernel - 1 + tokens, dims.inner, sequences), held, turned)
    graph.expand(graph.store(graph.outside(1), graph.view(joined, dims.kernel - 1, dims.inner, dense=False)))
    return graph.make((dims.inner, tokens, sequences), joined)


def _activated(graph: Graph, dims: KimiDelta, source: GraphTensor) -> GraphTensor:
    tokens = source.shape[1] * source.shape[2]
    return graph.view(graph.change(graph.view(source, dims.inner, tokens)), dims.head, dims.heads, tokens)


def _decay(graph: Graph, weights: Weights, dims: KimiDelta, source: GraphTensor) -> GraphTensor:
    """Return the decay of every channel: through a low rank, or in one step."""
    low = graph.matmul(dims.head, source) if weights.has("ssm_f_b.weight") else source
    raw = graph.change(graph.matmul(dims.inner, low))
    return graph.change(graph.view(graph.change(raw), dims.head, dims.heads, source.shape[1]))


def _gate(graph: Graph, weights: Weights, dims: KimiDelta, source: GraphTensor) -> GraphTensor:
    low = graph.matmul(dims.head, source) if weights.has("ssm_g_b.weight") else source
    return graph.matmul(dims.inner, low)
