"""What do clients write at the front of a prompt that changes with each request (prompt hygiene)?

The engine reads again everything behind the first byte that differs: 20 to 100 thousand tokens of an agent
for a time of day, a stamp or a count. Each rule is that of one client, by the very bytes that it writes;
dates stay, times of day go. Only requests that offer tools are looked at, which are those of agents.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from relayd.dialects.brokencalls import ChangeNotes, Message, text_of

_INSTRUCTING = frozenset({"system", "developer"})
_TIME = r"\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?"


STAMP = re.compile(r"\Ax-anthropic-billing-header:(?: *[a-z_]+=[^;\n]*(?:;|(?=\n)|\Z))*\n*")
"""Pairs of a name and a value; what follows the last one may be the prompt itself."""


@dataclass(frozen=True, slots=True)
class HygieneRule:
    """How one client's text becomes one that stays.

    Attributes:
        name: For `[compat] hygiene_off`, and for the header.
        about: What it writes, for people.
        mark: What the text must hold to be looked at any closer.
        pattern: What changes with each request.
        kept: What stands there instead.
        everywhere: Any message may hold it, as all of its text; otherwise instructions at the head alone.
    """

    name: str
    about: str
    mark: str
    pattern: re.Pattern[str]
    kept: str = ""
    everywhere: bool = False


RULES: tuple[HygieneRule, ...] = (
    HygieneRule(
        "claude-code-billing",
        "Claude Code's billing stamp, the first line of its system prompt",
        "x-anthropic-billing-header:",
        STAMP,
    ),
    HygieneRule(
        "claude-code-tokens-left",
        "Claude Code's count of the tokens that are left, a message or a text of its own",
        "<total_tokens>",
        re.compile(r"\A\s*<total_tokens>[0-9,]+ tokens left</total_tokens>\s*\Z"),
        everywhere=True,
    ),
    HygieneRule(
        "pi-clock",
        "pi's time of day behind its date",
        "Current date and time: ",
        re.compile(
            rf"(?<=Current date and time: )(\w+, \w+ \d+, \d{{4}})(?: at|,) {_TIME} [AP]M"
            r"(?: [A-Z]{2,5}| ?[+-]\d\d:\d\d)?"
        ),
        r"\1",
    ),
    HygieneRule(
        "anythingllm-clock",
        "AnythingLLM's time of day behind its date",
        "The current date and time is ",
        re.compile(rf"(?<=The current date and time is )(\w+, \w+ \d+, \d{{4}}) {_TIME} [AP]M"),
        r"\1",
    ),
    HygieneRule(
        "openhands-clock",
        "the time of day in OpenHands' <CURRENT_DATETIME>",
        "<CURRENT_DATETIME>",
        re.compile(rf"(?<=The current date and time is: )(\d{{4}}-\d\d-\d\d)T{_TIME}"),
        r"\1",
    ),
    HygieneRule(
        "nanobot-clock",
        "nanobot's time of day below its heading",
        "## Current Time",
        re.compile(rf"(?<=## Current Time\n)(\d{{4}}-\d\d-\d\d) {_TIME}"),
        r"\1",
    ),
    HygieneRule(
        "goose-clock",
        "goose's time of day behind its date",
        "The current date is ",
        re.compile(rf"(?<=The current date is )(\d{{4}}-\d\d-\d\d) {_TIME}"),
        r"\1",
    ),
)
"""All of them; `tool-order` beside these is about the list of tools."""

TOOL_ORDER = "tool-order"
NAMES = frozenset({*(rule.name for rule in RULES), TOOL_ORDER})


def rules_but(left_out: Collection[str]) -> tuple[HygieneRule, ...]:
    """Return the rules that hold."""
    return tuple(rule for rule in RULES if rule.name not in left_out)


def cleaned(messages: Sequence[Message], rules: Sequence[HygieneRule], changes: ChangeNotes) -> list[Message]:
    """Return a conversation without what changes with each request.

    Args:
        messages: Of a chat.
        rules: Those that hold.
        changes: Gets the names of those that found something.
    """
    found, at_head = list[Message](), True
    for message in messages:
        at_head = at_head and message.get("role") in _INSTRUCTING
        used = [rule for rule in rules if at_head or rule.everywhere]
        after = _cleaned(message, used, changes)
        if after is not None:
            found.append(after)
    return found


def _cleaned(message: Message, rules: Sequence[HygieneRule], changes: ChangeNotes) -> Message | None:
    """Return a message that stays; None where nothing of it does."""
    content = message.get("content")
    if isinstance(content, str):
        text = _stable(content, rules, changes)
        if text is content:
            return message
        return {**message, "content": text} if text or message.get("tool_calls") else None
    if not isinstance(content, list):
        return message
    parts = []
    for part in content:
        before = text_of(part)
        after = None if before is None else _stable(before, rules, changes)
        if after is before:
            parts.append(part)
        elif after:
            parts.append({**part, "text": after} if isinstance(part, dict) else after)
    if len(parts) == len(content) and all(one is other for one, other in zip(parts, content, strict=True)):
        return message
    return {**message, "content": parts} if parts else None


def _stable(text: str, rules: Sequence[HygieneRule], changes: ChangeNotes) -> str:
    for rule in rules:
        if rule.mark not in text:
            continue
        after, count = rule.pattern.subn(rule.kept, text)
        if count:
            changes.add(f"stable: {rule.name}")
            text = after
    return text
