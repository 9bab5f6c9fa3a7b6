"""Does every connection's time run out when it should, behind one timer?"""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from relayd.api.deadlines import Deadlines

pytestmark = pytest.mark.pure


@dataclass
class Loop:
    """A clock that is set, and the calls that are due on it."""

    now: float = 100.0
    calls: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def time(self) -> float:
        return self.now

    def call_at(self, due: float, callback: Callable[[], None]) -> "Timer":
        self.calls.append((due, callback))
        return Timer(self, self.calls[-1])

    def go_to(self, moment: float) -> None:
        while due := [call for call in self.calls if call[0] <= moment]:
            first = min(due, key=lambda call: call[0])
            self.calls.remove(first)
            self.now = first[0]
            first[1]()
        self.now = moment


@dataclass
class Timer:
    loop: Loop
    call: tuple[float, Callable[[], None]]

    def cancel(self) -> None:
        self.loop.calls.remove(self.call)


class Someone:
    def __init__(self) -> None:
        self.times = 0

    def overdue(self) -> None:
        self.times += 1


def started() -> tuple[Loop, Deadlines]:
    loop = Loop()
    return loop, Deadlines(loop)  # type: ignore[arg-type]  # all that it uses of a loop


def test_each_is_overdue_once_in_its_time() -> None:
    loop, deadlines = started()
    slow, quick = Someone(), Someone()
    deadlines.give(slow, 75)
    deadlines.give(quick, 10)

    loop.go_to(109)
    assert (0, 0) == (slow.times, quick.times)
    loop.go_to(110)
    assert (0, 1) == (slow.times, quick.times)
    loop.go_to(500)
    assert (1, 1) == (slow.times, quick.times)


def test_a_new_deadline_takes_the_place_of_the_old_one() -> None:
    loop, deadlines = started()
    someone = Someone()
    deadlines.give(someone, 10)
    loop.go_to(109)
    deadlines.give(someone, 10)

    loop.go_to(118)
    assert 0 == someone.times
    loop.go_to(119)
    assert 1 == someone.times


def test_a_deadline_that_was_taken_back_never_comes() -> None:
    loop, deadlines = started()
    someone = Someone()
    deadlines.give(someone, 10)
    deadlines.drop(someone)
    deadlines.drop(someone)

    loop.go_to(500)
    assert 0 == someone.times


def test_a_thousand_deadlines_have_one_timer() -> None:
    loop, deadlines = started()
    everyone = [Someone() for _ in range(1000)]
    for one in everyone:
        deadlines.give(one, 10)
        deadlines.give(one, 75)

    assert 1 == len(loop.calls)
    loop.go_to(500)
    assert {1} == {one.times for one in everyone}
    assert [] == loop.calls


def test_none_is_overdue_once_they_are_closed() -> None:
    loop, deadlines = started()
    deadlines.give(Someone(), 10)
    deadlines.close()

    assert [] == loop.calls
