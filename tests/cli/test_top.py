"""Do the keys of `relayd top` choose, ask before they end something, and do what they say?"""

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest

from relayd.cli.support.keyboard import key_of
from relayd.cli.top import TopScreen
from relayd.daemon.livereport import LiveReport
from relayd.daemon.report import ModelReport, ReplicaReport, StatusReport
from relayd.errors import DaemonError
from tests.daemons import DEADLINE_SECONDS

if TYPE_CHECKING:
    from relayd.client.control import Client

pytestmark = pytest.mark.fake  # what is commanded is looked at, and no daemon has to take time for it

REPORT = LiveReport(
    StatusReport(
        models=(
            ModelReport("a", replicas=(ReplicaReport("a#0", "ready"), ReplicaReport("a#1", "ready"))),
            ModelReport("b", replicas=(ReplicaReport("b#0", "cold"),)),
        )
    )
)


@dataclass
class Commanded:
    """Notes what is commanded, and fails where it should."""

    done: list[tuple[str, str]] = field(default_factory=list)
    fails: bool = False
    came: threading.Event = field(default_factory=threading.Event)

    def __getattr__(self, verb: str) -> Any:
        def work(target: str) -> None:
            self.done.append((verb, target))
            self.came.set()
            if self.fails:
                raise DaemonError("no room")

        return work


def screen(commanded: Commanded) -> TopScreen:
    made = TopScreen(cast("Client", commanded), REPORT)
    made.press("k")
    return made


def after(commanded: Commanded, *keys: str) -> TopScreen:
    made = screen(commanded)
    for key in keys:
        assert made.press(key)
    return made


def test_arrows_choose_and_stay_within_the_list() -> None:
    chosen = [after(Commanded(), *keys).view().selected for keys in (["up"], ["down"], ["j"] * 9)]

    assert ["a#0", "a#1", "b#0"] == chosen


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["L"], ("load", "a")), (["S"], ("start", "a#0")), (["U", "y"], ("unload", "a")),
        (["R", "y"], ("restart", "a#0")), (["j", "D", "enter"], ("drain", "a#1")),
    ],
)  # fmt: skip
def test_keys_do_what_their_commands_do(keys: list[str], expected: tuple[str, str]) -> None:
    commanded = Commanded()
    after(commanded, *keys)

    assert commanded.came.wait(DEADLINE_SECONDS)
    assert [expected] == commanded.done


@pytest.mark.parametrize("key", ["U", "R", "D"])
def test_what_ends_something_asks_first(key: str) -> None:
    commanded = Commanded()
    asking = after(commanded, key)
    assert "[y/N]" in asking.view().message
    asking.press("n")

    assert ([], "") == (commanded.done, asking.view().message)


def test_a_filter_is_typed_and_taken_back() -> None:
    typed = after(Commanded(), "/", "b", "q", "backspace", "enter")
    assert ("b", False, "b#0") == (typed.view().filter, typed.view().typing, typed.view().selected)
    typed.press("escape")

    assert "" == typed.view().filter


def test_pages_are_left_by_escape_and_the_screen_by_q() -> None:
    opened = after(Commanded(), "?")
    assert "help" == opened.view().page
    opened.press("escape")

    assert "fleet" == opened.view().page
    assert not opened.press("q")


def test_keys_of_terminals_have_names() -> None:
    assert ["up", "down", "enter", "escape", "q", "interrupt"] == [
        key_of(text) for text in ("\x1b[A", "\x1bOB", "\r", "\x1b", "q", "\x03")
    ]
