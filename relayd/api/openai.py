"""OpenAI's API: its dialect, and which models it lists."""

from urllib.parse import unquote

import msgspec
from aiohttp import web

from relayd.api.admission import RequestContext, Route
from relayd.api.answer import json_answer
from relayd.api.fleet import ModelView, find_model
from relayd.api.inference import Inference
from relayd.router import LLAMA_SERVER, Dialect, Problem

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "unavailable_error",
}
"""Status to `type`, where clients know a name for it."""

_CODES = {"exceed_context_size_error": "context_length_exceeded"}
"""The engine's error types that clients know by a code."""

_DEMO = "A demo that answers from a fixed table, to try relayd without a download; not a language model."


def error_type(status: int) -> str:
    """Return the `type` of an error with this HTTP status."""
    return _TYPES.get(status) or ("invalid_request_error" if status < 500 else "server_error")


def error_body(problem: Problem) -> bytes:
    """Return the body of an error response."""
    error = {
        "message": problem.message,
        "type": problem.kind or error_type(problem.status),
        "code": _CODES.get(problem.code, problem.code) or None,
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
    rules={
        path: LLAMA_SERVER[path] for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
    },
)


def openai_routes(inference: Inference) -> tuple[Route, ...]:
    """Return the routes of OpenAI's API."""
    fleet = inference.fleet

    async def models(_request: web.BaseRequest, _context: RequestContext) -> web.StreamResponse:
        return json_answer({"object": "list", "data": [model_entry(model) for model in fleet.models()]})

    async def one_model(_request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
        return json_answer(model_entry(find_model(unquote(context.tail), fleet.models())))

    return (
        *inference.routes(OPENAI),
        Route("GET", "/v1/models", models, dialect=OPENAI),
        Route("GET", "/v1/models/", one_model, dialect=OPENAI),
    )


def model_entry(model: ModelView) -> dict[str, object]:
    """Return a model as OpenAI lists it, with what relayd knows besides."""
    entry: dict[str, object] = {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": "relayd",
        "aliases": model.aliases,
        "context": model.context,
        "slots": model.slots,
        "state": model.state.value,
    }
    return entry | {"demo": True, "description": _DEMO} if model.demo else entry
