"""The simulated replica behaves as llama-server does, and the real scheduler is worth it there."""

import pytest

from tests.simulator.aborts import storm
from tests.simulator.fairness import shares
from tests.simulator.replica import Job, Rates, SimulatedReplica, replica
from tests.simulator.run import POLICIES, Fleet, run
from tests.simulator.workloads import agents, chat, single

pytestmark = pytest.mark.pure

SYSTEM = (1, 1000)


def finish(one: SimulatedReplica, job: Job) -> Job:
    one.send(job, one.now)
    while not one.advance(one.due()):
        pass
    return job


def job(*prompt: tuple[int, int], number: int = 1, answer: int = 10) -> Job:
    return Job(number, tuple(prompt), (1000 + number, answer), 0.0)


def test_a_prompt_is_read_at_its_rate_and_an_answer_written_at_its_own() -> None:
    one = replica(1, Rates(prompt_rate=1000, step_seconds=0.01))
    done = finish(one, job((1, 3000), answer=100))

    assert 3.0 == pytest.approx(done.first)
    assert 1.0 == pytest.approx(done.ended - done.first)


def test_a_conversation_that_goes_on_finds_its_slot() -> None:
    one = replica(2, Rates())
    first = finish(one, job(SYSTEM, (2, 500)))
    second = finish(one, job(SYSTEM, (2, 500), first.answer, (3, 100), number=2))

    assert 1510 == second.cached


def test_an_earlier_conversation_is_found_in_host_memory_up_to_its_limit() -> None:
    for kept, cached in ((60_000, 1010), (500, 0)):
        one = replica(1, Rates(kept_tokens=kept))
        first = finish(one, job((1, 1000)))
        finish(one, job((2, 1000), number=2))
        third = finish(one, job((1, 1000), first.answer, (3, 50), number=3))
        assert cached == third.cached


def test_a_stream_stands_still_for_a_part_of_the_reading_of_another() -> None:
    one = replica(2, Rates(prompt_rate=512, step_seconds=0.01, batch=512))
    slow = job((1, 1), answer=100)
    one.send(slow, 0.0)
    one.advance(one.due())
    one.send(job((2, 5120), number=2, answer=1), one.now)
    while not slow.ended:
        one.advance(one.due())

    assert 10.0 < slow.ended < 11.5


def p95(policy: str, workload: str) -> float:
    made = {"chat": chat(), "agents": agents(), "unique": single(1.8, shared=0, own=1500, answer=120)}
    return run(made[workload], POLICIES[policy], Fleet(), 1, seconds=500, warm_seconds=100).p95


@pytest.mark.parametrize(("workload", "most"), [("chat", 0.5), ("agents", 0.7)])
def test_prompts_that_come_back_are_answered_sooner_by_affinity(workload: str, most: float) -> None:
    others = min(p95(name, workload) for name in ("round robin", "least busy", "nginx least_conn"))

    assert p95("prefix affinity", workload) <= most * others


def test_unique_prompts_lose_nothing_by_affinity() -> None:
    assert p95("prefix affinity", "unique") <= 1.05 * p95("least busy", "unique")


def test_two_keys_get_equal_shares_though_one_floods() -> None:
    index, _ = shares(1, seconds=80.0)

    assert index >= 0.95


@pytest.mark.parametrize("strategy", ["prefix_affinity", "real_time_metrics"])
def test_random_aborts_leave_no_counter_behind(strategy: str) -> None:
    counts, left = storm(2000, 1, strategy)

    assert [] == left
    assert counts["dispatched"] > 1000
