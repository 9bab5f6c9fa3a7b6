"""Does the beginning of a prompt stay the same, where a client writes something else each time?"""

import json
from typing import Any, get_args

import msgspec
import pytest

from relayd.config.schema.serving import HygieneName
from relayd.dialects.anthropic_request import for_engine
from relayd.dialects.brokencalls import ChangeNotes
from relayd.dialects.conversation import fit_conversation
from relayd.dialects.hygiene import NAMES, RULES, cleaned, rules_but
from relayd.dialects.toolorder import ToolOrder

pytestmark = pytest.mark.pure

EXAMPLES = {
    "claude-code-billing": (
        "x-anthropic-billing-header: cc_version=2.1.{}; cc_entrypoint=cli; cch={}5145;You are Claude Code.",
        ("e51", "a"), ("f02", "b"), "You are Claude Code.",
    ),
    "claude-code-tokens-left": (
        "<total_tokens>{} tokens left</total_tokens>", ("967,000",), ("12345",), None,
    ),
    "pi-clock": (
        "P\nCurrent date and time: Monday, March 9, 2026 at {} PM PDT\nX", ("06:00:31",), ("06:01:02",),
        "P\nCurrent date and time: Monday, March 9, 2026\nX",
    ),
    "anythingllm-clock": (
        "The current date and time is Thursday, September 17, 2026 {} PM.", ("3:04",), ("11:59",),
        "The current date and time is Thursday, September 17, 2026.",
    ),
    "openhands-clock": (
        "<CURRENT_DATETIME>\nThe current date and time is: 2026-06-11T{}\n</CURRENT_DATETIME>",
        ("00:44:42.714237",), ("10:00:00",),
        "<CURRENT_DATETIME>\nThe current date and time is: 2026-06-11\n</CURRENT_DATETIME>",
    ),
    "nanobot-clock": (
        "## Current Time\n2026-02-06 {} (Friday)", ("14:03",), ("14:04",),
        "## Current Time\n2026-02-06 (Friday)",
    ),
    "goose-clock": (
        "The current date is {}.", ("2026-02-06 14:03:11",), ("2026-02-06 15:00:00",),
        "The current date is 2026-02-06.",
    ),
}  # fmt: skip
"""Rule -> what its client writes, two fillings, and what stays."""


def clean(text: str, *, role: str = "system", off: tuple[str, ...] = ()) -> tuple[str | None, str]:
    changes = ChangeNotes()
    found = cleaned([{"role": role, "content": text}], rules_but(off), changes)
    return (found[0]["content"] if found else None), changes.shown()


@pytest.mark.parametrize("name", EXAMPLES)
def test_two_requests_of_a_client_begin_alike(name: str) -> None:
    text, first, second, stays = EXAMPLES[name]
    assert (stays, f"stable: {name}") == clean(text.format(*first)) == clean(text.format(*second))


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_rule_that_is_off_changes_nothing(name: str) -> None:
    text = EXAMPLES[name][0].format(*EXAMPLES[name][1])
    assert (text, "") == clean(text, off=(name,))


@pytest.mark.parametrize("name", set(EXAMPLES) - {"claude-code-tokens-left"})
def test_what_a_user_writes_is_left_alone(name: str) -> None:
    text = EXAMPLES[name][0].format(*EXAMPLES[name][1])
    assert (text, "") == clean(text, role="user")


def test_every_rule_has_an_example_and_can_be_switched_off() -> None:
    assert set(EXAMPLES) == {rule.name for rule in RULES}
    assert set(get_args(HygieneName)) == NAMES


@pytest.mark.parametrize(
    "text", ["See <total_tokens>5 tokens left</total_tokens>", "What is x-anthropic-billing-header: a=b;?"]
)
def test_text_that_only_mentions_it_stays(text: str) -> None:
    assert (text, "") == clean(text)


def test_a_part_of_a_message_goes_and_its_neighbours_stay() -> None:
    parts = [{"type": "text", "text": "hi"},
             {"type": "text", "text": "<total_tokens>5 tokens left</total_tokens>"}]  # fmt: skip
    found = cleaned([{"role": "user", "content": parts}], RULES, ChangeNotes())
    assert [{"role": "user", "content": parts[:1]}] == found


STAMPED = "x-anthropic-billing-header: cc_version=2.1; cc_entrypoint=cli; cch=a5145;You are Claude Code."


@pytest.mark.parametrize("system", [STAMPED, [{"type": "text", "text": STAMPED}]])
def test_a_stamp_in_one_text_with_the_prompt_takes_only_itself_along(system: Any) -> None:
    members = {"system": msgspec.Raw(json.dumps(system).encode()), "messages": msgspec.Raw(b"[]")}
    shown = json.loads(bytes(for_engine(members).members["system"]))
    assert "You are Claude Code." == (shown if isinstance(shown, str) else shown[0]["text"])


def test_a_stamp_that_stays_is_no_system_prompt_which_the_engine_would_write_into_its_log() -> None:
    members = {"system": msgspec.Raw(json.dumps(STAMPED).encode()), "messages": msgspec.Raw(b"[]")}
    shown = for_engine(members, keeps_stamp=True).members
    assert "system" not in shown
    assert [{"role": "system", "content": STAMPED}] == json.loads(bytes(shown["messages"]))


def test_a_chat_that_offers_tools_goes_out_with_a_stable_beginning() -> None:
    body = {
        "messages": [{"role": "system", "content": STAMPED}, {"role": "user", "content": "x"}],
        "tools": [],
    }
    found = fit_conversation("/v1/chat/completions", json.dumps(body).encode(), None, RULES)
    assert found is not None
    assert "You are Claude Code." == json.loads(found.body)["messages"][0]["content"]


def raw(*names: str) -> msgspec.Raw:
    return msgspec.Raw(json.dumps([{"name": name} for name in names]).encode())


def test_the_same_tools_keep_the_order_in_which_they_came_first() -> None:
    order = ToolOrder()
    assert order.steady(raw("b", "a", "c")) is None
    for _ in range(2):
        assert bytes(raw("b", "a", "c")) == bytes(order.steady(raw("c", "b", "a")) or b"")
    assert order.steady(raw("a", "b")) is None
    assert order.steady(raw("b", "a", "c")) is None


@pytest.mark.parametrize("tools", [b"{}", b"null", b'[{"name":"a"}]', b"[1,1]"])
def test_what_has_no_order_is_left_alone(tools: bytes) -> None:
    order = ToolOrder()
    assert order.steady(msgspec.Raw(tools)) is None
    assert order.steady(msgspec.Raw(tools)) is None


def test_only_some_orders_are_remembered() -> None:
    order = ToolOrder()
    for number in range(100):
        order.steady(raw(str(number), "x"))
    assert repr(order) == "<ToolOrder lists=32>"
