"""How does a request for a model reach a replica, in any dialect?"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from aiohttp import web

from relayd.api.body import read_body
from relayd.api.door import Handler, RequestContext, Route
from relayd.api.fleet import ModelDirectory, find_model
from relayd.api.spliced import client_of
from relayd.router import (
    DROP,
    BodyRules,
    Call,
    Dialect,
    Dispatcher,
    Exchanges,
    Proxy,
    Unlisted,
    changed,
    peek,
)
from relayd.scheduler.ask import Ask
from relayd.units import KIB, Bytes

_LARGE = 256 * KIB
"""A body that a thread looks into: 10 ms a megabyte would hold up every other request."""


@dataclass(frozen=True, slots=True)
class Inference:
    """What every route to a replica needs.

    Attributes:
        fleet: The models.
        dispatcher: Finds each request a slot.
        proxy: Carries it there.
        exchanges: Opens the record of each request.
        max_body: The most a body may hold.
        body_seconds: How long a body, or the next 64 KiB of it, may take.
        unlisted: What becomes of members that no table lists.
    """

    fleet: ModelDirectory
    dispatcher: Dispatcher
    proxy: Proxy
    exchanges: Exchanges
    max_body: Bytes
    body_seconds: float
    unlisted: Unlisted = DROP

    def routes(self, dialect: Dialect) -> Iterable[Route]:
        """Yield a route for each path of a dialect that reaches a replica under the same path."""
        for path, rules in dialect.rules.items():
            yield Route("POST", path, self._handler(dialect, path, rules), dialect=dialect)

    def _handler(self, dialect: Dialect, path: str, rules: BodyRules) -> Handler:
        async def serve(request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
            key = context.key or ""
            with self.exchanges.begin(context.request_id, path, key) as record:
                raw = await read_body(request, limit=self.max_body, progress_seconds=self.body_seconds)
                seen = (
                    await asyncio.to_thread(peek, raw, rules, self.unlisted)
                    if len(raw) > _LARGE
                    else peek(raw, rules, self.unlisted)
                )
                if seen.dropped:
                    context.headers["X-Relayd-Changed"] = changed(seen.dropped)
                model = find_model(seen.model, self.fleet.models())
                deadline = self.dispatcher.deadline()
                ask = Ask(model.name, seen.width, key, deadline=deadline, stream=seen.stream)
                with self.dispatcher.open(ask, record) as lease:
                    call = Call(path, seen.body, seen.stream)
                    client = client_of(request)
                    await self.proxy.forward(client, call, lease, dialect, context.headers)
                    return client.response

        return serve
