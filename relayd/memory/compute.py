"""Size of the compute buffer."""

from collections.abc import Callable, Iterable, Mapping

from relayd.gguf.metadata import ModelMetadata
from relayd.memory.architectures import (
    HEADLESS,
    LATE,
    LATENT_INDEXED,
    REPLAYED,
    ROTATED_BUT_EVERY,
    WITHOUT_FLASH,
)
from relayd.memory.blocks import Pass, norm
from relayd.memory.gemma import GemmaLayer, gemma3n_stream, gemma4_stream
from relayd.memory.graph import Graph, GraphTensor, allocate
from relayd.memory.hyper import hyper_stream
from relayd.memory.kimi import kept_layers, kimi3_stream
from relayd.memory.setup import CACHE_TYPES, PADDING, Extent, Setup
from relayd.memory.shape import Layer, Shape
from relayd.memory.shapes import Weights
from relayd.memory.singular import minicpm3_stream, talkie_stream
from relayd.memory.transformer import Transformer, experts_of, heads_of
from relayd.units import Bytes

I64 = 8
"""Bytes of a cache position, an input of every pass."""

STREAMS: Mapping[str, Callable[..., GraphTensor]] = {
    "hy_v4": hyper_stream,
    "kimi-k3": kimi3_stream,
    "minicpm3": minicpm3_stream,
    "talkie": talkie_stream,
}
"""Architectures whose layers do not simply follow one another."""


def unknown_compute(shape: Shape) -> str:
    """Return why the compute buffer of an architecture cannot be derived; empty if it can."""
    if shape.architecture in REPLAYED:
        return ""
    return f"the graph of {shape.architecture} is not replayed here: its compute buffer is a rough formula"


def compute_bytes(model: ModelMetadata, shape: Shape, setup: Setup, extent: Extent) -> Bytes:
    """Return the size of the buffer for the largest pass of `setup`."""
    if shape.architecture in REPLAYED:
        return allocate(record(model, shape, setup, extent))
    return rough_bytes(model, shape, setup, extent)


def rough_bytes(model: ModelMetadata, shape: Shape, setup: Setup, extent: Extent) -> Bytes:
    """Return what a llama-like graph of these dimensions takes; several times off for sparse attention.

    Five streams, three times the feed-forward width of what a token passes, and the mask; without flash
    attention the scores of one layer.
    """
    used = max(model.per_layer("expert_used_count", shape.n_blocks, 0), default=0)
    inner = max(model.per_layer("feed_forward_length", shape.n_blocks, 0), default=0)
    if used:
        inner = max(used * model.whole("expert_feed_forward_length"), inner)
    heads = max(model.per_layer("attention.head_count", shape.n_blocks, 0), default=0)
    streams = 4 * extent.tokens * (5 * shape.n_embd + 3 * inner)
    scores = 0 if setup.flash_attention else 4 * heads * extent.tokens * extent.cells
    return Bytes(streams + scores + (2 if setup.flash_attention else 4) * extent.tokens * extent.cells)


def margin_bytes(model: ModelMetadata, shape: Shape, setup: Setup, extent: Extent) -> Bytes:
    """Return what is added to figures that are only roughly right, on each device that computes; 0 if exact.

    As much again as the buffer; where a header has an indexer or compressed caches, eight matrices of scores
    of all slots: Qwen4-exp takes six, GLM-5-next five (measured with tiny models of both).
    """
    if not (shape.unknown or unknown_compute(shape)):
        return Bytes(0)
    sparse = any("indexer" in key or "compress" in key for key in model.values)
    scores = 4 * extent.tokens * extent.cells * extent.streams
    return Bytes(rough_bytes(model, shape, setup, extent) + (8 * scores if sparse else 0))


def grown_bytes(model: ModelMetadata, shape: Shape, setup: Setup, extent: Extent) -> Bytes:
    """Return by how much the buffer exceeds the engine's first answer, which its breakdown shows.

    MiniMax M3 reserves for few positions and makes the buffer larger as prompts get longer.
    """
    if shape.architecture != "minimax-m3":
        return Bytes(0)
    later = record(model, shape, setup, extent, positions=extent.cells)
    return Bytes(max(0, allocate(later) - compute_bytes(model, shape, setup, extent)))


def record(
    model: ModelMetadata,
    shape: Shape,
    setup: Setup,
    extent: Extent,
    layers: Iterable[int] | None = None,
    positions: int = PADDING,
) -> Graph:
    """Return the graph of one pass.

    Args:
        model: The model's header.
        shape: Its shape.
        setup: How it runs.
        extent: Tokens and cells of the pass.
        layers: The layers to record; by default as many as decide the size.
        positions: Positions that a cache of blocks holds by then.
    """
    run = inputs(shape, setup, extent)
    graph = run.graph
    weights = Weights({tensor.name: tensor.shape for tensor in model.tensors})
    outputs = graph.input(extent.outputs)
    chosen = representative(shape, weights) if layers is None else list(layers)
    if shape.architecture == "kimi-k3":
        chosen = sorted({*chosen, *kept_layers(model, shape)})
    if shape.architecture in LATENT_INDEXED:  # each layer has an input of its own
        chosen = list(range(shape.n_layers)) if layers is None else chosen
    stream = embedded(graph, shape, extent)
    if shape.architecture in {"gemma3n", "gemma4"}:
        stream = gemma_stream(run, model, shape, weights, chosen, stream)
    else:
        transformer = Transformer(run, model, shape, weights, outputs, positions)
        build = STREAMS.get(shape.architecture, plain_stream)
        stream = build(run, model, shape, weights, transformer, chosen, stream)
    late = shape.architecture in {"gemma4", *LATE}
    stream = norm(graph, weights, "output_norm", stream) if late else stream
    if stream.shape[1] != extent.outputs:
        stream = graph.make((stream.shape[0], extent.outputs), stream, outputs)
    stream = stream if late else norm(graph, weights, "output_norm", stream)
    headless = shape.architecture in HEADLESS
    graph.expand(stream if headless else graph.matmul(max(1, shape.n_vocab), stream))
    return graph


def plain_stream(
    _run: Pass,
    _model: ModelMetadata,
    shape: Shape,
    _weights: Weights,
    transformer: Transformer,
    chosen: Iterable[int],
    stream: GraphTensor,
) -> GraphTensor:
    """Return the stream of a model whose layers follow one another."""
    for index in chosen:
        last = index == shape.n_layers - 1 and shape.architecture not in LATE
        stream = transformer.layer(index, stream, last=last)
    return stream


def gemma_stream(
    run: Pass,
    model: ModelMetadata,
    shape: Shape,
    weights: Weights,
    chosen: Iterable[int],
    stream: GraphTensor,
) -> GraphTensor:
    """Return the stream of Gemma 3n or 4 after its last layer."""
    layers = [
        GemmaLayer(
            index,
            heads_of(model, shape, index),
            experts_of(model, index),
            own=shape.layers[index].key > 0,
        )
        for index in chosen
    ]
    if shape.architecture == "gemma3n":
        return gemma3n_stream(run, weights, layers, stream, shape.n_layers)
    width = model.whole("embedding_length_per_layer_input")
    return gemma4_stream(run, weights, layers, stream, (width, shape.n_layers))


def representative(shape: Shape, weights: Weights) -> list[int]:
    """Return the layers whose tensors decide the size: every pair of neighbours twice, and the last."""
    seen: dict[tuple[object, object], int] = {}
    chosen, before = [], None
    for index in range(shape.n_layers):
        turn = (index + 1) % ROTATED_BUT_EVERY.get(shape.architecture, 1) == 0
        kind = _kind(shape.layers[index], weights.block(index)), turn
        seen[before, kind] = seen.get((before, kind), 0) + 1
        if seen[before, kind] <= 2 or index == shape.n_layers - 1:
            chosen.append(index)
        before = kind
    return chosen


def _kind(layer: Layer, block: Weights) -> object:
    """Return what two layers have in common when they make the same tensors."""
    shapes = tuple(block.rows(name) for name in ("attn_q", "attn_qkv", "ffn_up", "ffn_down"))
    return layer, shapes, block.has("ffn_gate_inp.weight"), block.has("attn_v.weight")


def embedded(graph: Graph, shape: Shape, extent: Extent) -> GraphTensor:
    """Return the embedded tokens (`build_inp_embd`): three ways in, of which one is used."""
    width, tokens = shape.n_embd, extent.tokens
    ids, given = graph.input(tokens), graph.input(width, tokens)
    stream = graph.expand(graph.make((width, tokens), ids))
    graph.expand(given)
    mixed_ids, places, mixed = graph.input(tokens), graph.input(tokens, item=I64), graph.input(width, tokens)
    rows = graph.make((width, tokens), mixed_ids)
    copy = graph.make((width, tokens), mixed)
    graph.expand(graph.store(copy, rows, places))
    return stream


def inputs(shape: Shape, setup: Setup, extent: Extent) -> Pass:
    """Return a pass with its inputs, none of them in the graph before something uses it."""
    graph, tokens, streams = Graph(), extent.tokens, extent.streams
    flash = setup.flash_attention and shape.architecture not in WITHOUT_FLASH
    item = 2 if flash else 4

    def mask(cells: int) -> GraphTensor:
        if not shape.cached:
            return graph.input(tokens, tokens, item=item)
        return graph.input(cells, tokens // streams, 1, streams, item=item)

    value_rows = tokens * (1 if flash else shape.widest_value)
    return Pass(
        graph=graph,
        extent=extent,
        flash=flash,
        cached=shape.cached,
        sliding=shape.window > 0,
        positions=graph.input(tokens * (4 if shape.sections else 1)),
        masks=(mask(extent.cells), mask(extent.window_cells)),
        rows_k=(graph.input(tokens, item=I64), graph.input(tokens, item=I64)),
        rows_v=(graph.input(value_rows, item=I64), graph.input(value_rows, item=I64)),
        states=graph.input(extent.sequences),
        key_item={"f32": 4, "f16": 2, "bf16": 2}.get(setup.type_k, 1),
        turn_k=_rotations(graph, setup.type_k, shape.heads_k, whole=True),
        turn_v=_rotations(graph, setup.type_v, shape.heads_v, whole=False),
    )


def _rotations(
    graph: Graph, type_name: str, heads: tuple[int, int], *, whole: bool
) -> tuple[GraphTensor | None, GraphTensor | None]:
    full, sliding = (_rotation(graph, type_name, head, whole=whole) for head in heads)
    return full, sliding


def _rotation(graph: Graph, type_name: str, head: int, *, whole: bool) -> GraphTensor | None:
    """Return the matrix that turns quantized keys or values (llama-kv-cache.cpp `n_rot_k`, `n_rot_v`)."""
    if CACHE_TYPES[type_name] in {0, 1, 30} or not head or head % 64:
        return None
    size = 64
    while whole and head % (2 * size) == 0:
        size *= 2
    return graph.input(size, size)
