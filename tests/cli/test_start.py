"""Is a service that could not be installed taken back, and a relay.toml respected?"""

from pathlib import Path

import pytest

from relayd.cli.start import carry_out_or_undo
from relayd.errors import StateError
from relayd.service.plan import Remove, RunCommand, Step, Write

pytestmark = pytest.mark.system


class Runner:
    """Stands in for the service manager: fails, or is interrupted, at one command."""

    def __init__(self, at: str, status: int | None = 1) -> None:
        self.ran: list[str] = []
        self._at = at
        self._status = status

    def __call__(self, step: RunCommand) -> int:
        self.ran.append(" ".join(step.command))
        if step.command[0] != self._at:
            return 0
        if self._status is None:
            raise KeyboardInterrupt
        return self._status


def carry_out(folder: Path, runner: Runner, *, fresh: bool = True) -> None:
    steps: list[Step] = [
        Write(folder / "relayd.service", "text"),
        RunCommand(("enable",)),
        RunCommand(("start",)),
    ]
    undo: list[Step] = [RunCommand(("disable",)), Remove(folder / "relayd.service")]
    carry_out_or_undo(steps, (lambda: undo) if fresh else None, runner, lambda _: None)


def test_every_step_is_carried_out(tmp_path: Path) -> None:
    runner = Runner("")
    carry_out(tmp_path, runner)

    assert ["enable", "start"] == runner.ran
    assert (tmp_path / "relayd.service").exists()


@pytest.mark.parametrize(("status", "ends"), [(1, StateError), (None, KeyboardInterrupt)])
@pytest.mark.parametrize("at", ["enable", "start"])
def test_a_failure_and_ctrl_c_take_back_what_was_done(
    tmp_path: Path, at: str, status: int | None, ends: type[BaseException]
) -> None:
    runner = Runner(at, status)
    with pytest.raises(ends):
        carry_out(tmp_path, runner)

    assert "disable" == runner.ran[-1]
    assert not (tmp_path / "relayd.service").exists()


def test_what_was_installed_before_stays(tmp_path: Path) -> None:
    with pytest.raises(StateError):
        carry_out(tmp_path, Runner("start"), fresh=False)

    assert (tmp_path / "relayd.service").exists()
