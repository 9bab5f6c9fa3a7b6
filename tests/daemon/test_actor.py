"""Events in order, effects carried out, and the scheduler's tick on time."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from relayd.daemon.actor import Actor, Executors
from relayd.scheduler import Arrived, Dispatch, Event, Finished, Idle, Refusal, Refuse, Scheduler
from tests.scheduler.script import arrived, ready

pytestmark = pytest.mark.pure


@dataclass(eq=False)
class FakeTimer:
    due: float
    callback: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class World:
    """A clock that the test turns, its timers, and the effects that were carried out."""

    now: float = 1000.0
    timers: list[FakeTimer] = field(default_factory=list)
    done: list[Dispatch | Refuse | Idle] = field(default_factory=list)
    then: dict[int, Event] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.actor = Actor(Scheduler(depth=4), self, self.call_later)
        self.actor.start(Executors(self.carry_out, self.carry_out, self.done.append))

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return 0.0

    def call_later(self, seconds: float, callback: Callable[[], None]) -> FakeTimer:
        self.timers.append(FakeTimer(self.now + seconds, callback))
        return self.timers[-1]

    def carry_out(self, effect: Dispatch | Refuse) -> None:
        self.done.append(effect)
        if (event := self.then.pop(effect.ticket_id, None)) is not None:
            self.actor.post(event)

    def turn_to(self, now: float) -> None:
        """Let time pass, and call what becomes due."""
        self.now = now
        due = [timer for timer in self.timers if timer.due <= now and not timer.cancelled]
        self.timers = [timer for timer in self.timers if timer not in due]
        for timer in due:
            timer.callback()

    @property
    def set_timers(self) -> list[float]:
        return [timer.due for timer in self.timers if not timer.cancelled]


def test_an_event_posted_by_an_executor_comes_after_the_one_in_hand() -> None:
    world = World(then={1: Finished(1)})
    world.actor.post(ready("m#0"))
    world.actor.post(Arrived(arrived(1).ticket))
    world.actor.post(Arrived(arrived(2).ticket))

    assert [1, 2] == [effect.ticket_id for effect in world.done if isinstance(effect, Dispatch)]


def test_an_event_before_there_are_executors_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="before there were executors"):
        Actor(Scheduler(depth=4), World()).post(ready("m#0"))


def test_a_deadline_is_kept_by_the_clock_that_was_passed_in() -> None:
    world = World()
    world.actor.post(ready("m#0"))
    world.actor.post(arrived(1, deadline=1010.0))
    world.actor.post(arrived(2, deadline=1010.0))

    world.turn_to(1009.0)
    assert not [effect for effect in world.done if isinstance(effect, Refuse)]
    world.turn_to(1010.0)
    assert [Refusal.TIMED_OUT] == [effect.refusal for effect in world.done if isinstance(effect, Refuse)]


def test_there_is_one_timer_and_it_is_the_earliest() -> None:
    world = World()
    world.actor.post(ready("m#0"))
    for number, deadline in enumerate((1050.0, 1050.0, 1020.0, 1090.0), start=1):
        world.actor.post(arrived(number, deadline=deadline))

    assert [1020.0] == world.set_timers


def test_a_closed_actor_has_no_timer() -> None:
    world = World()
    world.actor.post(ready("m#0"))
    world.actor.post(arrived(1, deadline=1010.0))
    world.actor.post(arrived(2, deadline=1010.0))

    world.actor.close()

    assert [] == world.set_timers
