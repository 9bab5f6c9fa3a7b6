import pytest

from tests.bench.cancel import orphan_seconds

pytestmark = pytest.mark.pure


def test_a_slot_is_orphaned_while_the_engine_works_and_relayd_counts_it_as_free() -> None:
    engine = [(1.0, 1), (2.0, 1), (5.0, -1), (7.0, -1)]

    assert 0.0 == orphan_seconds(engine, [(0.5, 1), (1.5, 1), (6.0, -1), (7.0, -1)])
    assert 3.0 == orphan_seconds(engine, [(0.5, 1), (1.5, 1), (3.0, -1), (6.0, -1)])
