"""Is a request that needs no event treated as one that comes by events?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.scheduler import Arrived, Ask, Dispatch, Ended, Exchange, Finished, Scheduler, Ticket
from tests.scheduler.script import arrived, play, ready

pytestmark = pytest.mark.pure

STEPS = st.lists(
    st.tuples(st.sampled_from(("m", "n")), st.integers(1, 3), st.integers(0, 12)), max_size=40
)  # which model asks, for how many slots, and which of the open requests ends then


def scheduler(strategy: str) -> Scheduler:
    made = Scheduler(depth=3)
    made.configure(depth=3, attempts=3, avoid_seconds=1, strategies={"m": strategy})
    play(made, ready("m#0", 2), ready("m#1", 3), ready("n#0", 1))
    return made


def state(one: Scheduler) -> object:
    running = [(inherited.ticket.id, inherited.endpoint.replica) for inherited in one.running()]
    return sorted(running), [ticket.id for ticket in one.waiting()], one.tick_due


@given(steps=STEPS, strategy=st.sampled_from(("prefix_affinity", "least_busy", "round_robin")))
def test_calls_do_what_events_do(steps: list[tuple[str, int, int]], strategy: str) -> None:
    by_events, by_calls = scheduler(strategy), scheduler(strategy)
    for number, (model, width, ended) in enumerate(steps, 1):
        now = float(number)
        ask = Ask(model, width, prefix=(512, 1024 + 2**30 * (number % 3)), deadline=1e6)
        arrival = Arrived(Ticket(number, ask))
        play(by_events, arrival, now=now)
        if by_calls.place_now(arrival.ticket, now) is None:
            play(by_calls, arrival, now=now)
        assert state(by_events) == state(by_calls)
        whole = Exchange(ask, ended=Ended.DONE, placed_at=now)
        ends = Finished(max(1, number - ended), whole)
        assert play(by_events, ends, now=now) == by_calls.finish(ends.ticket_id, whole, now)
        assert state(by_events) == state(by_calls)


def test_what_cannot_run_at_once_leaves_no_trace() -> None:
    subject = scheduler("least_busy")
    first, second = arrived(1, "n"), arrived(2, "n")
    assert subject.place_now(first.ticket, 0) is not None
    before = state(subject)

    assert subject.place_now(second.ticket, 0) is None
    assert subject.place_now(arrived(3, "unknown").ticket, 0) is None

    assert before == state(subject)
    play(subject, second)
    (found,) = subject.finish(1, None, 0)
    assert isinstance(found, Dispatch)
