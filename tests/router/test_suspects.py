"""Which request is to blame for the crashes of replicas, and which are not."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from relayd.endpoint import Endpoint, UnixAddress
from relayd.errors import CrashedReplicasError
from relayd.router import Call, Suspects
from relayd.router.suspects import REFUSED_SECONDS, digest
from relayd.secret import Secret

pytestmark = pytest.mark.pure

CRASH, UNKNOWN, OUTSIDE = 1.0, 0.5, 0.0


@dataclass
class Clock:
    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


@dataclass
class Fleet:
    """Replicas that each work on some requests.

    Attributes:
        running: What each incarnation works on, by number.
        cleared: Which requests were found innocent.
        renewed: Which replicas had no memory left.
    """

    clock: Clock = field(default_factory=Clock)
    running: dict[int, list[Call]] = field(default_factory=dict)
    cleared: list[str] = field(default_factory=list)
    renewed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.suspects = Suspects(self.clock, self.calls_on, self.renewed.append)

    def calls_on(self, endpoint: Endpoint) -> Iterator[Call]:
        yield from self.running.get(endpoint.incarnation, [])

    def ends(self, number: int, *bodies: str, blame: float = CRASH) -> frozenset[str]:
        """End an incarnation with bodies in flight, half of them seen by their connections first."""
        where, calls = endpoint(number), [call(body) for body in bodies]
        for one in calls[::2]:
            self.lose(where, one)
        self.running[number] = calls[1::2]
        found = self.suspects.in_flight(where)
        self.running[number] = []
        for one in calls[1::2]:
            self.lose(where, one)
        self.suspects.exited(where, blame)
        return found

    def lose(self, where: Endpoint, one: Call) -> None:
        self.suspects.lost(where, one, lambda: self.cleared.append(one.body.decode()))

    def refuses(self, body: str) -> bool:
        try:
            self.suspects.check(call(body))
        except CrashedReplicasError:
            return True
        return False


def endpoint(number: int) -> Endpoint:
    return Endpoint(UnixAddress(Path("/r.sock")), Secret("k"), "m#0", number)


def call(body: str) -> Call:
    return Call("/v1/completions", body.encode())


def test_a_body_that_was_in_flight_at_two_crashes_is_refused_for_some_minutes() -> None:
    fleet = Fleet()
    fleet.ends(1, "poison")
    assert not fleet.suspects.refusing
    fleet.ends(2, "poison")

    assert fleet.suspects.refusing
    assert fleet.refuses("poison")
    assert not fleet.refuses("innocent")
    fleet.clock.now += REFUSED_SECONDS
    assert not fleet.refuses("poison")
    assert not fleet.suspects.refusing


def test_of_all_that_was_in_flight_the_one_common_to_both_crashes_is_to_blame() -> None:
    fleet = Fleet()
    fleet.ends(1, "a", "poison", "b", "c")
    fleet.ends(2, "d", "e", "poison")

    assert [True, *[False] * 5] == [fleet.refuses(body) for body in ("poison", *"abcde")]
    assert sorted("abcde") == sorted(fleet.cleared)


def test_two_that_were_at_the_same_crashes_are_judged_by_the_next_one() -> None:
    fleet = Fleet()
    fleet.ends(1, "a", "poison")
    fleet.ends(2, "poison", "a")
    assert [False, False] == [fleet.refuses(body) for body in ("a", "poison")]

    fleet.ends(3, "poison")

    assert (False, True) == (fleet.refuses("a"), fleet.refuses("poison"))


def test_a_cleared_body_starts_anew() -> None:
    fleet = Fleet()
    fleet.ends(1, "a", "poison")
    fleet.ends(2, "poison")
    fleet.ends(3, "a")

    assert not fleet.refuses("a")


def test_an_exit_from_outside_is_no_proof_and_clears_what_was_in_flight() -> None:
    fleet = Fleet()
    for number in range(5):
        fleet.ends(number, "a", "b", blame=OUTSIDE)

    assert not fleet.refuses("a")
    assert ["a", "b"] * 5 == fleet.cleared
    fleet.lose(endpoint(4), call("b"))
    assert "b" == fleet.cleared[-1]


def test_an_exit_that_none_here_saw_counts_half() -> None:
    fleet = Fleet()
    refused = []
    for number in range(4):
        fleet.ends(number, "a", blame=UNKNOWN)
        refused.append(fleet.refuses("a"))

    assert [False, False, False, True] == refused


def test_a_request_for_which_two_replicas_had_no_memory_is_refused_and_both_are_renewed() -> None:
    fleet = Fleet()
    fleet.suspects.starved(endpoint(1), call("bomb"))
    assert not fleet.refuses("bomb")
    fleet.suspects.starved(endpoint(2), call("bomb"))

    assert fleet.refuses("bomb")
    assert ["m#0", "m#0"] == fleet.renewed


def test_a_suspicion_is_forgotten() -> None:
    fleet = Fleet()
    fleet.ends(1, "a")
    fleet.clock.now += REFUSED_SECONDS
    fleet.ends(2, "a")

    assert not fleet.refuses("a")


def test_what_lost_its_connection_long_before_was_not_in_flight() -> None:
    fleet = Fleet()
    fleet.ends(1, "a")
    fleet.lose(endpoint(2), call("a"))
    fleet.clock.now += 60

    assert frozenset({digest(call("b"))}) == fleet.ends(2, "b")
    assert not fleet.refuses("a")


def test_a_connection_that_is_lost_after_its_replicas_exit_was_seen_counts_too() -> None:
    fleet = Fleet()
    fleet.ends(1, "a")
    fleet.suspects.exited(endpoint(2), CRASH)
    fleet.lose(endpoint(2), call("a"))
    fleet.lose(endpoint(2), call("a"))

    assert fleet.refuses("a")


def test_a_request_that_was_left_is_in_flight_until_the_replica_is_done_with_it() -> None:
    fleet = Fleet()
    fleet.ends(1, "poison")
    done = fleet.suspects.left(endpoint(2), call("poison"))
    fleet.clock.now += 60

    assert frozenset({digest(call("poison"))}) == fleet.suspects.in_flight(endpoint(2))
    fleet.suspects.exited(endpoint(2), CRASH)
    assert fleet.refuses("poison")
    done()


def test_a_request_that_was_left_counts_once_at_an_exit_that_is_seen_before_its_end() -> None:
    fleet = Fleet()
    done = fleet.suspects.left(endpoint(1), call("a"))
    fleet.suspects.exited(endpoint(1), CRASH)
    done()

    assert not fleet.refuses("a")


def test_one_body_at_one_crash_counts_once_however_often_it_ran_there() -> None:
    fleet = Fleet()
    fleet.ends(1, "a", "a", "a")

    assert not fleet.refuses("a")


def test_the_same_body_on_another_path_is_another_request() -> None:
    assert digest(Call("/v1/completions", b"{}")) != digest(Call("/v1/embeddings", b"{}"))


def test_the_ends_and_the_length_of_a_large_body_are_compared() -> None:
    large = b"a" * 3_000_000

    assert 3 == len({digest(Call("/p", body)) for body in (large, large + b"a", large[:-1] + b"b")})


def test_a_successor_refuses_what_its_predecessor_refused_and_goes_on_counting() -> None:
    old, new = Fleet(), Fleet()
    old.ends(1, "poison")
    old.ends(2, "poison")
    old.ends(3, "suspect")
    new.suspects.resume(old.suspects.refusing, old.suspects.suspected)
    assert (True, False) == (new.refuses("poison"), new.refuses("suspect"))

    new.ends(4, "suspect")

    assert new.refuses("suspect")
    new.clock.now += REFUSED_SECONDS
    assert not new.refuses("poison")


@pytest.mark.usefixtures("runner")
async def test_a_verdict_is_waited_for_only_as_long_as_an_examination_takes() -> None:
    suspects = Fleet().suspects
    waiting = asyncio.ensure_future(suspects.verdict(endpoint(1)))
    await asyncio.sleep(0)
    suspects.exited(endpoint(1), CRASH)

    await waiting
    await suspects.verdict(endpoint(1))
