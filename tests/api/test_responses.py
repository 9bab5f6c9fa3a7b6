"""Does the responses API reach the engine's chat, and are responses kept for whom made them?"""

import json
from collections.abc import Iterable
from typing import Any

import pytest

from relayd.api.admission import Route
from relayd.api.inference import Inference
from relayd.api.kept import KEPT_SECONDS, MOST_KEPT, MOST_KEPT_BYTES, KeptResponses
from relayd.api.responses import responses_routes
from relayd.clock import SystemClock
from relayd.scheduler import Refusal
from tests.api.conftest import KEY, Doors, Response
from tests.api.stage import Stage, get, post
from tests.dialects.engine import CHAT_THOUGHT, chat_whole
from tests.fakes.replica import LAST_CHUNK, SSE_HEAD, Then, act, chunk, json_answer

pytestmark = pytest.mark.system


class HourClock(SystemClock):
    """A clock that can be put forward."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


WHOLE = act(json_answer(chat_whole(text="x")))
STREAM = act(SSE_HEAD + chunk(CHAT_THOUGHT) + LAST_CHUNK)


class KeptStage(Stage):
    """A stage whose responses are kept from one request to the next."""

    def __post_init__(self) -> None:
        super().__post_init__()
        kept = KeptResponses(SystemClock())

        def routes(inference: Inference) -> Iterable[Route]:
            return responses_routes(inference, kept, SystemClock())

        self.routes = routes


def ask(doors: Doors, here: Stage, path: str = "/v1/responses", **members: object) -> Response:
    return here.ask(doors, post({"model": "qwen", "input": "hi", **members}, path))


@pytest.mark.parametrize("path", ["/v1/responses", "/responses"])
def test_a_response_is_a_chat_of_the_engine(doors: Doors, path: str) -> None:
    here = KeptStage(script=WHOLE)

    response = json.loads(ask(doors, here, path).body)

    assert "/v1/chat/completions" == here.sent_to
    assert {"model": "qwen", "messages": [{"role": "user", "content": "hi"}]} == here.sent
    assert ("response", "completed", "qwen") == (response["object"], response["status"], response["model"])
    assert here.exchange.usage is not None


def test_a_stream_ends_with_the_whole_response(doors: Doors) -> None:
    answer = ask(doors, KeptStage(script=STREAM), stream=True)

    assert "text/event-stream" == answer.headers["content-type"]
    assert answer.body.startswith(b"event: response.created\n")
    last = json.loads(answer.body.rstrip().rpartition(b"data: ")[2])
    assert ("response.completed", "All done") == (
        last["type"],
        last["response"]["output"][1]["content"][0]["text"],
    )


def test_a_stream_that_breaks_ends_with_a_failed_response(doors: Doors) -> None:
    begun = CHAT_THOUGHT[: CHAT_THOUGHT.index(b"data: [DONE]")]

    answer = ask(doors, KeptStage(script=act(SSE_HEAD + chunk(begun), then=Then.CLOSE)), stream=True)

    last = json.loads(answer.body.rstrip().rpartition(b"data: ")[2])
    assert ("response.failed", "upstream_failed") == (last["type"], last["response"]["error"]["code"])


def test_a_conversation_is_continued_by_the_id_of_its_last_response(doors: Doors) -> None:
    here = KeptStage(script=WHOLE)
    first = json.loads(ask(doors, here).body)
    second = json.loads(ask(doors, here, input="again", previous_response_id=first["id"]).body)

    ask(doors, here, input="more", previous_response_id=second["id"], instructions="brief")

    assert [
        ("system", "brief"), ("user", "hi"), ("assistant", "x"), ("user", "again"), ("assistant", "x"),
        ("user", "more"),
    ] == [(one["role"], one["content"]) for one in here.sent["messages"]]  # fmt: skip
    assert first["id"] == second["previous_response_id"]


def test_an_item_is_referred_to_by_its_id(doors: Doors) -> None:
    here = KeptStage(script=WHOLE)
    item = json.loads(ask(doors, here).body)["output"][0]

    ask(doors, here, input=[{"type": "item_reference", "id": item["id"]}])

    assert {"model": "qwen", "messages": [{"role": "assistant", "content": "x"}]} == here.sent


def test_what_is_kept_can_be_read_and_deleted(doors: Doors) -> None:
    here = KeptStage(script=WHOLE)
    response = json.loads(ask(doors, here).body)
    path = f"/v1/responses/{response['id']}"

    assert response == json.loads(here.ask(doors, get(path)).body)
    assert [{"role": "user", "content": "hi"}] == json.loads(
        here.ask(doors, get(f"{path}/input_items")).body
    )["data"]
    assert 404 == here.ask(doors, get(f"{path}/other")).status
    assert json.loads(here.ask(doors, get(path).replace(b"GET", b"DELETE")).body)["deleted"]
    assert 404 == here.ask(doors, get(path)).status
    assert 400 == ask(doors, here, previous_response_id=response["id"]).status


def test_what_is_not_to_be_kept_is_not(doors: Doors) -> None:
    here = KeptStage(script=WHOLE)
    response = json.loads(ask(doors, here, store=False).body)

    assert 404 == here.ask(doors, get(f"/v1/responses/{response['id']}")).status


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"background": True}, "background"),
        ({"conversation": "c"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"previous_response_id": "resp_gone"}, "previous_response_id"),
        ({"input": 7}, "input"),
        ({"text": {"format": {"type": "x"}}}, "text"),
        ({"tool_choice": {"type": "function", "name": "f"}}, "tool_choice"),
    ],
)
def test_what_cannot_be_carried_out_is_refused_by_name(
    doors: Doors, members: dict[str, Any], param: str
) -> None:
    here = KeptStage()

    answer = ask(doors, here, **members)

    assert (400, param) == (answer.status, answer.error["param"])
    assert not here.events


def test_what_is_left_out_is_named(doors: Doors) -> None:
    answer = ask(doors, KeptStage(script=WHOLE), tools=[{"type": "web_search"}])

    assert "left out: web_search" == answer.headers["x-relayd-changed"]


@pytest.mark.parametrize("path", ["/v1/responses/input_tokens", "/responses/input_tokens"])
def test_counting_tokens_takes_no_slot(doors: Doors, path: str) -> None:
    counted = b'{"input_tokens":7,"object":"response.input_tokens"}'
    here = KeptStage(Refusal.QUEUE_FULL, script=act(json_answer(counted)))

    answer = ask(doors, here, path)

    assert (200, counted) == (answer.status, answer.body)
    assert "/v1/chat/completions/input_tokens" == here.sent_to


def test_what_is_not_served_of_a_response_is_refused_by_name(doors: Doors) -> None:
    answer = ask(doors, KeptStage(), "/v1/responses/resp_1/cancel")

    assert (404, "not_served") == (answer.status, answer.error["code"])


def response(number: int, text: str = "") -> dict[str, Any]:
    return {"id": f"resp_{number}", "output": [{"id": f"msg_{number}00", "content": text}]}


def test_a_response_is_found_by_its_own_key_only_and_not_without_limit() -> None:
    clock = HourClock()
    kept = KeptResponses(clock)
    kept.keep(KEY, response(1), [{"id": "own"}])

    assert kept.find("other", "resp_1") is None
    assert kept.find_item("other", "msg_100") is None
    assert {"id": "msg_100", "content": ""} == kept.find_item(KEY, "msg_100")
    assert not kept.remove("other", "resp_1")
    clock.ahead = KEPT_SECONDS + 1
    assert kept.find(KEY, "resp_1") is None


def test_the_oldest_responses_are_forgotten_first() -> None:
    kept = KeptResponses(SystemClock())
    for number in range(MOST_KEPT + 1):
        kept.keep("", response(number), [])

    assert kept.find("", "resp_0") is None
    assert kept.find("", "resp_1") is not None


def test_all_responses_together_have_a_size() -> None:
    kept = KeptResponses(SystemClock())
    text = "x" * (MOST_KEPT_BYTES // 10)
    for number in range(6):
        kept.keep("", response(number, text), [])
    kept.keep("", response(9, text * 4), [])

    assert [False, True] == [kept.find("", f"resp_{number}") is not None for number in (0, 5)]
    assert kept.find("", "resp_9") is None


def test_a_conversation_is_shortened_by_its_model(doors: Doors) -> None:
    here = KeptStage(script=act(json_answer(chat_whole(text="They met."))))
    tools = [{"type": "function", "name": "f", "parameters": {}}]

    answer = here.ask(doors, post({"model": "qwen", "input": "Hi", "tools": tools}, "/v1/responses/compact"))

    assert 200 == answer.status
    assert ["message-like", "compaction"] == [
        item.get("type", "message-like") for item in json.loads(answer.body)["output"]
    ]
    assert "tools" not in here.sent
    assert "/v1/chat/completions" == here.sent_to


def test_a_shortened_conversation_is_not_streamed(doors: Doors) -> None:
    body = {"model": "qwen", "input": "Hi", "stream": True}

    assert 400 == KeptStage().ask(doors, post(body, "/v1/responses/compact")).status
