"""Can a name from outside command a terminal, or pass for a part of relayd's own page?"""

import pytest
from rich.console import Group, RenderableType
from rich.text import Text

from relayd.cli.support.terminal import show
from relayd.daemon.keyreport import KeyReport, UsageReport
from relayd.daemon.report import EngineReport, ModelReport, ReplicaReport, StatusReport
from relayd.rights import UsageRow
from relayd.ui import models as models_ui
from relayd.ui.doctor import findings_lines
from relayd.ui.keys import key_page, keys_table, usage_table
from relayd.ui.status import render_status

pytestmark = pytest.mark.system

NAMES = ("[/x]", "[link=file:///x]y[/link]", "[bold red]z")
COMMANDS = "\x1b]0;owned\x07a\x1b[2Jb\u202ec\x9b1Ad\x1b]8;;http://x\x1b\\e"
"""A title, a cleared screen, text from right to left, a moved cursor, a link."""


def keys(name: str) -> RenderableType:
    return keys_table([KeyReport("key_1", name, name, "ab", "active", ("inference",), 0.0, (name,))], 1.0)


def one_key(name: str) -> RenderableType:
    return key_page(KeyReport("key_1", name, name, "ab", "active", ("inference",), 0.0, (name,), name))


def usage(name: str) -> RenderableType:
    row = UsageRow(day="2026-11-30", key="key_1", model=name, requests=1)
    return usage_table(UsageReport((row,), {"key_1": name}))


def status(name: str) -> RenderableType:
    replica = ReplicaReport(f"{name}#0", "ready", pid=7, reason=name)
    model = ModelReport(name, (name,), file=name, replicas=(replica,))
    return render_status(
        StatusReport(version=name, engine=EngineReport(name, name), models=(model,), warnings=(name,)), 9.0
    )


def findings(name: str) -> RenderableType:
    return Group(*findings_lines([("problem", name, name, name)], 120))


def verdicts(name: str) -> RenderableType:
    return models_ui.verdicts_table([(name, "ok", (name,))])


PAGES = [keys, one_key, usage, status, findings, verdicts]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("name", NAMES)
def test_r51_a_name_that_looks_like_markup_is_shown_as_it_is(
    capsys: pytest.CaptureFixture[str], page: object, name: str
) -> None:
    assert callable(page)

    show(page(name))

    assert name in capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES)
def test_r50_r51_a_name_that_commands_a_terminal_is_shown_without_its_commands(
    capsys: pytest.CaptureFixture[str], page: object
) -> None:
    assert callable(page)

    show(page(COMMANDS))

    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(capsys.readouterr().out)


def test_colours_of_relayds_own_stay_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")

    show(Text.assemble(("red", "red"), f" {COMMANDS}"))

    shown = capsys.readouterr().out
    assert "\x1b[31mred\x1b[0m" in shown
    assert not {"\x07", "\x9b", "\u202e"} & set(shown)
    assert "\x1b[2J" not in shown
    assert "\x1b]" not in shown
