"""The tensors of a layer have the shapes that its weights give them."""

from collections.abc import Mapping

import pytest

from relayd.errors import ModelFileError
from relayd.memory.blocks import ExpertRouting, feed_forward, linear, mixture, norm
from relayd.memory.graph import Graph, GraphTensor, allocate
from relayd.memory.shapes import Weights

pytestmark = pytest.mark.pure

WIDTH, INNER, TOKENS = 64, 256, 8

DENSE = {
    "blk.0.ffn_up.weight": (WIDTH, INNER),
    "blk.0.ffn_gate.weight": (WIDTH, INNER),
    "blk.0.ffn_down.weight": (INNER, WIDTH),
}
EXPERTS = {
    "blk.0.ffn_gate_inp.weight": (WIDTH, 4),
    "blk.0.ffn_up_exps.weight": (WIDTH, INNER, 4),
    "blk.0.ffn_gate_exps.weight": (WIDTH, INNER, 4),
    "blk.0.ffn_down_exps.weight": (INNER, WIDTH, 4),
}


def block(shapes: Mapping[str, tuple[int, ...]]) -> Weights:
    return Weights(shapes).block(0)


def stream(graph: Graph) -> GraphTensor:
    return graph.make((WIDTH, TOKENS), graph.input(8))


def test_weights_are_read_by_the_name_in_their_block() -> None:
    weights = block({"blk.0.attn_q.weight": (64, 128), "blk.1.attn_k.weight": (64, 32), **EXPERTS})

    assert (128, 0, (64, 128)) == (weights.rows("attn_q"), weights.rows("attn_k"), weights.size("attn_q"))
    assert weights.has("attn_q.weight")
    assert not weights.has("attn_k.weight")


@pytest.mark.parametrize(
    ("shape", "problem"), [(None, "is missing"), ((64,), "expected a matrix"), ((64, 0), "expected a matrix")]
)
def test_a_layer_without_its_matrix_is_refused_by_name(shape: tuple[int, ...] | None, problem: str) -> None:
    shapes = {**DENSE, "blk.0.ffn_down.weight": shape}
    weights = block({name: given for name, given in shapes.items() if given is not None})
    with pytest.raises(ModelFileError, match=rf"header promises: blk\.0\.ffn_down\.weight .*{problem}"):
        feed_forward(Graph(), weights, stream(Graph()))


def test_a_chain_of_thousands_of_tensors_is_put_in_order() -> None:
    graph = Graph()
    first = last = stream(graph)
    for _ in range(5_000):
        last = graph.change(last)
    graph.expand(last)
    assert (5_001, first, last) == (len(graph.nodes), graph.nodes[0], graph.nodes[-1])


def test_a_feed_forward_part_returns_to_the_width_of_the_stream() -> None:
    graph = Graph()
    result = feed_forward(graph, block(DENSE), stream(graph))

    assert (WIDTH, TOKENS, 1, 1) == result.shape


def test_a_gate_beside_the_projection_needs_room_for_one_tensor_more() -> None:
    sizes = []
    for shapes in (DENSE, {name: shape for name, shape in DENSE.items() if "gate" not in name}):
        graph = Graph()
        graph.expand(feed_forward(graph, block(shapes), stream(graph)))
        sizes.append(allocate(graph))

    assert 4 * INNER * TOKENS <= sizes[0] - sizes[1]


def test_a_projection_that_is_twice_as_wide_holds_its_own_gate() -> None:
    graph = Graph()
    fused = {"blk.0.ffn_up.weight": (WIDTH, 2 * INNER), "blk.0.ffn_down.weight": (INNER, WIDTH)}
    result = feed_forward(graph, block(fused), stream(graph))

    assert (INNER, TOKENS, 1, 1) == result.sources[0].shape


def test_a_mixture_returns_to_the_width_of_the_stream_and_grows_with_the_experts_in_use() -> None:
    sizes = []
    for used in (1, 2, 4):
        graph = Graph()
        result = mixture(graph, block(EXPERTS), ExpertRouting(total=4, used=used), stream(graph))
        graph.expand(result)
        assert (WIDTH, TOKENS) == result.shape[:2]
        sizes.append(allocate(graph))

    assert sorted(sizes) == sizes
    assert sizes[0] < sizes[-1]


@pytest.mark.parametrize(("extra", "steps"), [((), 1), (("scale",), 2), (("scale", "bias"), 3)])
def test_scale_and_bias_of_a_weight_are_operations_of_their_own(extra: tuple[str, ...], steps: int) -> None:
    graph = Graph()
    weights = block({"blk.0.attn_q.weight": (64, 128), **{f"blk.0.attn_q.{one}": (128,) for one in extra}})
    source = graph.input(WIDTH, TOKENS)
    graph.expand(linear(graph, weights, "attn_q", source))

    assert steps == len(graph.nodes)


def test_a_norm_with_a_weight_needs_no_second_tensor() -> None:
    graph = Graph()
    graph.expand(norm(graph, block({"blk.0.attn_norm.weight": (WIDTH,)}), "attn_norm", stream(graph)))

    assert 4 * WIDTH * TOKENS + 32 == allocate(graph)
