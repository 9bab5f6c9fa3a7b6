"""What does a request cost whose answer does not name all of its tokens?"""

import json

import pytest

from relayd.router import Call
from relayd.router.continuation import AnswerForm
from relayd.router.estimate import SeveralTap, estimated
from relayd.router.kept import MOST_KEPT, KeptAnswer
from relayd.router.prefill import PromptProgress, progress_in
from relayd.router.usage import CountingTap, Tap
from relayd.scheduler import Usage
from tests.fakes.replica import chunk

pytestmark = pytest.mark.pure

LONG = b'{"prompt":"%b"}' % (b"a" * 40_000)
PROGRESS = PromptProgress(total=900, cached=100, processed=612, ms=40)


@pytest.mark.parametrize(
    ("call", "progress", "events", "expected"),
    [
        (Call("/", b"x" * 400, stream=True), None, 20, Usage(100, 0, 20)),
        (Call("/", b"x" * 400), None, 0, Usage(100, 0, 0)),
        (Call("/", LONG, stream=True, hides_progress=True), PROGRESS, 20, Usage(900, 100, 20)),
        (Call("/", LONG, stream=True, hides_progress=True), PROGRESS, 0, Usage(612, 100, 0)),
        (Call("/", LONG, stream=True, hides_progress=True), None, 0, Usage(2048, 0, 0)),
        (Call("/", LONG, stream=True), None, 3, Usage(10_003, 0, 3)),
        (Call("/", LONG, content_type="multipart/form-data"), None, 0, Usage()),
    ],
    ids=["short", "plain", "left in the answer", "left in prefill", "left at once", "no progress", "sound"],
)
def test_an_answer_that_was_left_costs_its_prompt_and_what_came_of_it(
    call: Call, progress: PromptProgress | None, events: int, expected: Usage
) -> None:
    assert expected == estimated(call, progress, events)


def test_progress_is_read_from_the_engines_own_form_alone() -> None:
    event = b'data: {"prompt_progress":{"total":9,"cache":1,"processed":4,"time_ms":5}}\n\n'

    assert PromptProgress(9, 1, 4, 5) == progress_in(event)
    assert progress_in(b'data: {"content":"\\"prompt_progress\\":{\\"total\\":9"}') is None


@pytest.mark.parametrize("tap", [CountingTap(), KeptAnswer(AnswerForm.NATIVE)], ids=["counted", "kept"])
@pytest.mark.parametrize("events", [1, 7, 5000])
def test_what_was_seen_of_a_stream_is_counted(tap: Tap, events: int) -> None:
    before = tap.events
    for _ in range(events):
        tap.add(chunk(b'data: {"content":"a"}\n\n'))

    assert events == tap.events - before


@pytest.mark.parametrize("pieces", [1, MOST_KEPT, MOST_KEPT + 1, 40, 5000])
def test_a_kept_answer_is_whole_however_its_pieces_were_joined(pieces: int) -> None:
    kept = KeptAnswer(AnswerForm.NATIVE)
    for number in range(pieces):
        kept.add(chunk(b'data: {"content":"%d "}\n\n' % number))

    assert kept.first.startswith(chunk(b'data: {"content":"0 "}\n\n'))
    assert kept.ends_with(chunk(b'data: {"content":"%d "}\n\n' % (pieces - 1)))
    assert "".join(f"{number} " for number in range(pieces)) == kept.broken().text
    assert pieces == kept.events


def test_of_a_plain_answer_there_are_no_events() -> None:
    tap = Tap()
    tap.add(b'{"content":"a"}')

    assert 0 == tap.events


def several(body: object, whole: object, cut: int = 5) -> Usage | None:
    raw, tap = json.dumps(whole).encode(), SeveralTap(Call("/", json.dumps(body).encode()))
    tap.add(raw[:cut])
    tap.add(raw[cut:])
    return tap.usage()


def text_answer(*texts: str, prompt: int = 10, completion: int = 4) -> dict[str, object]:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion}
    return {"choices": [{"text": text} for text in texts], "usage": usage}


def chat_answer(*texts: str) -> dict[str, object]:
    usage = {"prompt_tokens": 10, "completion_tokens": 4}
    return {"choices": [{"message": {"content": text}} for text in texts], "usage": usage}


def test_choices_cost_what_each_of_them_is_long() -> None:
    assert Usage(30, 0, 16) == several({"messages": [], "n": 3}, chat_answer("abcd", "abcdefgh", "abcd"))
    assert Usage(20, 0, 8) == several({"prompt": "a", "n": 2}, text_answer("abcd", "abcd"))


def test_prompts_cost_what_each_of_them_is_long() -> None:
    assert Usage(40, 0, 12) == several({"prompt": ["a", "aaa"]}, text_answer("ab", "abcd"))
    assert Usage(80, 0, 16) == several({"prompt": ["a", "aaa"], "n": 2}, text_answer("ab", "ab", "ab", "ab"))
    assert Usage(40, 0, 12) == several({"prompt": [[1], [1, 2, 3]]}, text_answer("ab", "abcd"))


def test_a_first_choice_without_a_word_makes_the_others_not_free() -> None:
    found = several({"prompt": "a", "n": 2}, text_answer("", "a" * 400, completion=1))

    assert Usage(20, 0, 101) == found


def test_reasoning_and_calls_of_tools_count_as_text_does() -> None:
    message = {"content": None, "reasoning_content": "ab", "tool_calls": [{"function": {"name": "f"}}]}
    choices = [{"message": {"content": "ab"}}, {"message": message}]

    found = several({"messages": [], "n": 2}, {**chat_answer(), "choices": choices})

    assert found is not None
    assert found.completion_tokens > 8


def test_a_list_of_answers_costs_what_each_states() -> None:
    def one(prompt: int, cached: int, written: int) -> dict[str, object]:
        return {
            "content": "x" * 9000,
            "timings": {"cache_n": cached, "prompt_n": prompt, "predicted_n": written},
        }

    assert Usage(18, 3, 300) == several({"prompt": ["a", "b"]}, [one(5, 1, 100), one(10, 2, 200)], 4321)


def test_what_is_no_answer_costs_nothing_that_it_names() -> None:
    assert several({"prompt": ["a", "b"]}, {"error": {"code": 500}}) is None
    assert several({"prompt": ["a", "b"]}, []) is None
