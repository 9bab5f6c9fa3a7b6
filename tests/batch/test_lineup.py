"""In which order lines are handed out."""

import pytest

from relayd.batch.lineup import Lineup

pytestmark = pytest.mark.pure


def taken(lineup: Lineup, count: int, replicas: int) -> list[int]:
    return [one.place for _ in range(count) if (one := lineup.take(replicas)) is not None]


def test_one_replica_gets_lines_in_order() -> None:
    assert [4, 5, 6] == taken(Lineup([4, 5, 6]), 9, 1)


def test_several_replicas_get_lines_from_places_of_their_own() -> None:
    lineup = Lineup(range(90))

    assert [0, 45, 23, 1, 46, 24] == taken(lineup, 6, 3)


def test_every_line_is_handed_out_once_however_many_replicas_come_and_go() -> None:
    lineup, found = Lineup(range(500)), []
    for number in range(500):
        one = lineup.take(1 + number % 5)
        assert one is not None
        lineup.answered(one)
        found.append(one.place)

    assert [*range(500)] == sorted(found)
    assert lineup.take(3) is None


def test_a_line_that_comes_back_is_the_next() -> None:
    lineup = Lineup(range(10))
    first = lineup.take(1)
    assert first is not None
    lineup.take(1)
    lineup.put_back(first)

    assert [0, 2] == taken(lineup, 2, 1)
    assert 7 == len(lineup)
