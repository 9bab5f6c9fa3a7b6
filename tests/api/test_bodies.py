"""Do the bodies of all requests stay within their budget, and are slow senders the first to go?"""

import asyncio
from collections.abc import Iterator

import pytest

from relayd.api import bodies as module
from relayd.api.bodies import Bodies, BodyHold
from relayd.errors import BodyBudgetError, RequestError
from relayd.router import ENDING
from relayd.units import MIB, Bytes

pytestmark = pytest.mark.pure


class StillLoop(asyncio.SelectorEventLoop):
    """A loop whose time the test owns."""

    now = 1_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=StillLoop) as runner:
        yield runner


def pass_time(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, StillLoop)
    loop.now += seconds


class Deadline:
    """A deadline that is in force."""

    when = 0.0

    def expired(self) -> bool:
        return False

    def reschedule(self, when: float) -> None:
        self.when = when


def sender(bodies: Bodies, size: int) -> BodyHold:
    """Return a body that arrives, `size` bytes of which are here."""
    hold = bodies.hold()
    hold.arriving(Deadline())
    hold.take(size)
    return hold


async def test_what_is_released_can_be_taken_again() -> None:
    bodies = Bodies(Bytes(100))
    for _ in range(3):
        hold = bodies.hold()
        hold.take(100)
        hold.release()
        hold.release()

    assert 0 == bodies.used


async def test_one_byte_beyond_the_budget_is_refused_and_says_when_to_come_back() -> None:
    bodies = Bodies(Bytes(100))
    bodies.hold().take(100)

    with pytest.raises(BodyBudgetError, match="body_budget_mib") as refused:
        bodies.hold().take(1)
    assert (503, "body_budget_spent") == (refused.value.http_status, refused.value.code)
    assert refused.value.retry_after_seconds


async def test_a_declared_length_is_refused_before_it_arrives() -> None:
    bodies = Bodies(Bytes(100))
    bodies.hold().take(60)
    bodies.hold().expect(40)

    with pytest.raises(BodyBudgetError):
        bodies.hold().expect(41)
    assert 60 == bodies.used


async def test_the_slowest_sender_gives_way_to_a_fast_one() -> None:
    bodies = Bodies(Bytes(10 * MIB))
    slowest, slow = sender(bodies, 1000), sender(bodies, 2000)
    pass_time(module.SLOW_SECONDS)
    fast = sender(bodies, 10 * MIB - 3000)
    fast.take(900)

    assert [True, False, False] == [one.refusal is not None for one in (slowest, slow, fast)]
    assert 10 * MIB - 100 == bodies.used


async def test_a_sender_is_not_called_slow_in_its_first_moment_or_while_it_moves() -> None:
    bodies = Bodies(Bytes(MIB))
    young, steady = sender(bodies, 1), sender(bodies, MIB // 2)
    pass_time(module.SLOW_SECONDS / 2)

    with pytest.raises(BodyBudgetError):
        sender(bodies, MIB)
    assert [None, None] == [young.refusal, steady.refusal]


async def test_who_waits_in_the_queue_is_never_refused_for_who_arrives() -> None:
    bodies = Bodies(Bytes(100))
    waiting = bodies.hold()
    waiting.take(90)
    pass_time(3600)

    with pytest.raises(BodyBudgetError):
        sender(bodies, 20)
    assert waiting.refusal is None


async def test_no_progress_is_allowed_only_while_half_of_the_budget_is_free() -> None:
    bodies = Bodies(Bytes(100))
    stalled = sender(bodies, 10)
    pass_time(module.STALLED_SECONDS)
    bodies.hold().take(40)
    at_half = stalled.refusal
    bodies.hold().take(1)
    beyond = stalled.refusal

    assert (None, True, 41) == (at_half, isinstance(beyond, BodyBudgetError), bodies.used)


async def test_a_body_that_moved_has_not_stalled() -> None:
    bodies = Bodies(Bytes(100))
    moving = sender(bodies, 10)
    pass_time(module.STALLED_SECONDS)
    moving.moved_at = asyncio.get_running_loop().time()
    bodies.hold().take(60)

    assert moving.refusal is None


async def test_every_body_that_arrives_learns_of_the_end() -> None:
    bodies = Bodies(Bytes(100))
    arriving, waiting = sender(bodies, 10), bodies.hold()
    waiting.take(10)
    bodies.interrupt(ENDING)

    refusals: list[RequestError | None] = [arriving.refusal, waiting.refusal]
    assert [ENDING, None] == refusals
    assert (0, 10) == (len(bodies.senders), bodies.used)


async def test_a_smaller_budget_refuses_what_comes_and_keeps_what_is_held() -> None:
    bodies = Bodies(Bytes(100))
    held = bodies.hold()
    held.take(80)
    bodies.configure(Bytes(50))

    with pytest.raises(BodyBudgetError):
        bodies.hold().take(1)
    assert (80, None) == (held.size, held.refusal)


async def test_what_is_kept_of_a_body_is_what_counts() -> None:
    bodies = Bodies(Bytes(100))
    hold = bodies.hold()
    hold.take(80)
    hold.keep(30)

    assert 30 == bodies.used
    assert "30 of 100 bytes" in repr(bodies)
