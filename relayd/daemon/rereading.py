"""What does `relayd why` report of a request: what the engine did not have to read, and why it read the rest?

Pure: what was kept of requests goes in, a report comes out.
"""

from collections.abc import Sequence
from typing import NamedTuple

from relayd.daemon.whyreport import WhyReport
from relayd.router.promptparts import PromptPart, PromptParts
from relayd.scheduler import Exchange

_NEARLY = 0.9
"""Share of what could be reused that counts as all of it: a template adds words of its own."""

_FEW_TOKENS = 64
"""What is not worth a cause: the end of a turn that another one was joined with."""


class KnownPrompt(NamedTuple):
    """A request that has ended, and the parts of its prompt."""

    exchange: Exchange
    parts: PromptParts


def explained(asked: KnownPrompt, earlier: Sequence[KnownPrompt]) -> WhyReport:
    """Return why the engine read what it read of a prompt.

    Args:
        asked: The request.
        earlier: Those before it that reached the same model, the oldest first.
    """
    shared = [(_shared(asked.parts, one.parts), number) for number, one in enumerate(earlier)]
    best, at = max(shared, default=(0, -1))
    if best == 0 and not _has_same_tools(asked, earlier):
        return _report(asked, "new", _NEW)
    before = earlier[at]
    difference = _difference(asked.parts, before.parts, best)
    expected = _tokens(before) * best // max(1, before.parts.size)
    cached = asked.exchange.usage.cached_tokens if asked.exchange.usage else 0
    if cached + _FEW_TOKENS < _NEARLY * expected:
        cause, lost = _engine_cause(asked, earlier, best), max(0, expected - cached)
    elif difference and _tokens(before) - cached > _FEW_TOKENS:
        cause, lost = "client", _tokens(before) - cached
    else:
        cause, lost = "reused", 0
    return _report(asked, cause, _TEXTS[cause], before, difference, lost)


def _shared(mine: PromptParts, theirs: PromptParts) -> int:
    """Return how many bytes of two prompts are the same from their beginning, by whole parts."""
    size = 0
    for one, other in zip((*mine.tools, *mine.messages), (*theirs.tools, *theirs.messages), strict=False):
        if one.digest != other.digest:
            break
        size += one.size
    return size


def _has_same_tools(asked: KnownPrompt, earlier: Sequence[KnownPrompt]) -> bool:
    """Return whether an earlier request is of the same client: it offers some of the same tools."""
    names = {part.name for part in asked.parts.tools}
    return any(names & {part.name for part in one.parts.tools} for one in earlier)


def _difference(mine: PromptParts, theirs: PromptParts, shared: int) -> str:
    """Return the first part of an earlier prompt that this one does not have."""
    if shared >= theirs.size:
        return ""
    for number, (one, other) in enumerate(_aligned(mine.tools, theirs.tools), 1):
        if one is None or other is None or one.digest != other.digest:
            name = (one or other or _NO_PART).name
            what = "added" if other is None else "removed" if one is None else "changed"
            return f"tool {number} ({name}) {what}"
    for number, (one, other) in enumerate(_aligned(mine.messages, theirs.messages), 1):
        if other is not None and (one is None or one.digest != other.digest):
            return f"message {number} ({other.name}) {'removed' if one is None else 'changed'}"
    return ""


_NO_PART = PromptPart("", 0, 0)


def _aligned(
    mine: Sequence[PromptPart], theirs: Sequence[PromptPart]
) -> Sequence[tuple[PromptPart | None, PromptPart | None]]:
    most = max(len(mine), len(theirs))
    return [
        (mine[number] if number < len(mine) else None, theirs[number] if number < len(theirs) else None)
        for number in range(most)
    ]


def _tokens(known: KnownPrompt) -> int:
    return known.exchange.usage.prompt_tokens if known.exchange.usage else 0


def _engine_cause(asked: KnownPrompt, earlier: Sequence[KnownPrompt], best: int) -> str:
    """Return why the engine had not what an earlier request had it read."""
    mine = asked.exchange
    here = [one for one in earlier if one.exchange.replica == mine.replica]
    alike = [one for one in here if _shared(asked.parts, one.parts) >= best]
    if not alike:
        return "other_replica"
    if all(one.exchange.incarnation != mine.incarnation for one in alike):
        return "restart"
    since = max(one.exchange.ended_at for one in alike)
    others = [one for one in here if one.exchange.ended_at > since]
    return "evicted" if others else "template"


_NEW = "No earlier request of this model begins like it."
_TEXTS = {
    "reused": "All that an earlier request had the engine read was reused.",
    "client": "The client changed the conversation: {difference}.",
    "template": "The conversation is the same as far as it goes: its template renders earlier turns anew.",
    "evicted": "Other conversations took the place of what the engine had read.",
    "other_replica": "Another replica had read it.",
    "restart": "The engine was started again since it had read it.",
}


def _report(
    asked: KnownPrompt,
    cause: str,
    text: str,
    before: KnownPrompt | None = None,
    difference: str = "",
    lost: int = 0,
) -> WhyReport:
    exchange, usage = asked.exchange, asked.exchange.usage
    prompt, cached = (usage.prompt_tokens, usage.cached_tokens) if usage else (0, 0)
    seconds = usage.prompt_ms / 1000 if usage else 0.0
    if not seconds and exchange.first_byte_at is not None and exchange.placed_at is not None:
        seconds = exchange.first_byte_at - exchange.placed_at
    lost = min(lost, prompt - cached)
    return WhyReport(
        exchange.request_id,
        exchange.ask.model,
        exchange.replica,
        prompt,
        cached,
        round(seconds, 3),
        cause,
        before.exchange.request_id if before else "",
        difference,
        lost,
        round(seconds * lost / max(1, prompt - cached), 3),
        text.format(difference=difference),
    )
