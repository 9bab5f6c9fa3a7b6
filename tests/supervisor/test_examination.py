"""What is found of a process that has ended, and what it reads for that."""

import signal
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from relayd.endpoint import Endpoint, UnixAddress
from relayd.planner import Planned, ReplicaSpec, Step
from relayd.planner.wall import NO_WALL, MemoryWall
from relayd.secret import Secret
from relayd.supervisor.causes import Cause, Exit
from relayd.supervisor.examination import Examination
from relayd.supervisor.sizing import Sizing

pytestmark = pytest.mark.fake

PLANNED = Planned(ReplicaSpec("m", 0, Path("/m.gguf")))
STEP = Step(PLANNED, 1, "slots: 4 → 2")


@dataclass
class Ended:
    """A process that has ended with a code and a log."""

    log: Path
    code: int | None
    pid: int = 7
    log_offset: int = 0
    command: tuple[str, ...] = ()
    wall: MemoryWall = NO_WALL
    endpoint: Endpoint = field(
        default_factory=lambda: Endpoint(UnixAddress(Path("/none.sock")), Secret("k"), "m#0", 1)
    )

    def signal(self, number: int) -> None:
        raise AssertionError(number)

    def reap(self) -> int | None:
        return self.code


@dataclass
class Ladder:
    """Has one step, and notes who asks for it."""

    asked: list[tuple[int, bool]] = field(default_factory=list)

    def __call__(self, planned: Planned, rung: int, /, *, host: bool) -> Step | None:
        self.asked.append((rung, host))
        return STEP


def examination(log: Path, code: int | None, ladder: Ladder, *, killed: bool = False) -> Examination:
    return Examination(Ended(log, code), None, Sizing.of(PLANNED), ladder, out_of_memory=lambda _: killed)


def test_a_process_that_was_told_to_end_has_no_cause_to_look_for(tmp_path: Path) -> None:
    ladder = Ladder()

    found = examination(tmp_path / "none", 0, ladder).of_commanded()

    assert (Exit(Cause.COMMANDED, 0, "it was stopped"), (), None) == (
        found.exit,
        found.last_words,
        found.step,
    )
    assert [] == ladder.asked


def test_a_crash_keeps_its_last_words_and_asks_for_nothing_smaller(tmp_path: Path) -> None:
    log, ladder = tmp_path / "log", Ladder()
    log.write_text("".join(f"{number}\n" for number in range(30)))

    found = examination(log, 3, ladder).of_unexpected()

    assert (Cause.CRASH, 3) == (found.exit.cause, found.exit.code)
    assert tuple(map(str, range(10, 30))) == found.last_words
    assert (None, []) == (found.step, ladder.asked)


def test_a_device_without_memory_asks_for_a_smaller_plan(tmp_path: Path) -> None:
    log, ladder = tmp_path / "log", Ladder()
    log.write_text("cudaMalloc failed: out of memory\n")

    found = examination(log, 1, ladder).of_unexpected()

    assert (Cause.DEVICE_OOM, STEP, [(0, False)]) == (found.exit.cause, found.step, ladder.asked)


def test_what_the_kernel_ends_for_want_of_memory_comes_back_smaller(tmp_path: Path) -> None:
    ladder = Ladder()

    found = examination(tmp_path / "none", -signal.SIGKILL, ladder, killed=True).of_unexpected()

    assert (Cause.HOST_OOM, STEP, [(0, True)]) == (found.exit.cause, found.step, ladder.asked)


def test_what_the_health_check_killed_has_the_cause_it_was_killed_for(tmp_path: Path) -> None:
    verdict = Exit(Cause.NOT_ANSWERING, -9, "it has not answered for 30 s")
    seen = examination(tmp_path / "none", -9, Ladder())

    found = Examination(
        seen.child, verdict, seen.sizing, smaller=Ladder(), out_of_memory=lambda _: False
    ).of_unexpected()

    assert verdict == found.exit
