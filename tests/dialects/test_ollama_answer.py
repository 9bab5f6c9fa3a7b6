"""How is an answer written for Ollama's clients, member by member?"""

import json
from typing import Any

import pytest

from relayd.clock import SystemClock
from relayd.dialects.ollama_answer import Form, OllamaLines
from relayd.dialects.ollama_loaded import loaded
from relayd.dialects.ollama_vectors import OllamaVectors
from relayd.errors import UpstreamError
from tests.dialects.engine import CHAT_CALL, CHAT_THOUGHT, chat_text, chat_whole

pytestmark = pytest.mark.pure

FIGURES = {
    "total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count",
    "eval_duration",
}  # fmt: skip


def _lines(payload: bytes, form: Form = "chat", size: int = 0) -> list[dict[str, Any]]:
    written = OllamaLines(form, "m:latest", SystemClock(), stream=True)
    pieces = [payload[at : at + size] for at in range(0, len(payload), size)] if size else [payload]
    out = b"".join(written.feed(piece) for piece in pieces) + written.end()
    assert out.endswith(b"\n")
    return [json.loads(line) for line in out.splitlines()]


def _whole(payload: bytes, form: Form = "chat") -> dict[str, Any]:
    written = OllamaLines(form, "m", SystemClock(), stream=False)
    assert b"" == written.feed(payload)
    return dict(json.loads(written.end()))


@pytest.mark.parametrize("size", [0, 1, 7, 100])
def test_a_stream_is_the_same_in_whatever_pieces_it_comes(size: int) -> None:
    lines = _lines(chat_text("Hel", "lo"), size=size)

    assert "Hello" == "".join(line["message"]["content"] for line in lines)
    assert [False] * (len(lines) - 1) + [True] == [line["done"] for line in lines]
    assert all("m:latest" == line["model"] and line["created_at"].endswith("Z") for line in lines)
    assert all("assistant" == line["message"]["role"] for line in lines)


def test_what_arrives_together_is_one_line() -> None:
    assert 2 == len(_lines(chat_text("a", "b", "c")))


def test_the_last_line_has_figures_and_none_is_zero() -> None:
    last = _lines(chat_text("a"))[-1]

    assert "stop" == last["done_reason"]
    assert all(isinstance(last[name], int) and last[name] > 0 for name in FIGURES)
    assert (26, 8) == (last["prompt_eval_count"], last["eval_count"])


def test_an_answer_that_was_cut_has_its_length_as_the_reason() -> None:
    assert "length" == _lines(chat_text("a", reason="length"))[-1]["done_reason"]


def test_thinking_is_apart_from_the_text() -> None:
    message = _lines(CHAT_THOUGHT)[0]["message"]

    assert ("I am thinking", "All done") == (message["thinking"], message["content"])


@pytest.mark.parametrize("size", [0, 5])
def test_a_call_is_whole_in_a_line_that_is_not_the_last(size: int) -> None:
    lines = _lines(CHAT_CALL, size=size)

    (line,) = [line for line in lines if "tool_calls" in line["message"]]
    (call,) = line["message"]["tool_calls"]
    assert {"index": 0, "name": "get_weather", "arguments": {"city": "Paris"}} == call["function"]
    assert not line["done"]
    assert "stop" == lines[-1]["done_reason"]


def test_a_comment_of_the_engine_becomes_an_empty_line_of_an_answer() -> None:
    written = OllamaLines("chat", "m", SystemClock(), stream=True)

    line = json.loads(written.feed(b":\n\n"))

    assert ("", False) == (line["message"]["content"], line["done"])


def test_an_error_within_a_stream_is_a_line() -> None:
    assert [{"error": "too long"}] == _lines(b'data: {"error":{"message":"too long","type":"x"}}\n\n')


def test_a_stream_that_is_cut_off_is_an_error() -> None:
    written = OllamaLines("chat", "m", SystemClock(), stream=True)
    written.feed(chat_text("a").partition(b"data: [DONE]")[0])

    with pytest.raises(UpstreamError):
        written.end()


def test_a_whole_answer_has_everything() -> None:
    answer = _whole(chat_whole(text="Hi", reasoning="hm", arguments='{"a":1}', reason="length"))

    assert ("Hi", "hm") == (answer["message"]["content"], answer["message"]["thinking"])
    assert {"a": 1} == answer["message"]["tool_calls"][0]["function"]["arguments"]
    assert (True, "length", 7, 3) == (
        answer["done"], answer["done_reason"], answer["prompt_eval_count"], answer["eval_count"]
    )  # fmt: skip


def test_arguments_that_were_cut_off_are_an_empty_object() -> None:
    answer = _whole(chat_whole(text="", arguments='{"a":'))

    assert {} == answer["message"]["tool_calls"][0]["function"]["arguments"]


def test_a_text_is_a_response() -> None:
    answer = _whole(chat_whole(text="Hi", reasoning="hm"), "generate")

    assert ("Hi", "hm") == (answer["response"], answer["thinking"])
    assert "message" not in answer


def test_a_completion_of_the_engines_own_form_is_read_too() -> None:
    events = (
        b'data: {"content":"a","stop":false}\n\n'
        b'data: {"content":"","stop":true,"stop_type":"limit","tokens_evaluated":5,"tokens_predicted":2,'
        b'"timings":{"prompt_ms":1.5,"predicted_ms":2.5}}\n\n'
    )

    *texts, last = _lines(events, "generate")

    assert "a" == "".join(line["response"] for line in texts)
    assert ("length", 5, 2) == (last["done_reason"], last["prompt_eval_count"], last["eval_count"])
    assert (1_500_000, 2_500_000) == (last["prompt_eval_duration"], last["eval_duration"])


def test_probabilities_are_written() -> None:
    token = {
        "id": 1,
        "token": "a",
        "logprob": -0.5,
        "bytes": [97],
        "top_logprobs": [{"token": "b", "logprob": -1}],
    }
    choice = {
        "index": 0,
        "message": {"content": "a"},
        "logprobs": {"content": [token]},
        "finish_reason": "stop",
    }

    answer = _whole(json.dumps({"choices": [choice]}).encode())

    likely = [{"token": "b", "logprob": -1}]
    assert [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": likely}] == answer["logprobs"]


@pytest.mark.parametrize("payload", [b"", b"{", b"[]"])
def test_an_answer_that_cannot_be_read_is_an_error(payload: bytes) -> None:
    with pytest.raises(UpstreamError):
        _whole(payload)


def test_vectors_are_listed_in_order() -> None:
    written = OllamaVectors("m", SystemClock())
    written.feed(b'{"data":[{"embedding":[1.0,2.0]},{"embedding":[3.0,4.0]}],"usage":{"prompt_tokens":6}}')

    answer = json.loads(written.end())

    assert ([[1.0, 2.0], [3.0, 4.0]], 6) == (answer["embeddings"], answer["prompt_eval_count"])
    assert answer["total_duration"] > 0
    assert answer["load_duration"] > 0


def test_the_older_path_answers_one_vector() -> None:
    written = OllamaVectors("m", SystemClock(), single=True)
    written.feed(b'{"data":[{"embedding":[1.0]}]}')

    assert {"embedding": [1.0]} == json.loads(written.end())


@pytest.mark.parametrize(("form", "member"), [("chat", "message"), ("generate", "response")])
def test_a_model_that_was_only_loaded_is_a_whole_answer(form: Form, member: str) -> None:
    answer = json.loads(loaded(form, "m", "load", 0.0, stream=True).end())

    assert ("load", True) == (answer["done_reason"], answer["done"])
    assert member in answer
