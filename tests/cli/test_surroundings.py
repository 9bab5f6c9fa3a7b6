"""Commands end well, or with a message, whatever is missing around them."""

import json
import subprocess
import sys

import pytest

from tests.cli.odd import SURROUNDINGS
from tests.daemons import DEADLINE_SECONDS

pytestmark = pytest.mark.system

COMMANDS = {
    "version": 0,
    "--help": 0,
    "plan": 0,
    "models list": 0,
    "catalog list": 0,
    "service show --user": 0,
    "status": 3,
    "serve no-such-model": 2,
    "plan --no-such-flag": 2,
}
"""Exit status where nothing is missing."""

Ended = dict[str, tuple[int, str, str]]


@pytest.fixture(scope="module")
def ended() -> dict[str, Ended]:
    """How each command ended in all surroundings."""
    command = [sys.executable, "-m", "tests.cli.odd", *COMMANDS]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=DEADLINE_SECONDS)
    return {name: dict(results) for name, results in json.loads(done.stdout).items()}


@pytest.mark.parametrize("surroundings", SURROUNDINGS)
def test_no_command_ends_with_a_traceback(ended: dict[str, Ended], surroundings: str) -> None:
    assert {} == {
        command: errors
        for command, (_, _, errors) in ended[surroundings].items()
        if "Traceback" in errors or "Exception ignored" in errors
    }


@pytest.mark.parametrize("surroundings", ["plain", "closed", "all closed", "errors full", "no home"])
def test_what_is_not_needed_may_be_missing(ended: dict[str, Ended], surroundings: str) -> None:
    assert COMMANDS == {command: status for command, (status, _, _) in ended[surroundings].items()}


def test_output_that_cannot_be_written_is_an_error_and_a_closed_pipe_is_none(ended: dict[str, Ended]) -> None:
    prints = [command for command, status in COMMANDS.items() if status == 0]

    full, closed = ({line: tuple(ended[name][line][::2]) for line in prints} for name in ("full", "pipe"))
    assert dict.fromkeys(prints, (1, "relayd: standard output: No space left on device\n")) == full
    assert dict.fromkeys(prints, (0, "")) == closed


def test_a_deleted_working_folder_is_named_and_nothing_else_changes(ended: dict[str, Ended]) -> None:
    deleted = ended["deleted folder"]

    assert COMMANDS == {command: status for command, (status, _, _) in deleted.items()}
    assert {True} == {errors.startswith("relayd: the working folder ") for _, _, errors in deleted.values()}


def test_a_user_without_a_home_and_without_paths_learns_what_to_set(ended: dict[str, Ended]) -> None:
    lost = {
        command: errors
        for command, (status, _, errors) in ended["no home, no paths"].items()
        if (status, command) != (0, command) and "no-such" not in command
    }

    assert {"plan", "models list", "catalog list", "service show --user", "status"} == set(lost)
    assert {True} == {"has no home folder" in errors and "Set HOME" in errors for errors in lost.values()}
