"""What of a request may a server elsewhere get: its members, its id and what its API has in the head?"""

from typing import Protocol

import msgspec

from relayd.api.admission import Incoming, RequestContext
from relayd.api.fitting import Fitting, note_change
from relayd.api.fleet import ModelDirectory, ModelView
from relayd.errors import RequestError
from relayd.router import UNLIMITED, BodyRules, OpenedBody, Peek, SentBody, Unlisted, changed, judge

Asked = tuple[RequestContext, str | None]
"""What is known of a request, and the model that its path names."""

Judged = tuple[OpenedBody, Peek, str]

_PASSED = ("traceparent", "tracestate", "anthropic-version", "anthropic-beta")
"""Fields of a client's head that go along. Its credentials and cookies never do."""

_LONGEST = 1024


class Judge(Protocol):
    """What judges bodies: `Inference`."""

    @property
    def fleet(self) -> ModelDirectory:
        """The models."""
        ...

    @property
    def fitting(self) -> Fitting:
        """What is changed in bodies for the engine."""
        ...

    @property
    def unlisted(self) -> Unlisted:
        """What becomes of members that no table lists."""
        ...


def as_sent(
    request: Incoming,
    context: RequestContext,
    opened: OpenedBody,
    seen: Peek,
    model: ModelView,
    translated: bool = False,
) -> SentBody:
    """Return what a server elsewhere may get.

    Args:
        request: Whose head is read.
        context: What is known of it.
        opened: Its body.
        seen: What the door made of that.
        model: Which model it is for.
        translated: The door has rewritten the body for another API.
    """
    fields = [("X-Request-ID", context.request_id)]
    for name in _PASSED:
        value = request.headers.get(name)
        if value and len(value) <= _LONGEST and value.isascii() and value.isprintable():
            fields.append((name, value))
    is_preset = model.preset is not None or model.tokens is not UNLIMITED
    return SentBody((opened.came or opened).members, seen.dropped, translated, is_preset, tuple(fields))


def judged(judge_of: Judge, opened: OpenedBody, rules: BodyRules, asked: Asked) -> Judged:
    """Return a body as the engine can hold it, what routing needs to know of it, and what was changed.

    For a model that only others serve, rules of llama-server do not hold.

    Args:
        judge_of: What judges bodies.
        opened: What the client sent.
        rules: What llama-server accepts.
        asked: Who asks, and for which model where the body does not name it.

    Raises:
        RequestError: It asks for what no client may have.
    """
    try:
        return judge_of.fitting.judged(opened, rules, judge_of.unlisted)
    except RequestError as error:
        context, named = asked
        if context.find(judge_of.fleet, named or _named(opened)).is_local:
            raise
        try:
            seen = judge(opened, rules.elsewhere(), Unlisted("drop", frozenset(opened.members)))
        except RequestError as other:
            raise other from error
        return opened, seen, ""


def note_judged(change: str, seen: Peek, model: ModelView, context: RequestContext) -> None:
    """Have the client know what was changed in its body; for a model that only others serve, nothing was."""
    if model.is_local:
        note_change(changed(seen.dropped) if seen.dropped else "", context)
        note_change(change, context)


def _named(opened: OpenedBody) -> str | None:
    """Return the model that a body names."""
    raw = opened.members.get("model")
    try:
        return None if raw is None else msgspec.json.decode(raw, type=str)
    except msgspec.DecodeError:
        return None
