"""What is a template asked to render, to know which conversations it takes and shows (probe)?

Each probe is a request to the engine's `/apply-template`, which takes no slot and generates nothing; its
texts are words that nothing else holds. A template takes it if all of them are in the prompt, in their order.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from relayd.dialects.turns import TemplateTraits

VERSION = 1
"""Of these probes; traits that were found by other ones are looked for again."""

_MARKS = tuple(f"relaydmark{word}" for word in ("amber", "birch", "cedar", "dune", "ember", "fjord"))
_TOOL = {
    "type": "function",
    "function": {
        "name": "relaydtool",
        "description": "relaydmarktool",
        "parameters": {"type": "object", "properties": {"a": {"type": "string", "description": "text"}}},
    },
}
_ID, _OTHER_ID, _LONG_ID = "call00001", "call00002", "toolu_01RelaydProbeOfIds"


class TemplateProbe(msgspec.Struct, frozen=True):
    """One request to a template.

    Attributes:
        trait: What it shows; empty for the one that every template must take.
        body: Of the request.
        marks: What the prompt must hold, in this order.
    """

    trait: str
    body: bytes
    marks: tuple[str, ...]

    def is_taken(self, status: int, prompt: str) -> bool:
        """Return whether a template took it and shows all of it."""
        at = 0
        for mark in self.marks:
            at = prompt.find(mark, at)
            if at < 0:
                return False
        return status == 200


def probes() -> tuple[TemplateProbe, ...]:
    """Return all probes; the first one decides whether the others mean anything."""
    return tuple(_made(trait, messages) for trait, messages in _shapes())


def traits_of(taken: Mapping[int, bool]) -> TemplateTraits | None:
    """Return the traits of a template; None where it does not even take the first probe.

    Args:
        taken: Number of a probe -> whether it was taken.
    """
    if not taken.get(0):
        return None
    found: dict[str, bool] = {}
    for number, probe in enumerate(probes()):
        if probe.trait:
            found[probe.trait] = found.get(probe.trait, True) and taken.get(number, False)
    return TemplateTraits(**found)


def _shapes() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield trait and messages; `{0}` and so on stand for the words to look for."""
    user, answer = _said("user"), _said("assistant")
    yield "", [user]
    yield "system", [_said("system"), user]
    yield "second_system", [_said("system"), _said("system"), user]
    yield "late_system", [user, answer, _said("system"), user]
    yield "late_system", [user, answer, _said("system")]
    yield "late_system", [_said("system"), user, _said("system"), user]
    yield "developer", [_said("developer"), user]
    yield "developer", [_said("system"), _said("developer"), user]
    yield "developer", [user, answer, _said("developer"), user]
    yield "repeats", [user, user]
    yield "repeats", [user, answer, answer, user]
    yield "assistant_first", [answer, user]
    yield "only_system", [_said("system")]
    yield "tools", [user]
    yield "calls", [user, _calling(_ID), _result(_ID)]
    yield "calls", [user, _calling(_ID), _result(_ID), answer, user]
    yield "user_after_result", [user, _calling(_ID), _result(_ID), user]
    yield "long_ids", [user, _calling(_LONG_ID), _result(_LONG_ID)]
    yield "parallel_calls", [user, _calling(_ID, _OTHER_ID), _result(_ID), _result(_OTHER_ID)]
    yield "lone_results", [user, _result(_ID), user]
    yield "lone_calls", [user, _calling(_ID), user]


def _said(role: str) -> dict[str, Any]:
    return {"role": role, "content": "{}"}


def _calling(*names: str) -> dict[str, Any]:
    calls = [
        {"id": name, "type": "function", "function": {"name": "relaydtool", "arguments": '{"a":"{}"}'}}
        for name in names
    ]
    return {"role": "assistant", "content": "", "tool_calls": calls}


def _result(name: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": name, "content": "{}"}


_WITH_TOOLS = frozenset({
    "tools", "calls", "user_after_result", "long_ids", "parallel_calls", "lone_results", "lone_calls",
})  # fmt: skip


def _made(trait: str, messages: Sequence[dict[str, Any]]) -> TemplateProbe:
    text = msgspec.json.encode(messages).decode()
    count = text.count("{}")
    for mark in _MARKS[:count]:
        text = text.replace("{}", mark, 1)
    body = {"messages": msgspec.Raw(text.encode()), **({"tools": [_TOOL]} if trait in _WITH_TOOLS else {})}
    shown = ("relaydmarktool", *_MARKS[:count]) if trait == "tools" else _MARKS[:count]
    return TemplateProbe(trait, msgspec.json.encode(body), shown)
