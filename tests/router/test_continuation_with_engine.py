"""Is an answer that the real engine continues the one that it would have given, wherever that broke off?"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relayd.router import Call, Pools
from relayd.router.collect import Collector
from relayd.router.collectors import ChatCollector, NativeCollector, TextCollector
from relayd.router.continuation import FORMS, Broken, continued, hindrance, is_spent
from relayd.router.message_collector import MessageCollector
from relayd.router.rejoining import rejoined
from tests.daemons import DEADLINE_SECONDS
from tests.ggufs import TINY, make_model
from tests.router.test_with_engine import Child, Start, start

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("runner")]

__all__ = ["start"]

PLAIN = """\
{%- for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}
{%- if add_generation_prompt %}[assistant]{% endif %}"""
THINKING = """\
{%- for m in messages %}[{{ m.role }}]{% if m.reasoning_content is string %}<think>
{{ m.reasoning_content }}
</think>

{% endif %}{{ m.content }}{% endfor %}
{%- if add_generation_prompt %}[assistant]<think>
{% endif %}"""
COLLECTORS: dict[str, type[Collector]] = {
    "/v1/chat/completions": ChatCollector,
    "/v1/completions": TextCollector,
    "/completion": NativeCollector,
    "/v1/messages": MessageCollector,
}
USER = {"role": "user", "content": "Once upon a time"}
CHAT = {"messages": [USER], "max_tokens": 12, "stream_options": {"include_usage": True}}
PREFILLED = {**CHAT, "messages": [USER, {"role": "assistant", "content": "Well, "}]}

CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "chat": (PLAIN, "/v1/chat/completions", CHAT),
    "chat without usage": (PLAIN, "/v1/chat/completions", {"messages": [USER], "max_tokens": 6}),
    "chat that stops": (PLAIN, "/v1/chat/completions", {**CHAT, "max_tokens": 60, "stop": ["e"]}),
    "chat with a beginning": (PLAIN, "/v1/chat/completions", PREFILLED),
    "chat with a beginning, not repeated": (
        PLAIN,
        "/v1/chat/completions",
        {**PREFILLED, "continue_final_message": True, "add_generation_prompt": False},
    ),
    "chat that reasons": (THINKING, "/v1/chat/completions", CHAT),
    "completions": (PLAIN, "/v1/completions", {"prompt": "Once upon", "max_tokens": 12}),
    "native": (PLAIN, "/completion", {"prompt": "Once upon", "n_predict": 12}),
    "native by ids": (PLAIN, "/completion", {"prompt": [50, 51, "on", 52], "n_predict": 12}),
    "messages": (PLAIN, "/v1/messages", {"messages": [USER], "max_tokens": 12}),
    "messages that reason": (THINKING, "/v1/messages", {"messages": [USER], "max_tokens": 12}),
    "messages with a beginning": (
        PLAIN,
        "/v1/messages",
        {"messages": PREFILLED["messages"], "max_tokens": 12},
    ),
}


async def streamed(child: Child, call: Call) -> bytes:
    """Return a stream as a whole."""
    found = await Pools().fetch(child.endpoint, read_whole(call), timeout_seconds=DEADLINE_SECONDS)
    assert 200 == found.status, found.body
    return found.body


def read_whole(call: Call) -> Call:
    return Call(call.path, call.body)  # so that it is read to its end


def events_of(stream: bytes) -> list[bytes]:
    return [event + b"\n\n" for event in stream.split(b"\n\n") if event]


def data_of(stream: bytes) -> list[dict[str, Any]]:
    lines = (line for line in stream.split(b"\n") if line.startswith(b"data: {"))
    return [json.loads(line.removeprefix(b"data: ")) for line in lines]


def reduced(path: str, stream: bytes) -> dict[str, Any]:
    """Return what is the same in any two streams of one answer."""
    collector, events = COLLECTORS[path](), data_of(stream)
    collector.feed(stream)
    whole = json.loads(collector.finish())
    for name in ("id", "created", "timings", "id_slot", "tokens_cached"):
        whole.pop(name, None)
    usage = whole.get("usage", {})
    for name in ("continued", "prompt_tokens_details", "cache_read_input_tokens"):
        usage.pop(name, None)
    if path == "/v1/messages":
        usage.pop("input_tokens", None)
    whole.pop("continued", None)
    roles = sum("role" in choice.get("delta", {}) for one in events for choice in one.get("choices", ()))
    ids = len({one["id"] for one in events if "id" in one})
    ends = stream.count(b"[DONE]") + stream.count(b'"type":"message_stop"') + stream.count(b'"stop":true')
    starts = stream.count(b'"type":"message_start"')
    return {**whole, "_": [roles, ids, ends, starts, collector.pieces, collector.tokens]}


@pytest.mark.parametrize("way", ["asyncio"], indirect=True)
@pytest.mark.parametrize("name", CASES)
async def test_an_answer_is_the_same_wherever_it_was_cut(start: Start, tmp_path: Path, name: str) -> None:
    template, path, members = CASES[name]
    child = start(make_model(tmp_path / "m.gguf", replace(TINY, template=template, writes_bytes=False)))
    fixed = {
        "temperature": 0,
        "stream": True,
        "seed": 1,
        "cache_prompt": False,
        "ignore_eos": True,
    }
    call = Call(path, json.dumps({**members, **fixed}).encode(), stream=True)
    undisturbed = await streamed(child, call)
    events, expected = events_of(undisturbed), reduced(path, undisturbed)
    continuations = 0

    for cut in range(len(events)):
        before = b"".join(events[:cut])
        collector = COLLECTORS[path]()
        collector.feed(before)
        collector.cut()
        broken = Broken.of(collector, before[-400:])
        if reason := hindrance(call, broken):
            assert "ended" == reason
            continue
        again = rejoined(FORMS[path], broken, is_spent=is_spent(call, broken), first=before[:512])
        joined = before + again.feed(await streamed(child, continued(call, broken)))
        assert expected == reduced(path, joined), (cut, broken)
        continuations += 1

    assert continuations >= 6
