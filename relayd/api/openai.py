"""OpenAI's API: its dialect, which models it lists, and what of it is not served."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from urllib.parse import unquote

import msgspec
from aiohttp import web

from relayd.api.admission import RequestContext, Route
from relayd.api.answer import json_answer
from relayd.api.fleet import ModelView
from relayd.api.forwarding import Adapt, Adapted, Forwarding, Members, rewritten
from relayd.api.inference import Inference
from relayd.api.listing import model_entry, model_list
from relayd.dialects.callends import CompletedCalls, CompletedCallsWhole
from relayd.dialects.embeddings import shortened
from relayd.dialects.fields import EventsWithoutTimings, WithoutTimings, with_timings
from relayd.dialects.naming import NamedEvents, NamedWhole
from relayd.dialects.onecall import OneCallEvents, OneCallWhole
from relayd.dialects.toolchoice import followed
from relayd.errors import NotServedError
from relayd.router import LLAMA_SERVER, Dialect, Peek, Problem, Translation

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "unavailable_error",
}
"""Status to `type`, where clients know a name for it."""

CODES = {"exceed_context_size_error": "context_length_exceeded"}
"""The engine's error types that clients know by a code."""


def error_type(status: int) -> str:
    """Return the `type` of an error with this HTTP status."""
    return _TYPES.get(status) or ("invalid_request_error" if status < 500 else "server_error")


def error_body(problem: Problem) -> bytes:
    """Return the body of an error response."""
    error = {
        "message": problem.message,
        "type": problem.kind or error_type(problem.status),
        "code": CODES.get(problem.code, problem.code) or None,
        "param": problem.param,
    }
    return msgspec.json.encode({"error": {**error, **problem.details}})


def error_event(problem: Problem) -> bytes:
    """Return the event that ends a stream; `[DONE]` never follows it."""
    return b"data: %b\n\n" % error_body(problem)


OPENAI = Dialect(
    name="openai",
    error_body=error_body,
    error_event=error_event,
    event_end=b"\n\n",
    last_event=b"data: [DONE]\n\n",
)


def _with_followed_choice(
    repairs: bool, members: Members, seen: Peek, _model: ModelView, _context: RequestContext
) -> Adapted | None:
    changed = followed(members)
    if "tools" not in members:
        return None if changed is None else Adapted(rewritten(changed))
    translation: Translation | None = None
    if bytes(members.get("parallel_tool_calls", b"")) == b"false":
        translation = OneCallEvents() if seen.stream else OneCallWhole()
    if repairs:
        translation = CompletedCalls(translation) if seen.stream else CompletedCallsWhole(translation)
    if changed is None and translation is None:
        return None
    body = seen.body if changed is None else rewritten(changed)
    return Adapted(body, dialect=OPENAI.answering(translation) if translation is not None else None)


def _with_dimensions(
    members: Members, _seen: Peek, model: ModelView, _context: RequestContext
) -> Adapted | None:
    found = shortened(members, model.facts.embedding_length)
    if found is None:
        return None
    asked, vectors = found
    return Adapted(rewritten(asked), "/v1/embeddings", OPENAI.answering(vectors, ends_aside=True))


def with_counted_tokens(
    members: Members, seen: Peek, _model: ModelView, _context: RequestContext
) -> Adapted | None:
    """Have an answer of llama.cpp's own form state what it took, where its client left that out."""
    if (asked := with_timings(members)) is None:
        return None
    translation = EventsWithoutTimings() if seen.stream else WithoutTimings()
    dialect = OPENAI.answering(translation, name="native", last_event=b"")
    return Adapted(rewritten(asked), dialect=dialect)


def _named_as_openai(path: str, then: Adapt | None, otherwise: Adapt | None = None) -> Forwarding:
    """Return the forwarding of a path that OpenAI's clients and llama.cpp's own spell alike.

    The former always name a model, the latter never do.
    """

    def adapt(members: Members, seen: Peek, model: ModelView, context: RequestContext) -> Adapted | None:
        if seen.model is None:
            return otherwise(members, seen, model, context) if otherwise else None
        adapted = then(members, seen, model, context) if then else None
        return msgspec.structs.replace(adapted or Adapted(seen.body), path=f"/v1{path}")

    return Forwarding(path, LLAMA_SERVER[path], adapt)


def openai_forwardings(*, rewrite_ids: bool = False, repairs: bool = False) -> Iterator[Forwarding]:
    """Yield the paths of OpenAI's API that llama-server serves itself.

    Args:
        rewrite_ids: Whether an answer has the id of its request in its body, where the client gave one.
        repairs: Whether calls that were cut are completed in an answer.
    """
    acts_on = None if rewrite_ids else frozenset({"tool_choice", "parallel_tool_calls", "tools"})
    for path in ("/v1/chat/completions", "/chat/completions"):
        adapt = _naming(partial(_with_followed_choice, repairs), rewrite_ids=rewrite_ids)
        yield Forwarding(path, LLAMA_SERVER[path], adapt, acts_on=acts_on)
    path = "/v1/completions"
    yield Forwarding(path, LLAMA_SERVER[path], _naming(None, rewrite_ids=rewrite_ids))
    yield Forwarding("/v1/embeddings", LLAMA_SERVER["/v1/embeddings"], _with_dimensions, ability="embedding")
    yield _named_as_openai("/completions", _naming(None, rewrite_ids=rewrite_ids), with_counted_tokens)
    yield replace(_named_as_openai("/embeddings", _with_dimensions), ability="embedding")


def _naming(then: Adapt | None, *, rewrite_ids: bool) -> Adapt | None:
    """Return what has an answer carry the id of its request, where the client gave one; else `then` alone."""
    if not rewrite_ids:
        return then

    def adapt(members: Members, seen: Peek, model: ModelView, context: RequestContext) -> Adapted | None:
        adapted = then(members, seen, model, context) if then else None
        if not context.named:
            return adapted
        adapted, name = adapted or Adapted(seen.body), context.request_id
        before = adapted.dialect.translation(stream=seen.stream) if adapted.dialect else None
        translation = NamedEvents(name, before) if seen.stream else NamedWhole(name, before)
        return msgspec.structs.replace(adapted, dialect=OPENAI.answering(translation))

    return adapt


_NO_COUNTERPART = "llama-server has nothing like it."
NOT_SERVED = {
    "/v1/audio/speech": _NO_COUNTERPART,
    "/v1/audio/translations": _NO_COUNTERPART,
    "/v1/conversations": "Send the whole conversation with each request.",
    "/v1/evals": _NO_COUNTERPART,
    "/v1/fine_tuning": _NO_COUNTERPART,
    "/v1/images": _NO_COUNTERPART,
    "/v1/moderations": _NO_COUNTERPART,
    "/v1/realtime": _NO_COUNTERPART,
    "/v1/vector_stores": _NO_COUNTERPART,
    "/v1/videos": _NO_COUNTERPART,
}
"""Paths of OpenAI's API that are not served, and what to do instead."""


def openai_routes(inference: Inference, *, rewrite_ids: bool = False) -> tuple[Route, ...]:
    """Return the routes of OpenAI's API.

    Args:
        inference: Reaches replicas.
        rewrite_ids: Whether an answer has the id of its request in its body, where the client gave one.
    """
    fleet, repairs = inference.fleet, inference.fitting.calls

    async def models(_request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
        return json_answer(model_list(context.visible(fleet)))

    async def one_model(_request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
        return json_answer(model_entry(context.find(fleet, unquote(context.tail))))

    return (
        *inference.routes(OPENAI, openai_forwardings(rewrite_ids=rewrite_ids, repairs=repairs)),
        *(
            route
            for route in (
                Route("GET", "/v1/models", models, dialect=OPENAI),
                Route("GET", "/models", models, dialect=OPENAI),
                Route("GET", "/v1/models/", one_model, dialect=OPENAI),
            )
        ),
        *_not_served(),
    )


def _not_served() -> Iterator[Route]:
    """Yield routes that state what is missing, where a client would otherwise take a path for misspelled."""
    for path, remedy in NOT_SERVED.items():
        refuse = partial(_refuse, path, remedy)
        for method in ("GET", "POST"):
            yield Route(method, path, refuse, dialect=OPENAI)
            yield Route(method, f"{path}/", refuse, dialect=OPENAI)


async def _refuse(
    path: str, remedy: str, _request: web.BaseRequest, _context: RequestContext
) -> web.StreamResponse:
    raise NotServedError(f"{path} is not served here.", remedy=remedy)
