"""The allocator does what ggml-alloc.c does."""

import pytest

from relayd.memory.graph import Graph, allocate

pytestmark = pytest.mark.pure

WORD = 1024
"""Elements of a tensor of 4 KiB."""


def test_a_chain_needs_two_tensors_at_once() -> None:
    graph = Graph()
    tensor = graph.input(WORD)
    for _ in range(5):
        tensor = graph.make((WORD,), tensor)
    graph.expand(tensor)

    assert 2 * 4 * WORD == allocate(graph)


def test_what_may_be_written_over_needs_no_room() -> None:
    graph = Graph()
    graph.expand(graph.change(graph.change(graph.make((WORD,), graph.input(8)))))

    assert 4 * WORD + 32 == allocate(graph)


def test_what_is_needed_again_is_not_written_over() -> None:
    graph = Graph()
    stream = graph.make((WORD,), graph.input(8))
    normed = graph.change(stream)
    graph.expand(graph.change(normed, stream))

    assert 2 * 4 * WORD + 32 == allocate(graph)


def test_nothing_is_written_over_a_view() -> None:
    graph = Graph()
    source = graph.make((WORD,), graph.input(8))
    graph.expand(graph.change(graph.view(source, 32, 32)))

    assert 2 * 4 * WORD + 32 == allocate(graph)


def test_a_view_keeps_its_source_alive() -> None:
    graph = Graph()
    source = graph.make((WORD,), graph.input(8))
    view = graph.view(source, WORD)
    other = graph.expand(graph.make((WORD,), graph.input(8)))
    graph.expand(graph.make((WORD,), view, other))

    assert 3 * 4 * WORD + 64 == allocate(graph)


def test_weights_and_caches_take_no_room() -> None:
    graph = Graph()
    cache = graph.outside(1 << 20)
    graph.expand(graph.store(cache, graph.make((WORD,), graph.input(8))))

    assert 4 * WORD + 32 == allocate(graph)


def test_the_tightest_hole_is_taken() -> None:
    graph = Graph()
    wide, keep, narrow = (graph.expand(graph.make((size,), graph.input(8))) for size in (4 * WORD, 8, WORD))
    end = graph.expand(graph.make((8,), graph.input(8)))
    graph.expand(graph.make((8,), wide))
    graph.expand(graph.make((8,), narrow))
    small = graph.expand(graph.make((WORD,), keep))
    graph.expand(graph.make((4 * WORD,), small, end))

    assert 5 * 4 * WORD + 4 * 32 == allocate(graph)
