"""Tensors of one transformer layer: projections, attention, feed-forward, experts.

Each function follows the function of the same purpose in llama.cpp's `src/llama-graph.cpp` (b11434), so that
tensors come in its order; weights have their own memory and are left out. What a layer does is read from
the weights it has.
"""

from dataclasses import dataclass

from relayd.errors import ModelFileError
from relayd.memory.graph import Graph, GraphTensor
from relayd.memory.setup import Extent
from relayd.memory.shapes import Weights

I64 = 8


@dataclass(slots=True)
class Pass:
    """One pass through a model while it is being recorded.

    Attributes:
        graph: What has been recorded.
        extent: Tokens and cells.
        flash: Whether attention needs no score matrix.
        masks: The masks of full and of sliding attention, inputs of the pass.
        cached: Whether keys and values are kept from pass to pass.
        sliding: Whether some layers have a window.
        positions: Input of the pass.
        rows_k: Where keys are stored, for full and for sliding attention.
        rows_v: Where values are stored.
        states: Which state belongs to which sequence, an input.
        key_item: Bytes an element of the keys takes, where they are copied as they are stored.
        turn_k: What turns keys that are stored quantized, if they are, by kind of attention.
        turn_v: What turns such values.
    """

    graph: Graph
    extent: Extent
    flash: bool
    cached: bool
    sliding: bool
    positions: GraphTensor
    masks: tuple[GraphTensor, GraphTensor]
    rows_k: tuple[GraphTensor, GraphTensor]
    rows_v: tuple[GraphTensor, GraphTensor]
    states: GraphTensor
    key_item: int
    turn_k: tuple[GraphTensor | None, GraphTensor | None]
    turn_v: tuple[GraphTensor | None, GraphTensor | None]


@dataclass(frozen=True, slots=True)
class Heads:
    """The heads of one layer's attention.

    Attributes:
        query: How many query heads.
        shared: How many key and value heads.
        key: Elements of a key head.
        value: Elements of a value head.
        window: Whether it slides.
        rotated: Whether positions are put in by rotation.
    """

    query: int
    shared: int
    key: int
    value: int
    window: bool = False
    rotated: bool = True


def norm(graph: Graph, weights: Weights, name: str, source: GraphTensor, *, rms: bool = True) -> GraphTensor:
    """Return `source` normalised (`build_norm`)."""
    done = graph.change(source) if rms else graph.make(source.shape, source)
    if weights.has(f"{name}.weight"):
        done = graph.change(done)
    if weights.has(f"{name}.bias"):
        done = graph.change(done)
    return done


def linear(graph: Graph, weights: Weights, name: str, source: GraphTensor, rows: int = 0) -> GraphTensor:
    """Return `source` times a weight, scaled and shifted where the model has a scale and a bias."""
    done = graph.matmul(rows or weights.size(name)[1], source)
    if weights.has(f"{name}.scale"):
        done = graph.change(done)
    if weights.has(f"{name}.bias"):
        done = graph.change(done)
    return done


def queries(
    run: Pass, weights: Weights, heads: Heads, source: GraphTensor
) -> tuple[GraphTensor, GraphTensor, GraphTensor]:
    """Return queries, keys and values of `source` (`build_qkv`)."""
    graph, tokens = run.graph, source.shape[1]
    sizes = ((heads.query, heads.key), (heads.shared, heads.key), (heads.shared, heads.value))
    if weights.has("attn_qkv.weight"):
        fused = linear(graph, weights, "attn_qkv", source)
        parts = [graph.view(fused, size, count, tokens, dense=False) for count, size in sizes]
    else:
        parts = []
        for name, (count, size) in zip(("attn_q", "attn_k", "attn_v"), sizes, strict=True):
            there = name == "attn_q" or weights.has(f"{name}.weight")
            # Gemma 4 has layers whose values are their keys, others read the cache of an earlier layer.
            part = linear(graph, weights, name, source) if there else graph.matmul(0, source)
            parts.append(graph.view(part, size, count, tokens, dense=part.shape[0] == size * count))
    return parts[0], parts[1], parts[2]


def turned(graph: Graph, source: GraphTensor, matrix: GraphTensor | None) -> GraphTensor:
    """Return `source` times a Hadamard matrix (`llama_mul_mat_hadamard`)."""
    if matrix is None:
        return source
    size = matrix.shape[0]
    rows = source.shape[0] * source.shape[1] * source.shape[2] // size
    flat = (
        graph.view(source, size, rows)
        if source.dense
        else graph.view(graph.make(source.shape, source), size, rows)
    )
    product = graph.make((size, rows), matrix, flat)
    return graph.view(product, *source.shape)


def attend(
    run: Pass,
    weights: Weights,
    heads: Heads,
    query: GraphTensor,
    key: GraphTensor | None,
    value: GraphTensor | None,
    gate: GraphTensor | None = None,
) -> GraphTensor:
    """Return the attention of `query` over the cache, after storing `key` and `value` (`build_attn`)."""
    graph, which = run.graph, int(heads.window)
    query = turned(graph, query, run.turn_k[which])
    graph.expand(query)
    if key is not None and value is not None:
        key, value = turned(graph, key, run.turn_k[which]), turned(graph, value, run.turn_v[which])
        for tensor in (key, value) if run.sliding else (value, key):
            graph.expand(tensor)
        if not run.cached:
            return linear(graph, weights, "attn_output", graph.expand(direct(run, heads, query, key, value)))
        store(run, key, run.rows_k[which], transposed=False)
        store(run, value, run.rows_v[which], transposed=not run.flash)
    mixed = scores(run, heads, query)
    graph.expand(mixed)
    mixed = turned(graph, mixed, run.turn_v[which])
    if gate is not None:
        mixed = gated(graph, weights, mixed, gate)
    return linear(graph, weights, "attn_output", mixed)


def gated(graph: Graph, weights: Weights, mixed: GraphTensor, source: GraphTensor) -> GraphTensor:
    """Return attention's result times a gate: from its input, or from the second half of its queries."""
    if not weights.has("attn_gate.weight"):
        half = graph.view(source.sources[0], *mixed.shape[:2], dense=False)
        return graph.change(mixed, graph.change(graph.make(mixed.shape, half)))
    gate = graph.change(graph.matmul(weights.size("attn_gate")[1], source))
    if gate.shape[0] != mixed.shape[0]:
        mixed = graph.view(mixed, mixed.shape[0] // gate.shape[0], gate.shape[0], mixed.shape[1])
        return graph.view(graph.change(mixed, gate), mixed.shape[0] * gate.shape[0], mixed.shape[2])
    return graph.change(mixed, gate)


def direct(run: Pass, heads: Heads, query: GraphTensor, key: GraphTensor, value: GraphTensor) -> GraphTensor:
    """Return attention within one pass, without a cache (`build_attn_inp_no_cache`)."""
    graph, tokens = run.graph, query.shape[2]
    across = graph.view(query, heads.key, tokens, heads.query, dense=False)
    mask = run.masks[int(heads.window)]
    if run.flash:
        halves = [graph.make((*part.shape[:1], tokens, heads.shared), part, item=2) for part in (key, value)]
        mixed = graph.make((heads.value, heads.query, tokens), across, *halves, mask)
        return graph.view(mixed, heads.value * heads.query, tokens)
    score = graph.make((tokens, tokens, heads.query), graph.view(key, *key.shape[:3], dense=False), across)
    weighted = graph.change(score, mask)
    values = graph.make((tokens, heads.value, heads.shared), graph.view(value, *value.shape[:3], dense=False))
    mixed = graph.make((heads.value, tokens, heads.query), values, weighted)
    return graph.make(
        (heads.value * heads.query, tokens), graph.view(mixed, heads.value, heads.query, tokens, dense=False)
    )


def store(run: Pass, source: GraphTensor, rows: GraphTensor, *, transposed: bool) -> None:
    """Write keys or values into the cache (`cpy_k`, `cpy_v`)."""
    graph = run.graph
    width, tokens = source.shape[0] * source.shape[1], source.shape[2]
    if transposed and not source.dense:
        source = graph.make((width, tokens), source)
    flat = graph.view(source, width, tokens)
    graph.expand(graph.store(graph.outside(1), flat, rows))


def scores(run: Pass, heads: Heads, query: GraphTensor) -> GraphTensor:
    """Return the values weighted by attention (`build_attn_mha`)."""
    graph, extent = run.graph, run.extent
    tokens, streams = query.shape[2], extent.streams
    cells = extent.window_cells if heads.window else extent.cells
    mask = run.masks[int(heads.window)]
    split = graph.view(query, heads.key, heads.query, tokens // streams, streams, dense=False)
    turned_round = graph.view(split, heads.key, tokens // streams, heads.query, streams, dense=False)
    if run.flash:
        mixed = graph.make((heads.value, heads.query, tokens // streams, streams), turned_round, mask)
        return graph.view(mixed, heads.value * heads.query, tokens)
    score = graph.make((cells, tokens // streams, heads.query, streams), turned_round)
    weighted = graph.change(score, mask)
    mixed = graph.make((heads.value, tokens // streams, heads.query, streams), weighted)
    across = graph.view(mixed, heads.value, heads.query, tokens // streams, streams, dense=False)
    return graph.make((heads.value * heads.query, tokens), across)


def attention(
    run: Pass, weights: Weights, heads: Heads, source: GraphTensor, *, own: bool = True
) -> GraphTensor:
    """Return self-attention over `source`, in the usual order: project, normalise, rotate, attend."""
    query, key, value = queries(run, weights, heads, source)
    gate = source if weights.has("attn_gate.weight") else None
    if weights.rows("attn_q") == 2 * heads.query * heads.key:
        gate = query
    query, key = (
        prepared(run, weights, "attn_q_norm", query, heads),
        prepared(run, weights, "attn_k_norm", key, heads),
    )
    if not own:
        return attend(run, weights, heads, query, None, None, gate)
    return attend(run, weights, heads, query, key, value, gate)


def prepared(run: Pass, weights: Weights, name: str, source: GraphTensor, heads: Heads) -> GraphTensor:
    """Return heads normalised where the model does that, and rotated by their positions."""
    if weights.has(f"{name}.weight"):
        source = norm(run.graph, weights, name, source)
    return run.graph.change(source, run.positions) if heads.rotated else source


def feed_forward(
    graph: Graph, weights: Weights, source: GraphTensor, suffix: str = "", *, limited: bool = False
) -> GraphTensor:
    """Return the feed-forward part (`build_ffn`), gated in parallel where there is a gate.

    Gate and up projection are clamped where `limited`; names of its weights end with `suffix`.
    """
    up = linear(graph, weights, f"ffn_up{suffix}", source)
    if weights.has(f"ffn_gate{suffix}.weight"):
        gate = linear(graph, weights, f"ffn_gate{suffix}", source)
        inner = clamped(graph, gate, up) if limited else graph.make(up.shape, gate, up)
    elif weights.size(f"ffn_down{suffix}")[0] * 2 == up.shape[0]:
        inner = graph.make((up.shape[0] // 2, *up.shape[1:]), up)
    else:
        inner = graph.change(up)
    return linear(graph, weights, f"ffn_down{suffix}", inner)


def clamped(graph: Graph, gate: GraphTensor, up: GraphTensor) -> GraphTensor:
    """Return `up` times the activation of `gate`, both clamped (`ffn_swiglu_limited`)."""
    return graph.change(graph.change(graph.change(gate)), graph.change(up))


def soft_gated(graph: Graph, gate: GraphTensor, up: GraphTensor) -> GraphTensor:
    """Return `up` times `gate`, both through a limited activation (`LLM_FFN_SITU`)."""
    limited = graph.change(graph.change(graph.change(gate)))
    opened = graph.change(limited, graph.change(gate))
    return graph.change(opened, graph.change(graph.change(graph.change(up))))


@dataclass(frozen=True, slots=True)
class ExpertRouting:
    """How a layer routes tokens to experts.

    Attributes:
        total: Experts of the layer.
        used: Experts a token passes.
        normalised: Whether the weights of the chosen are made to add up to one.
        softmax_after: Whether the weights are a softmax over the chosen only.
        first: Whether the weights apply before the experts (Llama 4).
        soft: Whether gate and up projection are limited (Kimi K3).
        limited: Whether they are clamped (Ling 3).
    """

    total: int
    used: int
    normalised: bool = True
    softmax_after: bool = False
    first: bool = False
    soft: bool = False
    limited: bool = False


def routed(
    graph: Graph,
    weights: Weights,
    experts: ExpertRouting,
    source: GraphTensor,
    logits: GraphTensor | None = None,
) -> tuple[GraphTensor, GraphTensor]:
    """Return which experts each token takes, and their weights (first half of `build_moe_ffn`)."""
    tokens = source.shape[1]
    if logits is None:
        logits = linear(graph, weights, "ffn_gate_inp", source, experts.total)
    probabilities = logits if experts.softmax_after else graph.change(logits)
    choice = probabilities
    if weights.has("exp_probs_b.bias"):
        choice = graph.change(probabilities)
    if experts.first:
        choice = logits
    order = graph.make((experts.total, tokens), choice)
    chosen = graph.view(order, experts.used, tokens, dense=False)
    gains = graph.make((1, experts.used, tokens), graph.view(probabilities, 1, experts.total, tokens), chosen)
    if experts.softmax_after:
        flat = graph.change(graph.view(gains, experts.used, tokens))
        gains = graph.view(flat, 1, experts.used, tokens)
    if experts.normalised:
        flat = graph.view(gains, experts.used, tokens)
        total = graph.change(graph.make((1, tokens), flat))
        gains = graph.view(graph.change(flat, total), 1, experts.used, tokens)
    graph.expand(gains)
    return chosen, gains


def mixture(
    graph: Graph,
    weights: Weights,
    experts: ExpertRouting,
    source: GraphTensor,
    logits: GraphTensor | None = None,
) -> GraphTensor:
    """Return the sum of the chosen experts (`build_moe_ffn`), by the router's weights or by `logits`."""
    width, tokens = source.shape[:2]
    chosen, gains = routed(graph, weights, experts, source, logits)
    single = graph.view(source, width, 1, tokens)
    if experts.first:
        repeated = graph.make((width, experts.used, tokens), single)
        single = graph.change(repeated, gains)
    if weights.has("ffn_gate_up_exps.weight"):
        both = expert(graph, weights, "ffn_gate_up_exps", single, chosen, experts)
        half = both.shape[0] // 2
        gate = graph.view(both, half, *both.shape[1:], dense=False)
        up = graph.view(both, half, *both.shape[1:], dense=False)
        inner = graph.make(gate.shape, gate, up)
    else:
        up = expert(graph, weights, "ffn_up_exps", single, chosen, experts)
        if weights.has("ffn_gate_exps.weight"):
            gate = expert(graph, weights, "ffn_gate_exps", single, chosen, experts)
            inner = inside(graph, experts, gate, up)
        else:
            inner = graph.change(up)
    outputs = expert(graph, weights, "ffn_down_exps", inner, chosen, experts)
    if not experts.first:
        outputs = graph.change(outputs, gains)
    graph.expand(outputs)
    return summed(graph, outputs, experts.used)


def inside(graph: Graph, experts: ExpertRouting, gate: GraphTensor, up: GraphTensor) -> GraphTensor:
    """Return what experts make of their gate and up projections."""
    if experts.soft:
        return soft_gated(graph, gate, up)
    return clamped(graph, gate, up) if experts.limited else graph.make(up.shape, gate, up)


def expert(
    graph: Graph,
    weights: Weights,
    name: str,
    source: GraphTensor,
    chosen: GraphTensor,
    experts: ExpertRouting,
) -> GraphTensor:
    """Return `source` times the chosen experts' matrices (`build_lora_mm_id`)."""
    tokens = source.shape[2]
    done = graph.make((weights.size(name)[1], experts.used, tokens), source, chosen)
    if weights.has(f"{name}.scale"):
        scale = graph.make((1, experts.total, tokens), graph.outside(1))
        done = graph.change(done, graph.make((1, experts.used, tokens), scale, chosen))
    if weights.has(f"{name}.bias"):
        done = graph.change(done, chosen)
    return done


def summed(graph: Graph, outputs: GraphTensor, used: int) -> GraphTensor:
    """Return the outputs of all experts added up, views before sums.

    Raises:
        ModelFileError: No expert is used.
    """
    width, _, tokens = outputs.shape[:3]
    if not used:
        raise ModelFileError("its tensors have experts, and its header has no expert_used_count")
    views = [graph.expand(graph.view(outputs, width, tokens, dense=False)) for _ in range(used)]
    total = views[0]
    for view in views[1:]:
        total = graph.expand(GraphTensor((width, tokens), (total, view), in_place=True))
    return graph.make((width, tokens), total) if used == 1 else total
