"""Anthropic's API: messages, and the count of their tokens, on the engine's own door where that serves it."""

import uuid
from typing import Any

import msgspec
from aiohttp import web

from relayd.api.admission import RequestContext, Route
from relayd.api.fleet import ModelView
from relayd.api.forwarding import Adapted, Forwarding, Members, rewritten
from relayd.api.inference import Inference
from relayd.dialects.anthropic_answer import (
    MessageEvents,
    MessageNames,
    MessageWhole,
    MessageWriter,
    WholeMessageWriter,
    error_event,
    error_type,
)
from relayd.dialects.anthropic_chat import as_chat
from relayd.dialects.anthropic_request import for_engine, named
from relayd.dialects.chat_answer import ChatEvents, ChatWhole
from relayd.errors import NotServedError, ThreadUnsupportedError
from relayd.router import LLAMA_SERVER, Dialect, Peek, Problem

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


ANTHROPIC = Dialect(name="anthropic", error_body=anthropic_error, error_event=_event)


def _messages(members: Members, seen: Peek, model: ModelView, context: RequestContext) -> Adapted:
    """Have the engine's own door answer, or its chat where only that follows a format."""
    context.headers["Request-Id"] = context.request_id
    asked, names = for_engine(members), MessageNames(f"msg_{uuid.uuid4().hex}", seen.model or model.name)
    if asked.format is None:
        return Adapted(
            rewritten(asked.members),
            dialect=ANTHROPIC.answering(MessageEvents(names) if seen.stream else MessageWhole(names)),
            changed=named(asked.left_out),
        )
    return Adapted(
        as_chat(asked),
        path="/v1/chat/completions",
        dialect=ANTHROPIC.answering(
            ChatEvents(MessageWriter(names)) if seen.stream else ChatWhole(WholeMessageWriter(names))
        ),
        changed=named(asked.left_out),
    )


def _counted(members: Members, _seen: Peek, _model: ModelView, context: RequestContext) -> Adapted:
    context.headers["Request-Id"] = context.request_id
    return Adapted(rewritten(for_engine(members).members))


FORWARDINGS = (
    Forwarding("/v1/messages", LLAMA_SERVER["/v1/messages"], _messages),
    Forwarding(
        "/v1/messages/count_tokens", LLAMA_SERVER["/v1/messages/count_tokens"], _counted, queued=False
    ),
)


def anthropic_routes(inference: Inference) -> tuple[Route, ...]:
    """Return the routes of Anthropic's API; its list of models is OpenAI's, with the members of both."""
    batches = (
        Route(method, path, _no_batches, dialect=ANTHROPIC)
        for method in ("GET", "POST", "DELETE")
        for path in ("/v1/messages/batches", "/v1/messages/batches/")
    )
    return (*inference.routes(ANTHROPIC, FORWARDINGS), *batches)


async def _no_batches(_request: web.BaseRequest, _context: RequestContext) -> web.StreamResponse:
    raise NotServedError("Message batches are not served here.", remedy="Send each message by itself.")
