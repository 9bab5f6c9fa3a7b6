import io
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from relayd.cli.chat import chat
from relayd.client.chat import Message, Turn
from relayd.daemon.report import ModelReport, StatusReport
from relayd.errors import NoDaemonError, UpstreamError

pytestmark = pytest.mark.fake


class Model:
    """Answers with how many messages it was sent, or fails as it is told."""

    def __init__(self, *failures: BaseException | None) -> None:
        self.heard: list[list[str]] = []
        self._failures: Iterator[BaseException | None] = iter(failures)

    def ask(self, model: str, messages: Sequence[Message], **options: Any) -> Turn:
        self.heard.append([message["content"] for message in messages])
        if failure := next(self._failures, None):
            raise failure
        options["on_text"]("\x1b[2Jsaid")
        return Turn("said", "m#0", 0.0, 0.1, 0.2, 3, 0, 0.0, 1, 9.0)


def converse(monkeypatch: pytest.MonkeyPatch, model: Model, typed: str, **options: Any) -> None:
    monkeypatch.setattr(
        "relayd.cli.chat.open_conversation",
        lambda: (model, StatusReport(models=(ModelReport("m"),))),
    )
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    chat(**{"model": None, "message": None, "system": None, "max_tokens": None, "as_json": False, **options})


@pytest.mark.parametrize("failure", [UpstreamError("it broke off"), KeyboardInterrupt()])
def test_what_failed_or_was_cut_short_is_no_part_of_the_conversation(
    failure: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model(None, failure)
    converse(monkeypatch, model, "one\ntwo\nthree\n\nnever", system="be kind")
    assert [
        ["be kind", "one"],
        ["be kind", "one", "said", "two"],
        ["be kind", "one", "said", "three"],
    ] == model.heard


def test_a_daemon_that_is_gone_ends_the_conversation(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoDaemonError):
        converse(monkeypatch, Model(NoDaemonError("nobody listens there")), "one\ntwo\n")


def test_an_answer_cannot_command_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    converse(monkeypatch, Model(), "", message="hi")
    shown = capsys.readouterr()
    assert "\x1b" not in shown.out
    assert "[m#0: queued 0 ms, first word after 100 ms, prompt 3, answer 1 tokens, 9.0 tokens/s]" in shown.err
