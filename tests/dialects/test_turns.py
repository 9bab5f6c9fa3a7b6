"""Does a conversation stay what it was, in its order, where a template takes fewer roles?"""

from typing import Any

import msgspec
import pytest

from relayd.dialects.brokencalls import ChangeNotes, repaired
from relayd.dialects.turns import CAREFUL, PLAIN, TAKES_ALL, TemplateTraits, fitted

pytestmark = pytest.mark.pure

Message = dict[str, Any]


def said(role: str, content: Any = None) -> Message:
    return {"role": role, "content": f"{role} text" if content is None else content}


def called(*names: str, arguments: str = "{}") -> Message:
    calls = [
        {"id": name, "type": "function", "function": {"name": "t", "arguments": arguments}} for name in names
    ]
    return {"role": "assistant", "content": "", "tool_calls": calls}


def result(name: str) -> Message:
    return {"role": "tool", "tool_call_id": name, "content": f"result of {name}"}


def fit(traits: TemplateTraits, *messages: Message) -> tuple[list[Message], str]:
    changes = ChangeNotes()
    return fitted(messages, traits, changes), changes.shown()


def without(*names: str) -> TemplateTraits:
    return msgspec.structs.replace(TAKES_ALL, **dict.fromkeys(names, False))


LOOP = (said("system"), said("user"), called("call00001"), result("call00001"), said("assistant"))


@pytest.mark.parametrize("traits", [TAKES_ALL, CAREFUL])
def test_a_conversation_that_every_template_takes_stays_as_it_is(traits: TemplateTraits) -> None:
    assert fit(traits, *LOOP) == (list(LOOP), "")


@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_late_instruction_stays_where_it_is_as_a_marked_turn_of_the_user(role: str) -> None:
    messages, change = fit(
        without("late_system"), said("user"), said("assistant"), said(role), said("user", "next")
    )
    marked = {"role": "user", "content": f"<system-message>\n{role} text\n</system-message>"}
    assert [said("user"), said("assistant"), marked, said("user", "next")] == messages
    assert change == f"roles: {role} as user"


def test_a_second_system_message_at_the_head_joins_the_first_one() -> None:
    messages, _ = fit(without("second_system"), said("system", "a"), said("system", "b"), said("user"))
    assert [said("system", "a\n\nb"), said("user")] == messages


def test_a_developer_counts_as_system_where_a_template_has_none() -> None:
    messages, change = fit(without("developer"), said("developer"), said("user"))
    assert [said("system", "developer text"), said("user")] == messages
    assert change == "roles: developer as system"


def test_turns_of_one_role_are_joined_with_their_parts() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    messages, _ = fit(without("repeats"), said("user", "a"), said("user", [picture]))
    assert [said("user", [{"type": "text", "text": "a"}, picture])] == messages


def test_a_user_behind_a_result_is_part_of_it_where_no_turn_may_follow() -> None:
    messages, _ = fit(without("user_after_result"), said("user"), called("a"), result("a"), said("user", "x"))
    assert messages[-1] == {**result("a"), "content": "result of a\n\nx"}


def test_calls_and_results_become_text_where_a_template_drops_them() -> None:
    messages, change = fit(PLAIN, said("user"), called("a", arguments='{"b":1}'), result("a"))
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert '<tool-call name="t">\n{"b":1}\n</tool-call>' == messages[1]["content"]
    assert "<tool-result>\nresult of a\n</tool-result>" == messages[2]["content"]
    assert change == "calls: as text; calls: results as text"


def test_ids_are_shortened_alike_in_call_and_result() -> None:
    messages, _ = fit(without("long_ids"), said("user"), called("toolu_01ABC"), result("toolu_01ABC"))
    name = messages[1]["tool_calls"][0]["id"]
    assert (9, name) == (len(name), messages[2]["tool_call_id"])


def test_calls_of_one_turn_come_one_after_another_each_with_its_result() -> None:
    messages, _ = fit(without("parallel_calls"), said("user"), called("a", "b"), result("a"), result("b"))
    assert [said("user"), called("a"), result("a"), called("b"), result("b")] == messages


def test_a_call_without_a_result_gets_one_and_a_result_without_a_call_is_the_users() -> None:
    messages, _ = fit(without("lone_calls"), said("user"), called("a"), said("user"))
    assert [one["role"] for one in messages] == ["user", "assistant", "tool", "user"]
    messages, _ = fit(without("lone_results"), said("user"), result("a"))
    assert [one["role"] for one in messages] == ["user", "user"]


def test_a_conversation_without_a_user_gets_one() -> None:
    messages, _ = fit(without("only_system"), said("system"))
    assert [said("user", "<system-message>\nsystem text\n</system-message>")] == messages
    messages, _ = fit(without("assistant_first"), said("assistant"), said("user"))
    assert ["user", "assistant", "user"] == [one["role"] for one in messages]


def test_what_was_fitted_begins_alike_as_the_conversation_grows() -> None:
    turns = [*LOOP, said("user"), said("system"), said("assistant"), said("developer"), said("user", "x")]
    for length in range(5, len(turns)):
        before, _ = fit(CAREFUL, *turns[:length])
        after, _ = fit(CAREFUL, *turns[: length + 1])
        kept = before[:-1]  # the last turn may be joined with the one behind it
        assert kept == after[: len(kept)]


@pytest.mark.parametrize(
    ("given", "sent", "change"),
    [
        ("{", "{}", "calls: cut arguments completed"),
        ('{"a": "some te', '{"a": "some te"}', "calls: cut arguments completed"),
        ("", "{}", "calls: arguments added"),
        ("rm -rf", '{"unreadable":"rm -rf"}', "calls: unreadable arguments quoted"),
        ("[1]", '{"unreadable":"[1]"}', "calls: unreadable arguments quoted"),
        ('{"a": 1}', '{"a": 1}', ""),
    ],
)
def test_arguments_in_a_history_are_a_json_object(given: str, sent: str, change: str) -> None:
    changes = ChangeNotes()
    after = repaired([said("user"), called("a", arguments=given), result("a")], changes)
    assert (sent, change) == (after[1]["tool_calls"][0]["function"]["arguments"], changes.shown())


def test_a_conversation_that_ends_with_a_call_gets_a_result() -> None:
    after = repaired([said("user"), called("a", "b")], ChangeNotes())
    assert ["a", "b"] == [one["tool_call_id"] for one in after[2:]]


def test_a_call_that_is_none_becomes_text_and_an_empty_turn_gets_a_content() -> None:
    changes = ChangeNotes()
    broken: Message = {"role": "assistant", "tool_calls": [{"id": "a"}]}
    after = repaired([broken, {"role": "assistant", "reasoning_content": "hm"}, said("user")], changes)
    assert '{"id":"a"}' == after[0]["content"]
    assert "tool_calls" not in after[0]
    assert after[1]["content"] == ""
    assert "history: an empty content added" in changes.shown()
