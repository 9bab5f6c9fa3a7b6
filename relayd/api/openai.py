"""What of OpenAI's API is served, and which model is each request for?"""

import asyncio
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import unquote

from aiohttp import web

from relayd.api.answer import json_answer
from relayd.api.body import read_body
from relayd.api.door import Handler, Route, Visit
from relayd.api.fleet import Fleet, ModelView, find_model
from relayd.router import Call, Dispatcher, Kind, Lease, peek
from relayd.scheduler.ask import Ask
from relayd.units import KIB, Bytes

_KINDS: Mapping[str, Kind] = {
    "/v1/chat/completions": Kind.CHAT,
    "/v1/completions": Kind.COMPLETION,
    "/v1/embeddings": Kind.EMBEDDING,
}
"""Paths that reach a replica; it is asked under the same path."""

_LARGE = 256 * KIB
"""A body that a thread looks into: 10 ms a megabyte would hold up everybody else."""

_DEMO = "A demo that answers from a fixed table, to try relayd without a download; not a language model."


class Proxy(Protocol):
    """Carries one request to a replica and its answer back; `relayd.router.Proxy` does."""

    async def forward(
        self,
        request: web.BaseRequest,
        call: Call,
        placement: Lease,
        request_id: str,
        headers: Mapping[str, str],
    ) -> web.StreamResponse:
        """Return the response, sent to its end with `headers` on it.

        Raises:
            RequestError: No replica answered, and not a byte was sent.
        """
        ...


def openai_routes(
    fleet: Fleet, dispatcher: Dispatcher, proxy: Proxy, *, max_body: Bytes, body_seconds: float
) -> tuple[Route, ...]:
    """Return the routes of OpenAI's API.

    Args:
        fleet: The models.
        dispatcher: Finds each request a slot.
        proxy: Carries it there.
        max_body: The most a body may hold.
        body_seconds: How long a body, or the next 64 KiB of it, may take.
    """

    def inference(path: str, kind: Kind) -> Handler:
        async def serve(request: web.BaseRequest, visit: Visit) -> web.StreamResponse:
            raw = await read_body(request, limit=max_body, progress_seconds=body_seconds)
            body = await asyncio.to_thread(peek, raw, kind) if len(raw) > _LARGE else peek(raw, kind)
            model = find_model(body.model, fleet.models())
            with dispatcher.open(Ask(model.name, body.width, visit.key or "")) as placement:
                call = Call(path, body.body, body.stream)
                return await proxy.forward(request, call, placement, visit.request_id, visit.headers)

        return serve

    async def models(_request: web.BaseRequest, _visit: Visit) -> web.StreamResponse:
        return json_answer({"object": "list", "data": [model_entry(model) for model in fleet.models()]})

    async def one_model(_request: web.BaseRequest, visit: Visit) -> web.StreamResponse:
        return json_answer(model_entry(find_model(unquote(visit.tail), fleet.models())))

    return (
        *(Route("POST", path, inference(path, kind)) for path, kind in _KINDS.items()),
        Route("GET", "/v1/models", models),
        Route("GET", "/v1/models/", one_model),
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
