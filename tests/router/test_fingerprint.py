"""The fingerprints of a body: what changes them, and what does not."""

import json
from typing import Any

import msgspec
import pytest

from relayd.dialects.anthropic_chat import as_chat
from relayd.dialects.anthropic_request import for_engine
from relayd.router.body import judge, open_body
from relayd.router.fingerprint import BLOCK_BYTES, fingerprint, fingerprint_of
from relayd.router.llamaserver import LLAMA_SERVER
from relayd.scheduler.prefixes import covered

pytestmark = pytest.mark.pure

TURNS: list[dict[str, Any]] = [
    {"role": "system", "content": "You are helpful. " * 60},
    {"role": "user", "content": "What is a slot?"},
    {"role": "assistant", "content": "A place for one request. " * 30},
    {"role": "user", "content": "And a replica?"},
]


def body(messages: object = TURNS, **members: object) -> bytes:
    return json.dumps({"model": "m", **members, "messages": messages}).encode()


def shared(one: bytes, other: bytes) -> int:
    """Return how many fingerprints two bodies begin alike with."""
    pairs = zip(fingerprint(one).chain, fingerprint(other).chain, strict=False)
    return next((at for at, (mine, theirs) in enumerate(pairs) if mine != theirs), 10_000)


def test_a_turn_that_goes_on_begins_with_all_of_the_turn_before() -> None:
    before, after = fingerprint(body(TURNS[:2])).chain, fingerprint(body(TURNS)).chain

    assert before == after[: len(before)]
    assert len(before) < len(after)


@pytest.mark.parametrize("members", [{}, {"user": "me", "system": "Be brief."}, {"tools": [{"name": "f"}]}])
def test_a_body_that_was_judged_has_the_fingerprints_of_its_bytes(members: dict[str, Any]) -> None:
    raw = body(**members)
    opened = open_body(raw)
    seen = judge(opened, LLAMA_SERVER["/v1/chat/completions"])

    assert fingerprint(raw) == fingerprint_of(opened.members, seen.messages)


def test_blocks_are_of_512_bytes_and_every_message_ends_one() -> None:
    messages = [{"role": "user", "content": "x" * 1300}, {"role": "user", "content": "y"}]
    chain = fingerprint(body(messages)).chain

    assert 4 == len(chain)
    assert 1300 <= covered(chain) <= 1300 + 64
    assert chain[0] & 0xFFFFFF <= BLOCK_BYTES + 16


def test_sampling_spaces_and_the_order_of_members_change_nothing() -> None:
    other = json.dumps(
        {"messages": TURNS, "temperature": 0.1, "stream": True, "model": "m"}, separators=(",", ":")
    ).encode()

    assert fingerprint(body()).chain == fingerprint(other).chain


@pytest.mark.parametrize(
    "members",
    [
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"reasoning_effort": "low"},
        {"system": "Be brief."},
    ],
)
def test_what_a_template_writes_first_changes_all(members: dict[str, object]) -> None:
    assert 0 == shared(body(), body(**members))


@pytest.mark.parametrize("at", [0, 1, 2, 3])
@pytest.mark.parametrize("change", [{"content": "other"}, {"role": "tool"}, {"tool_calls": [{"id": "1"}]}])
def test_a_change_of_a_message_changes_all_from_there(at: int, change: dict[str, object]) -> None:
    turns = [{**turn, **change} if number == at else turn for number, turn in enumerate(TURNS)]
    before, after = (len(fingerprint(body(TURNS[:end])).chain) for end in (at, at + 1))

    assert before <= shared(body(), body(turns)) < after


def test_two_dialects_of_one_conversation_have_one_chain() -> None:
    anthropic = {
        "model": "m",
        "max_tokens": 10,
        "system": TURNS[0]["content"],
        "messages": TURNS[1:],
        "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
    }
    members = msgspec.json.decode(msgspec.json.encode(anthropic), type=dict[str, msgspec.Raw])

    assert fingerprint(body()).chain == fingerprint(as_chat(for_engine(members))).chain


def test_anthropics_own_form_has_the_chain_of_the_same_chat() -> None:
    own = body(TURNS[1:], system=TURNS[0]["content"])

    assert fingerprint(body()).chain == fingerprint(own).chain


@pytest.mark.parametrize("members", [{"prompt": "x" * 2000}, {"prompt": [1, 2]}, {"input_prefix": "def"}])
def test_plain_prompts_have_fingerprints_too(members: dict[str, object]) -> None:
    assert fingerprint(json.dumps(members).encode()).chain


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b'{"messages":3}', b'{"messages":[3]}', b'{"input":"a"}'])
def test_a_body_without_a_prompt_has_none(raw: bytes) -> None:
    assert () == fingerprint(raw).chain


def test_a_session_is_named_by_prompt_cache_key_else_by_user() -> None:
    assert "a" == fingerprint(body(prompt_cache_key="a", user="b")).session
    assert "b" == fingerprint(body(user="b")).session
    assert "" == fingerprint(body(user={"id": 1})).session
    assert "" == fingerprint(body(user="x" * 300)).session


def test_only_the_first_mebibyte_is_looked_at() -> None:
    long = fingerprint(body([{"role": "user", "content": "x" * 3_000_000}])).chain

    assert covered(long) <= 2**20 + BLOCK_BYTES


def test_fingerprints_cross_a_hand_over() -> None:
    chain = fingerprint(body()).chain

    assert chain == msgspec.json.decode(msgspec.json.encode(chain), type=tuple[int, ...])
