"""llama.cpp's own API: what llama-server serves besides OpenAI's and Anthropic's.

Its clients name no model. At the root they mean the only one that can answer, the default one, or that of
`?model=`; any model is reached by its name at `/models/{name}/…`.
"""

from collections.abc import Iterator
from urllib.parse import unquote

import msgspec
from aiohttp import web

from relayd.api.admission import Access, Handler, RequestContext, Route
from relayd.api.answer import json_answer
from relayd.api.figures import METRICS, NO_FIGURES, PROMETHEUS, OwnFigures, figure_routes
from relayd.api.forwarding import Forwarding, split_tail
from relayd.api.inference import Inference
from relayd.api.listing import model_entry
from relayd.api.openai import OPENAI, openai_forwardings, with_counted_tokens
from relayd.api.rerank import rerank_forwardings
from relayd.api.streamed import StreamedClient
from relayd.errors import NotFetchedError, NotFoundError, NotServedError
from relayd.router import LLAMA_SERVER

NATIVE = msgspec.structs.replace(OPENAI, name="native", last_event=b"")

_SLOTTED = {
    "/completion": "completion",
    "/infill": "completion",
    "/v1/systemone": "completion",
    "/embedding": "embedding",
}
"""Paths that take a slot, and what their model must be able to do."""

_GENERATING = frozenset({"/completion", "/infill"})
"""Those whose answers state what they took only where that is asked for."""

_BESIDE = (
    "/tokenize", "/detokenize", "/apply-template",
    "/chat/completions/input_tokens", "/v1/chat/completions/input_tokens",
)  # fmt: skip
"""Paths that take none."""

READ = ("/props", "/slots", "/metrics", "/lora-adapters")
"""Paths that only read."""

FETCHING = "/cors-proxy"
"""Path by which llama-server's page fetches from other servers."""

_FIGURES = ("/slots", METRICS)
"""Those that state what the requests of every client come to."""


def native_routes(
    inference: Inference, figures: OwnFigures = NO_FIGURES, *, rewrite_ids: bool = False
) -> tuple[Route, ...]:
    """Return the routes of llama.cpp's own API, and those behind the name of a model.

    Args:
        inference: Reaches replicas.
        figures: Of relayd itself.
        rewrite_ids: Whether an answer has the id of its request in its body, where the client gave one.
    """
    fleet = inference.fleet
    within = (
        *_forwardings(),
        *openai_forwardings(rewrite_ids=rewrite_ids, repairs=inference.fitting.calls),
        *rerank_forwardings(),
    )

    async def behind(request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
        """Answer about one model, or as one of its replicas does."""
        try:
            name, path = split_tail(context.tail, READ)
        except NotFoundError:
            name, path = "", ""
        if not name:
            return json_answer(model_entry(context.find(fleet, unquote(context.tail))))
        return await _read(inference, request, name, path, context)

    return (
        *inference.routes(NATIVE, _forwardings()),
        *(
            Route("GET", path, _reading(inference, path), _access_to(path), NATIVE)
            for path in READ
            if path != METRICS
        ),
        *figure_routes(inference, figures, NATIVE),
        *(Route("POST", path, _read_only, dialect=NATIVE) for path in ("/props", "/lora-adapters")),
        *(Route(method, FETCHING, _not_fetched, dialect=NATIVE) for method in ("GET", "POST")),
        inference.within("/models/", NATIVE, within),
        Route(
            "GET",
            "/models/",
            behind,
            dialect=NATIVE,
            access_by_end=tuple((path, Access.METRICS) for path in _FIGURES),
        ),
    )


def _forwardings() -> Iterator[Forwarding]:
    for path, ability in _SLOTTED.items():
        adapt = with_counted_tokens if path in _GENERATING else None
        yield Forwarding(path, LLAMA_SERVER[path], adapt, ability=ability)
    for path in _BESIDE:
        yield Forwarding(path, LLAMA_SERVER[path], queued=False)


def _access_to(path: str) -> Access:
    return Access.METRICS if path in _FIGURES else Access.CLIENT


def _reading(inference: Inference, path: str) -> Handler:
    async def answer(request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
        return await _read(inference, request, request.query.get("model") or None, path, context)

    return answer


async def _read(
    inference: Inference, request: web.BaseRequest, name: str | None, path: str, context: RequestContext
) -> web.StreamResponse:
    client = StreamedClient(request)
    content_type = PROMETHEUS if path == "/metrics" else "application/json"
    await inference.look_up(client, name, path, NATIVE, context, content_type)
    return client.response


async def _read_only(_request: web.BaseRequest, _context: RequestContext) -> web.StreamResponse:
    raise NotServedError(
        "This can only be read here.", remedy="What a model is started with is set in relay.toml."
    )


async def _not_fetched(_request: web.BaseRequest, _context: RequestContext) -> web.StreamResponse:
    raise NotFetchedError(
        "relayd fetches nothing for clients.", remedy="Have the page ask the other server itself."
    )
