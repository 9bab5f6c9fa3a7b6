from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from relayd.cli.support.talk import HELP, Talk, pictures_in, transcript
from relayd.client.chat import Conversation, Turn
from relayd.errors import ModelNotFoundError, UpstreamError

pytestmark = pytest.mark.fake


class Model:
    """Answers with a number, or fails as the test wants; a conversation and a screen in one."""

    def __init__(self, *failures: BaseException | None, sees: bool = False) -> None:
        self.sent: list[list[Any]] = []
        self.notes: list[str] = []
        self._failures: Iterator[BaseException | None] = iter(failures)
        self._sees = sees

    def capabilities(self, _: str) -> frozenset[str]:
        return frozenset({"vision"} if self._sees else ())

    def ask(self, talk: Talk) -> Turn:
        self.sent.append([talk.model, *(one["content"] for one in talk.sent)])
        if failure := next(self._failures, None):
            raise failure
        return Turn(f"answer {len(self.sent)}", "m#0", 0.0, 0.1, 0.2, 3, 0, 0.0, 1, 9.0)


def talk_with(model: Model, lines: Sequence[str]) -> Talk:
    def named(name: str) -> str:
        if name != "other":
            raise ModelNotFoundError("there is no such model", remedy="Name other.")
        return name

    talk = Talk(cast("Conversation", model), "m", named, model.notes.append, model.ask)
    for line in lines:
        try:
            if not talk.take(line):
                break
        except (KeyboardInterrupt, UpstreamError):
            model.notes.append("failed")
    return talk


@pytest.mark.parametrize("failure", [UpstreamError("it broke off"), KeyboardInterrupt()])
def test_what_failed_or_was_cut_short_is_no_part_of_the_conversation(failure: BaseException) -> None:
    model = Model(None, failure)
    talk_with(model, ["/system be kind", "one", "two", "three", "/bye", "never"])

    assert [
        ["m", "be kind", "one"],
        ["m", "be kind", "one", "answer 1", "two"],
        ["m", "be kind", "one", "answer 1", "three"],
    ] == model.sent


@pytest.mark.parametrize("word", ["/bye", "/exit", "/quit"])
def test_a_conversation_is_left_by_a_word(word: str) -> None:
    model = Model()
    talk_with(model, [word, "never"])

    assert [] == model.sent


def test_a_question_is_answered_again_and_the_conversation_forgotten() -> None:
    model = Model(None, None, UpstreamError("it broke off"))
    talk = talk_with(model, ["/retry", "one", "/retry", "/retry", "/clear", "two"])

    assert [["m", "one"], ["m", "one"], ["m", "one"], ["m", "two"]] == model.sent
    assert "There is no question to answer again." == model.notes[0]
    assert ["two", "answer 4"] == [one["content"] for one in talk.messages]


def test_a_retry_that_failed_leaves_the_answer_there_was() -> None:
    talk = talk_with(Model(None, KeyboardInterrupt()), ["one", "/retry"])

    assert ["one", "answer 1"] == [one["content"] for one in talk.messages]


def test_another_model_goes_on_with_the_conversation() -> None:
    model = Model()
    talk_with(model, ["one", "/model nothing", "/model other", "two", "/model"])

    assert ["other", "one", "answer 1", "two"] == model.sent[1]
    assert [
        "there is no such model. Name other.",
        "The model is other.",
        "The model is other.",
    ] == model.notes


def test_help_names_every_command_and_what_is_no_command_says_so() -> None:
    model = Model()
    talk_with(model, ["/help", "/?", "/", "/nonsense", "/etc/hosts is what?"])

    assert [HELP, HELP, HELP, "/nonsense is not a command. /help lists them."] == model.notes
    assert [["m", "/etc/hosts is what?"]] == model.sent
    assert all(f"/{word}" in HELP for word in ("help", "bye", "clear", "system", "model", "retry", "save"))


def test_a_conversation_is_saved_as_markdown(tmp_path: Path) -> None:
    model, path = Model(), tmp_path / "talk.md"
    talk = talk_with(model, ["/system be kind", "one", f"/save {path}", "/save", "/save /nowhere/x.md"])

    assert "## Instructions\n\nbe kind\n\n## Question\n\none\n\n## m\n\nanswer 1\n" == path.read_text()
    assert path.read_text() == transcript("m", talk.sent)
    assert ["Write /save FILE.", "/nowhere/x.md cannot be written"] == [
        one.partition(":")[0] for one in model.notes[2:]
    ]


def test_a_picture_is_shown_to_a_model_that_sees_and_named_to_one_that_does_not(tmp_path: Path) -> None:
    picture = tmp_path / "a cat.PNG"
    picture.write_bytes(b"\x89PNG")
    sees, blind = Model(sees=True), Model()
    words = f'what is on "{picture}" and ./missing.jpg?'
    talk_with(sees, [words])
    talk_with(blind, [words])

    text, image = sees.sent[0][1]
    assert {"type": "text", "text": words} == text
    assert "data:image/png;base64,iVBORw==" == image["image_url"]["url"]
    assert [["m", words]] == blind.sent
    assert ["m does not see pictures: a cat.PNG is sent as text."] == blind.notes
    assert [picture] == pictures_in(words)
