"""Anthropic's API: messages, and the count of their tokens, on the engine's own door where that serves it."""

from collections.abc import MutableMapping
from functools import partial
from math import ceil
from time import gmtime, strftime
from typing import Any

import msgspec

from relayd.api.admission import RequestContext, Route
from relayd.api.answer import new_id
from relayd.api.fleet import ModelView
from relayd.api.forwarding import Adapted, Forwarding, Members, rewritten
from relayd.api.inference import Inference
from relayd.dialects.anthropic_answer import (
    MessageEvents,
    MessageNames,
    MessageWriter,
    error_event,
    error_type,
)
from relayd.dialects.anthropic_chat import as_chat
from relayd.dialects.anthropic_request import for_engine, named, passes
from relayd.dialects.anthropic_whole import MessageWhole, WholeMessageWriter
from relayd.dialects.chat_answer import ChatEvents, ChatWhole
from relayd.errors import ThreadUnsupportedError
from relayd.router import LLAMA_SERVER, Dialect, Peek, Problem
from relayd.router.dialect import Translation

_TOO_LONG = "exceed_context_size_error"


def anthropic_error(problem: Problem) -> bytes:
    """Return the body of an error response."""
    error: dict[str, Any] = {"type": error_type(problem.status), "message": _message(problem)}
    if problem.code == ThreadUnsupportedError.code:
        error["details"] = {"error_code": problem.code, "unsupported": ["thread"]}
    return msgspec.json.encode({"type": "error", "error": error})


def _message(problem: Problem) -> str:
    """Return the message of an error; clients shorten a conversation when it is Anthropic's own wording."""
    details = problem.details
    if problem.kind == _TOO_LONG and {"n_prompt_tokens", "n_ctx"} <= details.keys():
        return f"prompt is too long: {details['n_prompt_tokens']} tokens > {details['n_ctx']} maximum"
    return problem.message


def _event(problem: Problem) -> bytes:
    return error_event(error_type(problem.status), _message(problem))


def _show_limit(fields: MutableMapping[str, str], what: str, limit: int, left: int, resets_at: float) -> None:
    prefix = f"anthropic-ratelimit-{what}"
    fields[f"{prefix}-limit"] = str(limit)
    fields[f"{prefix}-remaining"] = str(left)
    fields[f"{prefix}-reset"] = strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(ceil(resets_at)))


ANTHROPIC = Dialect(name="anthropic", error_body=anthropic_error, error_event=_event, show_limit=_show_limit)


class _EngineMessage(MessageNames, frozen=True):
    """Makes what mends the engine's own answer, once there is one."""

    is_stream: bool = False

    def __call__(self, *, stream: bool) -> Translation:  # noqa: ARG002 - the name is the protocol's
        """Return the translation of one answer."""
        return MessageEvents(self) if self.is_stream else MessageWhole(self)


def _messages(
    rewrite_ids: bool,
    keeps_stamp: bool,
    members: Members,
    seen: Peek,
    model: ModelView,
    context: RequestContext,
) -> Adapted:
    """Have the engine's own door answer, or its chat where only that follows a format."""
    context.headers["Request-Id"] = context.request_id
    if context.named:
        name = context.request_id if rewrite_ids else f"msg_{new_id()}"
    else:
        name = f"msg_{context.request_id}"
    if passes(members):
        answer = _EngineMessage(name, seen.model or model.name, False, seen.stream)
        return Adapted(rewritten(members) if seen.dropped else seen.body, "", ANTHROPIC.written_by(answer))
    asked = for_engine(members, keeps_stamp=keeps_stamp)
    names = MessageNames(name, seen.model or model.name, asked.parallel is False)
    changed = named(asked.left_out)
    if asked.format is None:
        translation = MessageEvents(names) if seen.stream else MessageWhole(names)
        return Adapted(rewritten(asked.members), "", ANTHROPIC.answering(translation), changed)
    return Adapted(
        as_chat(asked),
        "/v1/chat/completions",
        ANTHROPIC.answering(
            ChatEvents(MessageWriter(names)) if seen.stream else ChatWhole(WholeMessageWriter(names))
        ),
        changed,
    )


def _counted(
    keeps_stamp: bool, members: Members, _seen: Peek, _model: ModelView, context: RequestContext
) -> Adapted:
    context.headers["Request-Id"] = context.request_id
    return Adapted(rewritten(for_engine(members, keeps_stamp=keeps_stamp).members))


def _forwardings(*, rewrite_ids: bool, keeps_stamp: bool) -> tuple[Forwarding, ...]:
    path, count = "/v1/messages", "/v1/messages/count_tokens"
    return (
        Forwarding(path, LLAMA_SERVER[path], partial(_messages, rewrite_ids, keeps_stamp)),
        Forwarding(count, LLAMA_SERVER[count], partial(_counted, keeps_stamp), queued=False),
    )


def anthropic_routes(inference: Inference, *, rewrite_ids: bool = False) -> tuple[Route, ...]:
    """Return the routes of Anthropic's API; its list of models is OpenAI's, with the members of both.

    Args:
        inference: Reaches replicas.
        rewrite_ids: Whether a message has the id of its request, where the client gave one.
    """
    forwardings = _forwardings(rewrite_ids=rewrite_ids, keeps_stamp=inference.fitting.keeps_stamp)
    return tuple(inference.routes(ANTHROPIC, forwardings))
