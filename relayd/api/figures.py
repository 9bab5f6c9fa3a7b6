"""How are figures asked for: those of relayd, and those of every engine with model and replica as labels?"""

from collections.abc import Awaitable, Callable
from functools import partial

import msgspec
from aiohttp import web

from relayd.api.admission import Access, RequestContext, Route
from relayd.api.answer import Answer
from relayd.api.fleet import real_models
from relayd.api.inference import Inference
from relayd.api.streamed import StreamedClient
from relayd.dialects.relabelled import relabelled
from relayd.router import OWN_FIELDS, Call, Dialect

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

METRICS = "/metrics"

STARTED = "Process-Start-Time-Unix"
"""When the counters of a replica began, in seconds since 1970."""


class OwnFigures(msgspec.Struct, frozen=True):
    """Where the figures of relayd itself come from.

    Attributes:
        text: Returns them in Prometheus' text format.
        document: Returns them as one JSON document.
    """

    text: Callable[[], Awaitable[bytes]]
    document: Callable[[], Awaitable[object]]


async def _no_text() -> bytes:
    return b""


async def _no_document() -> object:
    return {}


NO_FIGURES = OwnFigures(_no_text, _no_document)


def figure_routes(inference: Inference, own: OwnFigures, dialect: Dialect) -> tuple[Route, ...]:
    """Return the routes of figures."""

    async def as_json(_request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
        return Answer(200, msgspec.json.encode(await own.document())).carrying(context.headers).response()

    return (
        Route("GET", METRICS, partial(_figures, inference, own, dialect), Access.METRICS, dialect),
        Route("GET", f"{METRICS}.json", as_json, Access.METRICS, dialect),
    )


async def _figures(
    inference: Inference, own: OwnFigures, dialect: Dialect, request: web.BaseRequest, context: RequestContext
) -> web.StreamResponse:
    """Answer with the figures of relayd, then of every replica in memory; or of the model of `?model=` alone.

    Those of the only replica are as it reports them; those of several have model and replica as labels.
    """
    if (named := request.query.get("model")) or inference.beside is None:
        client = StreamedClient(request)
        await inference.look_up(client, named, METRICS, dialect, context, PROMETHEUS)
        return client.response
    if "application/json" in request.headers.get("Accept", ""):
        return Answer(200, msgspec.json.encode(await own.document())).carrying(context.headers).response()
    found = [
        ({"model": model.name, "replica": endpoint.replica}, page)
        for model in real_models(context.visible(inference.fleet))
        for endpoint, page in await inference.beside.ask_all(model.name, Call.get(METRICS))
        if page.status == 200
    ]
    fields = {**OWN_FIELDS, "Content-Type": PROMETHEUS}
    text = await own.text()
    if len(found) == 1:
        page = found[0][1]
        started = {name: value for name, value in page.passing if name == STARTED}
        return Answer(200, text + page.body, fields | started).response()
    pages = ((labels, page.body.decode("utf-8", "replace")) for labels, page in found)
    return Answer(200, text + relabelled(pages).encode(), fields).response()
