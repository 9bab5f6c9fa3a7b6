"""Tensors of layers with a recurrent state (Mamba, RWKV and others).

After `src/models/mamba-base.cpp`, `delta-net-base.cpp`, `qwen35.cpp` and `lfm2.cpp` of llama.cpp b11434.
"""

from dataclasses import dataclass

from relayd.gguf.metadata import ModelMetadata
from relayd.memory.blocks import Pass, linear, norm
from relayd.memory.graph import Graph, GraphTensor
from relayd.memory.shapes import Weights


@dataclass(frozen=True, slots=True)
class Recurrence:
    """The dimensions of a recurrent layer.

    Attributes:
        kernel: Width of its convolution.
        inner: Width inside.
        state: Width of the state.
        groups: Groups of B and C, or heads of keys.
        heads: Heads, or the rank of the time step.
    """

    kernel: int
    inner: int
    state: int
    groups: int
    heads: int


def recurrence_of(model: ModelMetadata, weights: Weights) -> Recurrence:
    """Return the dimensions of a recurrent layer with these weights.

    Raises:
        ModelFileError: The header lacks one of them.
    """
    if weights.has("shortconv.in_proj.weight"):
        return Recurrence(model.positive("shortconv.l_cache"), 0, 0, 0, 0)
    return Recurrence(
        kernel=model.positive("ssm.conv_kernel"),
        inner=model.positive("ssm.inner_size"),
        state=model.positive("ssm.state_size"),
        groups=max(1, model.whole("ssm.group_count")),
        heads=model.positive("ssm.time_step_rank"),
    )


def recurrent(run: Pass, weights: Weights, dims: Recurrence, source: GraphTensor) -> GraphTensor:
    """Return what a recurrent layer adds, its kind read from its weights."""
    if weights.has("shortconv.in_proj.weight"):
        return short_convolution(run, weights, dims, source)
    if weights.has("ssm_x.weight"):
        return mamba1(run, weights, dims, source)
    if weights.has("attn_qkv.weight") or weights.has("ssm_beta.weight") or weights.has("ssm_ba.weight"):
        return delta_net(run, weights, dims, source)
    return mamba2(run, weights, dims, source)


def loaded(run: Pass, size: int) -> GraphTensor:
    """Return the state of every sequence (`build_rs`)."""
    graph, sequences = run.graph, run.extent.sequences
    states = graph.make((size, sequences), run.states)
    state = graph.expand(graph.view(states, size, sequences))
    graph.expand(graph.store(graph.outside(1), graph.view(states, 1, 1)))
    return state


def scanned(run: Pass, size: int, scan: GraphTensor) -> None:
    """Record `scan`, which reads states where they are, and the copy of those it does not (`build_rs`)."""
    graph = run.graph
    graph.expand(scan)
    rest = graph.make((size, run.extent.sequences - 1), run.states)
    graph.expand(graph.store(graph.outside(1), graph.view(rest, 1, 1)))


def convolved(run: Pass, dims: Recurrence, source: GraphTensor, channels: int) -> GraphTensor:
    """Return the input of a convolution, the last tokens of the pass before in front of it."""
    graph, sequences = run.graph, run.extent.sequences
    tokens = run.extent.tokens // sequences
    before = loaded(run, (dims.kernel - 1) * channels)
    held = graph.view(before, dims.kernel - 1, channels, sequences)
    turned = graph.view(source, tokens, channels, sequences, dense=False)
    joined = graph.make((dims.kernel - 1 + tokens, channels, sequences), held, turned)
    graph.expand(graph.store(graph.outside(1), graph.view(joined, dims.kernel - 1, channels, dense=False)))
    return joined


def short_convolution(run: Pass, weights: Weights, dims: Recurrence, source: GraphTensor) -> GraphTensor:
    """Return the layer of LFM2."""
    graph, sequences = run.graph, run.extent.sequences
    width, tokens = source.shape[0], run.extent.tokens // sequences
    parts = graph.matmul(3 * width, graph.view(source, width, tokens, sequences))
    b, c, x = (graph.view(parts, width, tokens, sequences, dense=False) for _ in range(3))
    mixed = GraphTensor((width, tokens, sequences), (b, x), in_place=True)
    joined = convolved(run, dims, mixed, width)
    filtered = graph.make((width, tokens, sequences), joined)
    gated = GraphTensor((width, tokens, sequences), (c, filtered), in_place=True)
    done = graph.matmul(weights.size("shortconv.out_proj")[1], gated)
    return graph.view(done, done.shape[0], run.extent.tokens)


def mamba2(run: Pass, weights: Weights, dims: Recurrence, source: GraphTensor) -> GraphTensor:
    """Return the layer of Mamba-2."""
    graph, sequences = run.graph, run.extent.sequences
    tokens, head = run.extent.tokens // sequences, dims.inner // dims.heads
    channels = dims.inner + 2 * dims.groups * dims.state
    projected = linear(graph, weights, "ssm_in", source)
    z = graph.view(projected, head, dims.heads, tokens, sequences, dense=False)
    step = graph.view(projected, dims.heads, tokens, sequences, dense=False)
    joined = convolved(run, dims, projected, channels)
    mixed = activated(graph, graph.make((channels, tokens, sequences), joined))
    x = graph.view(mixed, head, dims.heads, tokens, sequences, dense=False)
    step = graph.change(graph.make((dims.heads, tokens, sequences), step))
    size = dims.state * dims.inner
    scan = graph.make(
        (dims.inner * tokens * sequences + size * sequences,),
        x,
        step,
        graph.view(mixed, *mixed.shape[:3], dense=False),
    )
    scanned(run, size, scan)
    graph.expand(graph.store(graph.outside(1), graph.view(scan, size, sequences, dense=False)))
    return finished(run, weights, dims, scan, x, z)


def finished(
    run: Pass, weights: Weights, dims: Recurrence, scan: GraphTensor, x: GraphTensor, z: GraphTensor
) -> GraphTensor:
    """Return the second half of a Mamba-2 layer: skip, gate, normalise, project."""
    graph, shape = run.graph, x.shape
    y = graph.view(scan, *shape, dense=False)
    skip = GraphTensor(shape, (x,), in_place=True)
    y = GraphTensor(shape, (y, skip), in_place=True)
    y = graph.make(shape, graph.make(shape, z), y)
    if weights.has("ssm_norm.weight"):
        grouped = graph.view(y, dims.inner // dims.groups, dims.groups, *shape[2:])
        y = norm(graph, weights, "ssm_norm", grouped)
    return linear(graph, weights, "ssm_out", graph.view(y, dims.inner, run.extent.tokens))


def mamba1(run: Pass, weights: Weights, dims: Recurrence, source: GraphTensor) -> GraphTensor:
    """Return the layer of Mamba."""
    graph, sequences = run.graph, run.extent.sequences
    tokens, inner = run.extent.tokens // sequences, dims.inner
    projected = linear(graph, weights, "ssm_in", graph.view(source, source.shape[0], tokens, sequences))
    z = graph.view(projected, inner, tokens, sequences, dense=False)
    joined = convolved(run, dims, projected, inner)
    x = activated(graph, graph.make((inner, tokens, sequences), joined))
    rank = graph.matmul(weights.size("ssm_x")[1], x)
    step, b, c = (
        graph.view(rank, width, tokens, sequences, dense=False)
        for width in (dims.heads, dims.state, dims.state)
    )
    if weights.has("ssm_dt_norm.weight"):
        step, b, c = (
            norm(graph, weights, f"ssm_{name}_norm", part)
            for name, part in (("dt", step), ("b", b), ("c", c))
        )
    else:
        step = graph.make(step.shape, step)
    step = linear(graph, weights, "ssm_dt", step, inner)
    size = dims.state * inner
    single = graph.view(x, 1, inner, tokens, sequences)
    scan = graph.make((inner * tokens * sequences + size * sequences,), single, step, b, c)
    scanned(run, size, scan)
    graph.expand(graph.store(graph.outside(1), graph.view(scan, size * sequences, dense=False)))
    y = graph.view(scan, inner, tokens, sequences, dense=False)
    skip = graph.change(x)
    y = GraphTensor((inner, tokens, sequences), (y, skip), in_place=True)
    y = graph.make(y.shape, graph.make(y.shape, z), y)
    done = linear(graph, weights, "ssm_out", y)
    return graph.view(done, done.shape[0], run.extent.tokens)


def delta_net(run: Pass, weights: Weights, dims: Recurrence, source: GraphTensor) -> GraphTensor:
    """Return the layer of a gated delta net (Qwen3-Next, Qwen3.5)."""
    graph, sequences = run.graph, run.extent.sequences
    tokens, head = run.extent.tokens // sequences, dims.inner // dims.heads
    channels = dims.inner + 2 * dims.groups * dims.state
    mixed = graph.matmul(channels, source)
    z = graph.matmul(dims.inner, source)
    legacy = weights.has("ssm_ba.weight")
    beta, gate = legacy_gates(run, dims, source) if legacy else gates(run, dims, source)
    joined = convolved(run, dims, graph.view(mixed, channels, tokens, sequences), channels)
    size = dims.state * dims.inner
    state = loaded(run, size)
    filtered = graph.change(graph.make((channels, tokens, sequences), joined))

    def unit() -> GraphTensor:
        part = graph.view(filtered, dims.state, dims.groups, tokens, sequences, dense=False)
        scaled = graph.change(graph.change(part))
        if not legacy or dims.groups == dims.heads:
            return scaled
        flat = graph.view(scaled, dims.state, 1, dims.groups, tokens * sequences)
        return graph.make((dims.state, dims.heads // dims.groups, dims.groups, tokens * sequences), flat)

    query, key = unit(), unit()
    value = graph.view(filtered, head, dims.heads, tokens, sequences, dense=False)
    elements = dims.inner * tokens * sequences
    result = graph.make((elements + size * sequences,), query, key, value, gate, beta, state)
    graph.expand(graph.store(graph.outside(1), graph.view(result, size, sequences, dense=False)))
    output = graph.view(result, head, dims.heads, tokens, sequences, dense=False)
    normed = norm(graph, weights, "ssm_norm", output)
    opened = graph.change(graph.view(z, head, dims.heads, tokens, sequences))
    done = graph.change(normed, opened)
    return linear(graph, weights, "ssm_out", graph.view(done, dims.inner, run.extent.tokens))


def gates(run: Pass, dims: Recurrence, source: GraphTensor) -> tuple[GraphTensor, GraphTensor]:
    """Return beta and gate of Qwen3.5."""
    graph = run.graph
    beta = graph.matmul(dims.heads, source)
    alpha = graph.matmul(dims.heads, source)
    opened = graph.change(graph.view(beta, 1, *beta.shape[:2]))
    biased = graph.change(graph.view(alpha, *alpha.shape[:2], 1))
    return opened, graph.view(graph.change(graph.change(biased)), 1, *alpha.shape[:2])


def legacy_gates(run: Pass, dims: Recurrence, source: GraphTensor) -> tuple[GraphTensor, GraphTensor]:
    """Return beta and gate of Qwen3-Next, which come from one matrix."""
    graph, tokens = run.graph, source.shape[1]
    both = graph.matmul(2 * dims.heads, source)
    beta = graph.make((dims.heads, tokens), graph.view(both, dims.heads, tokens, dense=False))
    alpha = graph.make((dims.heads, tokens), graph.view(both, dims.heads, tokens, dense=False))
    return graph.change(beta), graph.change(graph.change(graph.change(alpha)))


def activated(graph: Graph, source: GraphTensor) -> GraphTensor:
    """Return `source` shifted and through its activation."""
    return graph.change(graph.change(source))
