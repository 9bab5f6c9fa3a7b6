"""Does a virtual model reach the models behind it, over the real data path?"""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest

from relayd.api.anthropic import anthropic_routes
from relayd.api.fleet import ModelState
from relayd.api.health import health_routes
from relayd.api.kept import KeptResponses
from relayd.api.ollama import ollama_routes
from relayd.api.openai import openai_routes
from relayd.api.responses import responses_routes
from relayd.clock import SystemClock
from relayd.dialects.preset import Preset
from relayd.scheduler import Arrived, Event, Refusal, Refuse
from tests.api.conftest import Doors, StillFleet, view
from tests.api.stage import Stage, get, post
from tests.dialects.engine import chat_whole
from tests.fakes.replica import act, json_answer

pytestmark = pytest.mark.system

HELLO = [{"role": "user", "content": "Hi"}]
PLAIN = act(json_answer(chat_whole(text="Hi")))
PRESET = Preset(fixed={"temperature": 0.25}, defaults={"max_tokens": 9}, system="Be brief.")
CODER = replace(view("coder"), served_by=("qwen", "llama"), preset=PRESET)
VIEWS = (view(), view("llama"), CODER)
CLOCK = SystemClock()


@dataclass
class Chain(Stage):
    """Refuses the requests to some models."""

    down: tuple[str, ...] = ()
    kind: Refusal = Refusal.UNAVAILABLE
    script: Any = field(default=PLAIN)

    def schedule(self, event: Event) -> None:
        if isinstance(event, Arrived) and event.ticket.ask.model in self.down:
            self.events.append(event)
            self.dispatcher.on_answer(Refuse(event.ticket.id, self.kind, "so it is", 2.5))
        else:
            super().schedule(event)


@pytest.mark.parametrize(
    ("path", "routes", "body"),
    [
        ("/v1/chat/completions", openai_routes, {"messages": HELLO}),
        ("/v1/messages", anthropic_routes, {"messages": HELLO, "max_tokens": 9}),
        ("/api/chat", partial(ollama_routes, clock=CLOCK), {"messages": HELLO, "stream": False}),
        ("/v1/responses", partial(responses_routes, kept=KeptResponses(CLOCK), clock=CLOCK), {"input": "Hi"}),
    ],
)
def test_every_api_gets_the_parameters_of_a_virtual_model(
    doors: Doors, path: str, routes: Any, body: dict[str, Any]
) -> None:
    here = Chain(routes=routes)

    answer = here.ask(doors, post({"model": "coder", "temperature": 2, **body}, path), VIEWS)

    assert [("qwen", 1)] == here.arrived
    assert (0.25, 9) == (here.sent["temperature"], here.sent["max_tokens"])
    assert "Be brief." in (here.sent.get("system"), here.sent["messages"][0]["content"])
    assert "temperature" in answer.headers["x-relayd-changed"]


@pytest.mark.parametrize("kind", [Refusal.UNAVAILABLE, Refusal.QUEUE_FULL, Refusal.TIMED_OUT])
def test_the_next_model_serves_what_the_first_cannot_take(doors: Doors, kind: Refusal) -> None:
    here = Chain(down=("qwen",), kind=kind)

    answer = here.ask(doors, post({"model": "coder", "messages": HELLO}), VIEWS)

    assert 200 == answer.status
    assert ["qwen", "llama"] == [model for model, _ in here.arrived]
    assert here.gave_back


def test_the_last_models_refusal_is_the_answer(doors: Doors) -> None:
    here = Chain(down=("qwen", "llama"))

    answer = here.ask(doors, post({"model": "coder", "messages": HELLO}), VIEWS)

    assert 503 == answer.status
    assert ["qwen", "llama"] == [model for model, _ in here.arrived]


def test_a_model_of_its_own_has_no_other(doors: Doors) -> None:
    here = Chain(down=("qwen",))

    assert 503 == here.ask(doors, post({"model": "qwen", "messages": HELLO}), VIEWS).status
    assert [("qwen", 1)] == here.arrived


def test_a_virtual_model_is_listed_like_any_other(doors: Doors) -> None:
    answer = Chain().ask(doors, get("/v1/models/coder"), VIEWS)

    assert 200 == answer.status
    assert b'"id":"coder"' in answer.body


def test_a_request_that_names_none_never_means_a_virtual_one(doors: Doors) -> None:
    here = Chain()

    here.ask(doors, post({"messages": HELLO}), (view(), replace(CODER, served_by=("qwen",))))

    assert "temperature" not in here.sent


def test_a_virtual_model_may_be_the_default(doors: Doors) -> None:
    here = Chain()

    here.ask(doors, post({"messages": HELLO}), (view(), view("llama"), replace(CODER, is_default=True)))

    assert 0.25 == here.sent["temperature"]


def test_a_model_that_is_down_is_not_counted_as_two(doors: Doors) -> None:
    failed = replace(view(), state=ModelState.FAILED, replicas_ready=0)
    views = (failed, replace(failed, name="coder", served_by=("qwen",)))
    here = Stage(routes=lambda _: health_routes(StillFleet(views)))

    assert b'"coder"' not in here.ask(doors, get("/health"), views).body
