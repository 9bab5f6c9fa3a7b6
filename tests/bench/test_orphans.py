import pytest

from tests.bench.orphans import orphans

pytestmark = pytest.mark.pure


def test_a_slot_is_orphaned_while_the_engine_works_and_relayd_counts_it_as_free() -> None:
    engine = [(1.0, 1), (2.0, 1), (5.0, -1), (7.0, -1)]

    assert [] == orphans(engine, [(0.5, 1), (1.5, 1), (6.0, -1), (7.0, -1)])
    assert [(3.0, 2.0), (6.0, 1.0)] == orphans(engine, [(0.5, 1), (1.5, 1), (3.0, -1), (6.0, -1)])
