import io
from collections.abc import Sequence
from typing import Any

import pytest

from relayd.cli.chat import chat, describe, question_of
from relayd.cli.support.screen import figures
from relayd.client.chat import Message, Turn
from relayd.daemon.report import ModelReport, StatusReport
from relayd.errors import UsageError

pytestmark = pytest.mark.fake

TURN = Turn("said", "m#0", 0.0, 0.1, 0.2, 3, 9, 0.0, 52, 38.04)


class Model:
    """Answers, and keeps what it was sent."""

    def __init__(self) -> None:
        self.sent: list[list[str]] = []

    def ask(self, model: str, messages: Sequence[Message], **options: Any) -> Turn:
        self.sent.append([str(message["content"]) for message in messages])
        options["on_thought"]("thinking")
        options["on_text"]("\x1b[2Jsaid")
        return TURN


def asked(monkeypatch: pytest.MonkeyPatch, server: Model, piped: str, **options: Any) -> None:
    """Type a command; what it is given are the names of the function's arguments."""
    report = StatusReport(models=(ModelReport("m"),))
    monkeypatch.setattr("relayd.cli.chat.open_conversation", lambda _: (server, report))
    monkeypatch.setattr("sys.stdin", io.StringIO(piped))
    defaults: dict[str, Any] = {"system": None, "max_tokens": None, "verbose": False, "as_json": False}
    chat(**{"model": None, "prompt": None, "message": None, **defaults, **options})


def test_an_answer_cannot_command_the_terminal_and_thoughts_are_for_people(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked(monkeypatch, Model(), "", message="hi")
    shown = capsys.readouterr()

    assert "said\n" == shown.out
    assert "52 tokens, 38/s, first word 0.1 s\n" == shown.err


def test_what_is_piped_in_follows_what_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model()
    asked(monkeypatch, model, "a long text\n", model="m", prompt=["sum", "up"], system="be kind")
    asked(monkeypatch, model, "one\ntwo\n", model="m")

    assert [["be kind", "sum up\n\na long text"], ["one\ntwo"]] == model.sent


def test_without_a_prompt_and_a_terminal_there_is_nothing_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))

    with pytest.raises(UsageError, match="there is no prompt"):
        question_of(())


@pytest.mark.parametrize(
    ("turn", "shown"),
    [
        (TURN, "52 tokens, 38/s, first word 0.1 s"),
        (Turn("a", "", 0, 0.007, 1, 1, 0, 0, 1, 6653.6), "1 token, 6654/s, first word 7 ms"),
        (Turn("a", "", 0, 12.34, 1, 1, 0, 0, 9, 3.14), "9 tokens, 3.1/s, first word 12.3 s"),
        (Turn("a", "", 0, 0.5, 1, 1, 0, 0, 9, 0.0), "9 tokens, first word 0.5 s"),
    ],
)
def test_figures_are_short(turn: Turn, shown: str) -> None:
    assert shown == figures(turn)


def test_the_rest_is_for_who_asks() -> None:
    assert (
        "[m#0 on cpu: queued 0 ms, first word after 100 ms, prompt 3 tokens read and 9 cached, "
        "answer 52 tokens, 38.0 tokens/s]"
    ) == describe(TURN, ["cpu"])


def test_json_is_for_one_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]  # a terminal, as far as is asked
    monkeypatch.setattr("sys.stdin", terminal)

    with pytest.raises(UsageError, match="--json is for one answer"):
        chat(as_json=True)
