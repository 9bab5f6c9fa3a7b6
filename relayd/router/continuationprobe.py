"""Does the prompt of a continued chat begin with the prompt that was answered, for a template (probe)?

The engine renders both (`/apply-template`, which takes no slot), for an answer that broke off in its
reasoning, behind it, or that has none, with tools and without. Where the prompt of the continuation begins
otherwise, the model goes on from a text that it has not had before it: that is reported, not refused.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from relayd.router.continuation import Broken, continued
from relayd.router.headers import Call

_encode = msgspec.json.Encoder().encode

_PATH = "/v1/chat/completions"
_ASKED = {"messages": [{"role": "user", "content": "Why?"}], "stream": True}
_TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Look something up.",
        "parameters": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
    },
}
_CASES: Mapping[str, Broken] = {
    "in reasoning": Broken(reasoning="First of all"),
    "after reasoning": Broken(text="The answer", reasoning="First of all."),
    "content only": Broken(text="The answer"),
}


class Beginning(StrEnum):
    """How the prompt of a continuation begins."""

    SAME = "same"
    """With the first prompt, and then what was generated."""
    INSERTS = "inserts"
    """With the first prompt, but something stands between it and a text that had no reasoning before it."""
    DIFFERS = "differs"
    """Otherwise."""
    NOT_RENDERED = "not rendered"
    """The template refuses the conversation itself."""
    NOT_CONTINUED = "not continued"
    """It refuses the continuation."""


class ContinuationProbe(msgspec.Struct, frozen=True):
    """One comparison.

    Attributes:
        name: Where the answer broke off, and whether there were tools.
        before: Body of the chat that was answered.
        after: Body of the one that continues it.
        broken: What came of the answer.
    """

    name: str
    before: bytes
    after: bytes
    broken: Broken

    def compare(self, before: str | None, after: str | None) -> tuple[Beginning, str]:
        """Return how one prompt begins, and what stands between the first one and what was generated.

        Args:
            before: The prompt that was answered; None where the template refuses it.
            after: The one of the continuation, likewise.
        """
        if before is None:
            return Beginning.NOT_RENDERED, ""
        if after is None:
            return Beginning.NOT_CONTINUED, ""
        between, found, _ = after[len(before) :].partition(self.broken.reasoning or self.broken.text)
        if not after.startswith(before) or not found:
            return Beginning.DIFFERS, ""
        return Beginning.INSERTS if between and not self.broken.reasoning else Beginning.SAME, between


def continuation_probes() -> tuple[ContinuationProbe, ...]:
    """Return the comparisons that are made of each template."""
    found = []
    for tools in (False, True):
        call = Call(_PATH, _encode({**_ASKED, "tools": [_TOOL]} if tools else _ASKED), stream=True)
        for name, broken in _CASES.items():
            label = f"{name}, with tools" if tools else name
            found.append(ContinuationProbe(label, call.body, continued(call, broken).body, broken))
    return tuple(found)
