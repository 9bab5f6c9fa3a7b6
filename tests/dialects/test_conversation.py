"""Does a conversation reach the engine fitted, in whichever form its client wrote it?"""

import json
from typing import Any

import msgspec
import pytest

from relayd.dialects.conversation import fit_conversation, is_regular
from relayd.dialects.templateprobe import probes, traits_of
from relayd.dialects.turns import CAREFUL, TAKES_ALL

pytestmark = pytest.mark.pure

CALL = {"id": "a", "type": "function", "function": {"name": "t", "arguments": "{"}}
POISONED = [{"role": "user", "content": "x"}, {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "a", "content": "r"}]  # fmt: skip


def sent(path: str, traits: Any = None, **members: Any) -> dict[str, Any] | None:
    found = fit_conversation(path, json.dumps(members).encode(), traits)
    return None if found is None else json.loads(found.body)


def test_a_sound_conversation_is_left_alone() -> None:
    assert sent("/v1/chat/completions", TAKES_ALL, messages=[{"role": "user", "content": "x"}]) is None


def test_a_broken_call_is_repaired_and_other_members_stay() -> None:
    body = sent("/v1/chat/completions", messages=POISONED, temperature=0.5)
    assert body is not None
    assert ("{}", 0.5) == (body["messages"][1]["tool_calls"][0]["function"]["arguments"], body["temperature"])


def test_a_conversation_of_anthropic_goes_to_the_engines_own_door_in_roles_that_the_template_takes() -> None:
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "t", "input": {}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "r"}]},
            {"type": "text", "text": "reminder"}]},
        {"role": "system", "content": "late"},
    ]  # fmt: skip
    body = sent("/v1/messages", CAREFUL, system=[{"type": "text", "text": "s"}], messages=messages, tools=[])
    assert body is not None
    assert "system" not in body
    roles = [one["role"] for one in body["messages"]]
    assert ["system", "user", "assistant", "tool"] == roles
    assert "r\n\nreminder\n\n<system-message>\nlate\n</system-message>" == body["messages"][-1]["content"]
    assert all(isinstance(one["content"], str) for one in body["messages"])


def test_pictures_are_blocks_again_behind_a_fit() -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}}
    messages = [{"role": "user", "content": [picture]}, {"role": "system", "content": "late"}]
    body = sent("/v1/messages", CAREFUL, messages=messages)
    assert body is not None
    url = {"type": "image", "source": {"type": "url", "url": "data:image/png;base64,AA"}}
    assert url == body["messages"][0]["content"][0]


@pytest.mark.parametrize(
    "body", [b"[]", b"{}", b'{"messages": 1}', b'{"messages": [1]}', b'{"messages": [{"role": 1}]}', b"x"]
)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
def test_what_is_no_conversation_is_left_to_the_engine(path: str, body: bytes) -> None:
    found = fit_conversation(path, body, CAREFUL)
    assert found is None or b"messages" in found.body


@pytest.mark.parametrize(
    ("roles", "regular"),
    [
        ("u", True), ("su", True), ("suau", True), ("uau", True), ("uu", False), ("ua", False), ("au", False),
        ("usu", False), ("ssu", False), ("", False), ("s", False), ("suatu", False),
    ],
)  # fmt: skip
def test_a_regular_conversation_is_known_by_its_roles(roles: str, regular: bool) -> None:
    names = {"u": "user", "a": "assistant", "s": "system", "t": "tool"}
    raw = msgspec.Raw(json.dumps([{"role": names[one], "content": "x"} for one in roles]).encode())
    assert regular is is_regular(raw)


def test_traits_are_what_the_probes_found() -> None:
    every = probes()
    taken = {number: probe.trait not in ("late_system", "calls") for number, probe in enumerate(every)}
    assert traits_of(taken) == msgspec.structs.replace(TAKES_ALL, late_system=False, calls=False)
    assert traits_of({**taken, 0: False}) is None


def test_a_probe_is_taken_if_the_prompt_shows_its_words_in_their_order() -> None:
    probe = next(one for one in probes() if len(one.marks) == 2)
    first, second = probe.marks
    assert probe.is_taken(200, f"a {first} b {second}")
    assert not probe.is_taken(200, f"{second} {first}")
    assert not probe.is_taken(400, f"{first} {second}")
