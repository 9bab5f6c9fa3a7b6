"""No sequence of events over-commits memory, evicts what is in use, loads twice, or keeps a request for ever.

`python -m tests.ledger --sequences N` plays more of the same.
"""

from functools import partial

import pytest

from relayd.scheduler import MemoryPolicy
from tests.ledger.sequences import Sequence
from tests.ledger.traces import abab, burst, client, fleet, named, outcome, zipf

pytestmark = pytest.mark.pure

POLICY = MemoryPolicy(min_resident_seconds=3.0, swap_batch_requests=32, swap_turn_seconds=10.0)


@pytest.mark.parametrize("first", range(0, 60, 30))
def test_the_ledger_holds_whatever_happens(first: int) -> None:
    for seed in range(first, first + 30):
        Sequence(seed).play()


def test_clients_of_five_models_in_room_for_two_all_get_their_turn() -> None:
    result = zipf(POLICY, seconds=300)

    assert result.requests - 16 <= result.answered
    assert result.longest_wait < 30


@pytest.mark.parametrize(("pause", "swaps_a_minute"), [(0.0, 5), (1.0, 12)])
def test_two_models_that_alternate_swap_at_a_bounded_rate(pause: float, swaps_a_minute: int) -> None:
    result = abab(POLICY, pause=pause, seconds=300)

    assert result.requests - 4 <= result.answered
    assert result.swaps <= 5 * swaps_a_minute
    assert result.longest_wait < 30


def test_a_burst_on_a_third_model_delays_the_others_by_one_turn() -> None:
    result = burst(POLICY)

    assert result.requests - 28 <= result.answered
    assert result.longest_wait < 30


@pytest.mark.parametrize(("models", "room"), [(2, 1), (4, 1), (6, 2)])
def test_who_waits_gets_memory_after_at_most_one_turn_of_each_model_before_it(models: int, room: int) -> None:
    answer_seconds, load_seconds = 1.0, 2.0
    machine = fleet(POLICY, models, room, load_seconds)
    for number in range(4 * models):
        client(machine, partial(named, number % models), lambda: answer_seconds, 0.0)
    machine.run(600)
    swap_seconds = POLICY.swap_turn_seconds + answer_seconds + load_seconds + 0.1

    assert outcome(machine).longest_wait <= (models - room + 1) * swap_seconds + load_seconds
