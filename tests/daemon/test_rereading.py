"""Does `why` name what kept the engine from reusing a prompt?"""

import json
from typing import Any

import msgspec
import pytest

from relayd.daemon.prompts import RecentPrompts
from relayd.daemon.rereading import KnownPrompt, explained
from relayd.daemon.whyreport import WhyReport
from relayd.errors import NotFoundError
from relayd.router.promptparts import PromptParts, parts_of
from relayd.scheduler import Ended, Exchange, Usage
from relayd.scheduler.ask import Ask

pytestmark = pytest.mark.pure

SYSTEM = {"role": "system", "content": "s" * 2000}
TOOLS = [{"name": "t1", "input_schema": {}}, {"type": "function", "function": {"name": "t2"}}]


def turn(number: int) -> dict[str, Any]:
    return {"role": "assistant" if number % 2 else "user", "content": f"{number} " * 400}


def parts(*messages: dict[str, Any], tools: Any = None) -> PromptParts:
    found = parts_of(json.dumps({"messages": messages, "tools": tools}).encode())
    assert found is not None
    return found


def known(
    name: str, found: PromptParts, *, at: float, cached: int, replica: str = "m#0", incarnation: int = 1
) -> KnownPrompt:
    usage = Usage(found.size // 4, cached, 1, 1000.0, 10.0)
    exchange = Exchange(
        Ask(model="m"), name, "/v1/chat/completions", Ended.DONE, 200, "", replica, incarnation, 1, at, at,
        at, at + 1, at + 2, 10, usage, 0,
    )  # fmt: skip
    return KnownPrompt(exchange, found)


FIRST = known("a", parts(SYSTEM, turn(0)), at=0, cached=0)


def why(found: PromptParts, *earlier: KnownPrompt, cached: int, **more: Any) -> WhyReport:
    return explained(known("z", found, at=100, cached=cached, **more), earlier)


def test_a_conversation_that_goes_on_is_reused() -> None:
    report = why(parts(SYSTEM, turn(0), turn(1), turn(2)), FIRST, cached=FIRST.parts.size // 4)
    assert ("reused", "a", 0) == (report.cause, report.earlier, report.lost_tokens)


def test_a_first_request_is_new() -> None:
    assert why(parts(SYSTEM), cached=0).cause == "new"
    assert why(parts(turn(5)), FIRST, cached=0).cause == "new"


def test_a_changed_message_is_the_clients() -> None:
    edited = {"role": "system", "content": "t" * 2000}
    report = why(parts(SYSTEM, edited, turn(1)), FIRST, cached=500)
    assert ("client", "message 2 (user) changed") == (report.cause, report.difference)
    assert 0 < report.lost_tokens <= report.prompt_tokens - 500
    assert report.text == "The client changed the conversation: message 2 (user) changed."


@pytest.mark.parametrize(
    ("tools", "difference"),
    [
        ([TOOLS[0]], "tool 2 (t2) removed"), ([*TOOLS, {"name": "t3"}], "tool 3 (t3) added"),
        ([TOOLS[1], TOOLS[0]], "tool 1 (t2) changed"),
    ],
)  # fmt: skip
def test_changed_tools_are_the_clients(tools: Any, difference: str) -> None:
    before = known("a", parts(SYSTEM, turn(0), tools=TOOLS), at=0, cached=0)
    report = why(parts(SYSTEM, turn(0), tools=tools), before, cached=0)
    assert ("client", difference) == (report.cause, report.difference)


def test_the_engines_own_causes_are_told_apart() -> None:
    longer = parts(SYSTEM, turn(0), turn(1))
    other = known("b", parts({"role": "system", "content": "u" * 3000}), at=10, cached=0)
    assert why(longer, FIRST, cached=0).cause == "template"
    assert why(longer, FIRST, other, cached=0).cause == "evicted"
    assert why(longer, FIRST, cached=0, replica="m#1").cause == "other_replica"
    assert why(longer, FIRST, cached=0, incarnation=2).cause == "restart"


def test_what_was_read_again_has_its_share_of_the_time() -> None:
    report = why(parts(SYSTEM, turn(0), turn(1)), FIRST, cached=0)
    assert FIRST.parts.size // 4 == pytest.approx(report.lost_tokens, abs=2)
    assert report.lost_seconds == pytest.approx(report.lost_tokens / report.prompt_tokens, abs=0.01)


@pytest.mark.parametrize("body", [b"x", b"{}", b'{"messages":1}', b'{"messages":[1]}', b'{"tools":[1]}'])
def test_what_has_no_prompt_has_no_parts(body: bytes) -> None:
    assert parts_of(body) is None


def test_a_plain_prompt_and_a_system_prompt_are_parts() -> None:
    plain, system = parts_of(b'{"prompt":"x"}'), parts_of(b'{"system":"s","messages":[{"role":"user"}]}')
    assert plain is not None
    assert system is not None
    assert ["prompt"] == [part.name for part in plain.messages]
    assert ["system", "user"] == [part.name for part in system.messages]


async def test_the_last_prompts_are_kept_and_short_ones_are_not() -> None:
    body = json.dumps({"messages": [SYSTEM, turn(0), turn(1), turn(2), turn(3)]}).encode()
    exchanges = [msgspec.structs.replace(FIRST.exchange, request_id=name) for name in ("long", "short")]
    prompts = RecentPrompts(lambda: exchanges)
    prompts.note("long", body)
    prompts.note("short", b'{"messages":[]}')
    assert (await prompts.why("long")).cause == "new"
    with pytest.raises(NotFoundError, match="short"):
        await prompts.why("short")
