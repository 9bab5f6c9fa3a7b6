"""How does a request for a model reach a replica, in any dialect?"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ParamSpec, Protocol, TypeVar
from urllib.parse import unquote

from msgspec.structs import replace

from relayd.api.admission import Incoming, RequestContext, Route
from relayd.api.answer import Answer
from relayd.api.bodies import Bodies, BodyHold
from relayd.api.body import read_body, take_body
from relayd.api.fleet import ModelDirectory, ModelView, check_length, find_model
from relayd.api.forwarding import Forwarding
from relayd.api.served import over_aiohttp
from relayd.errors import NotFoundError, NotLoadedError
from relayd.router import (
    DROP,
    Beside,
    BodyRules,
    Call,
    Dialect,
    Dispatcher,
    Exchanges,
    Lease,
    OpenedBody,
    Peek,
    ProgressComments,
    Proxy,
    Recipient,
    TimeLimitWatch,
    Unlisted,
    changed,
    judge,
    open_body,
)
from relayd.scheduler.ask import Ask
from relayd.units import KIB, Bytes, mib

P = ParamSpec("P")
T = TypeVar("T")


class NamedHandler(Protocol):
    """A `DirectHandler` that may be given the model of a request, which its body then does not name."""

    def __call__(
        self, request: Incoming, client: Recipient, context: RequestContext, named: str | None = None, /
    ) -> Coroutine[Any, Any, None]:
        """Answer a request."""
        ...


def split_tail(tail: str, paths: Iterable[str]) -> tuple[str, str]:
    """Return the model and the path in the tail of a raw path, like `org/name/v1/completions`.

    Raises:
        NotFoundError: It ends with none of these paths.
    """
    for path in sorted(paths, key=len, reverse=True):
        if f"/{tail}".endswith(path) and len(tail) > len(path):
            return unquote(tail.removesuffix(path)), path
    raise NotFoundError(f"There is nothing at {tail[:100]!r} of the models.", remedy="See /openapi.json.")


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
        bodies: Counts what bodies take together.
        beside: Sends what takes no slot; None has it take one.
        progress: Shows streams that ask for it how far they are; None shows nothing.
        aside: The thread that looks into large bodies, one after the other: the decoder holds the
            interpreter's lock, so that with thirty threads the loop would wait for thirty bodies.
    """

    fleet: ModelDirectory
    dispatcher: Dispatcher
    proxy: Proxy
    exchanges: Exchanges
    max_body: Bytes
    body_seconds: float
    unlisted: Unlisted = DROP
    progress: ProgressComments | None = None
    bodies: Bodies = field(default_factory=lambda: Bodies(mib(256)))
    beside: Beside | None = None
    aside: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "bodies"))

    def routes(self, dialect: Dialect, forwardings: Iterable[Forwarding]) -> Iterable[Route]:
        """Yield the routes of paths of a dialect that reach a replica."""
        for forwarding in forwardings:
            direct = self._handler(dialect, forwarding)
            yield Route(
                "POST",
                forwarding.path,
                over_aiohttp(direct),
                dialect=dialect,
                direct=direct,
                rules=forwarding.rules,
            )

    def within(self, prefix: str, dialect: Dialect, forwardings: Iterable[Forwarding]) -> Route:
        """Return the route of all that is behind `prefix` and the name of a model."""
        handlers = {one.path: self._handler(dialect, one) for one in forwardings}

        async def serve(request: Incoming, client: Recipient, context: RequestContext) -> None:
            name, path = split_tail(context.tail, handlers)
            await handlers[path](request, client, context, name)

        return Route("POST", prefix, over_aiohttp(serve), dialect=dialect)

    async def look_up(
        self,
        client: Recipient,
        name: str | None,
        path: str,
        dialect: Dialect,
        context: RequestContext,
        content_type: str = "application/json",
    ) -> None:
        """Pass on what a replica answers at a path that only reads; a model that is cold is not loaded.

        Raises:
            NotLoadedError: No replica of the model serves.
        """
        model = find_model(name, context.visible(self.fleet))
        with self.exchanges.begin(context.request_id, path, context.key) as record:
            call = Call.get(path)
            found = await self.beside.ask(model.name, call) if self.beside else None
            if found is None:
                raise NotLoadedError(
                    f"No replica of {model.name} answers {path} now.",
                    remedy="Send the model a request first: it is loaded for that.",
                )
            await self.proxy.pass_on(client, found, record, dialect, context.headers, content_type)

    def _handler(self, dialect: Dialect, forwarding: Forwarding) -> "NamedHandler":
        path, beside = forwarding.path, None if forwarding.queued else self.beside

        async def serve(
            request: Incoming, client: Recipient, context: RequestContext, named: str | None = None
        ) -> None:
            key, hold = context.key, self.bodies.hold()
            try:
                with self.exchanges.begin(context.request_id, path, key) as record:
                    model, width, call, spoken = await self._read(
                        request, forwarding, dialect, context, hold, named
                    )
                    if isinstance(call, Answer):
                        record.began(call.status)
                        await self._write(client, call, context)
                        return
                    if model.tokens:
                        call = await self._shortened(call, model, context)
                    if beside is not None and (found := await beside.ask(model.name, call)):
                        await self.proxy.pass_on(client, found, record, spoken, context.headers)
                        return
                    limits = model.times
                    if (asked := request.headers.get("X-Request-Timeout")) is not None:
                        limits = limits.within(asked)
                    ask = Ask(
                        model.name,
                        width,
                        key,
                        context.klass,
                        deadline=self.dispatcher.deadline(),
                        stream=call.stream,
                        session=context.session,
                        flow=key or context.session or request.peer,
                        body_bytes=len(call.body),
                    )
                    with self.dispatcher.open(ask, record) as lease:
                        if not limits:
                            await self._forward(request, client, call, lease, spoken, context)
                            return
                        with TimeLimitWatch(lease, limits, stream=call.stream):
                            await self._forward(request, client, call, lease, spoken, context)
            finally:
                hold.release()

        return serve

    async def _forward(
        self,
        request: Incoming,
        client: Recipient,
        call: Call,
        lease: Lease,
        dialect: Dialect,
        context: RequestContext,
    ) -> None:
        if call.stream and (comments := self.progress):
            asked = request.headers.get("X-Relayd-Progress")
            if comments.are_for(asked, client, dialect):
                await comments.forward(self.proxy, client, call, lease, dialect, context.headers)
                return
        await self.proxy.forward(client, call, lease, dialect, context.headers)

    async def _read(
        self,
        request: Incoming,
        forwarding: Forwarding,
        dialect: Dialect,
        context: RequestContext,
        hold: BodyHold,
        named: str | None = None,
    ) -> tuple[ModelView, int, Call | Answer, Dialect]:
        """Return for whom a request is, its width, and what the engine gets; nothing else is kept of it."""
        opened, seen = await self._look(request, forwarding.rules, hold)
        if seen.dropped:
            context.headers["X-Relayd-Changed"] = changed(seen.dropped)
        model = find_model(named or seen.model, context.visible(self.fleet), forwarding.ability)
        if seen.text_bytes:
            check_length(model, seen.text_bytes)
        if (adapt := forwarding.adapt) is not None:
            members = opened.members
            if seen.dropped:
                members = {name: value for name, value in members.items() if name not in seen.dropped}
            if len(seen.body) > _LARGE:
                adapted = await self._aside(adapt, members, seen, model, context)
            else:
                adapted = adapt(members, seen, model, context)
            if isinstance(adapted, Answer):
                return model, seen.width, adapted, dialect
            if adapted is not None:
                hold.keep(len(adapted.body))
                _note(adapted.changed, context)
                call = Call(adapted.path or forwarding.path, adapted.body, seen.stream)
                return model, seen.width, call, adapted.dialect or dialect
        return model, seen.width, Call(forwarding.path, seen.body, seen.stream), dialect

    async def _shortened(self, call: Call, model: ModelView, context: RequestContext) -> Call:
        """Return a call whose answer has as many tokens as its model allows."""
        limit, path, body = model.tokens, call.path, call.body
        large = len(body) > _LARGE
        body, is_lowered = await self._aside(limit.apply, path, body) if large else limit.apply(path, body)
        if is_lowered:
            _note("lowered: max_tokens", context)
        return replace(call, body=body)

    def answered(
        self,
        path: str,
        rules: BodyRules,
        dialect: Dialect,
        answer: Callable[[OpenedBody, RequestContext], Answer],
    ) -> Route:
        """Return the route of a path that takes a body and that relayd answers itself."""

        async def serve(request: Incoming, client: Recipient, context: RequestContext) -> None:
            hold = self.bodies.hold()
            try:
                opened, _ = await self._look(request, rules, hold)
                own = answer(opened, context)
            finally:
                hold.release()
            await self._write(client, own, context)

        return Route("POST", path, over_aiohttp(serve), dialect=dialect, direct=serve, rules=rules)

    async def _write(self, client: Recipient, answer: Answer, context: RequestContext) -> None:
        client.begin(answer.status, answer.carrying(context.headers).sized(), framed=False)
        client.write(answer.body)
        await client.end(self.body_seconds)

    async def _look(self, request: Incoming, rules: BodyRules, hold: BodyHold) -> tuple[OpenedBody, Peek]:
        """Return a body, and what routing needs of it."""
        limit = self.max_body
        if (raw := take_body(request, limit=limit, hold=hold)) is None:
            raw = await read_body(request, limit=limit, progress_seconds=self.body_seconds, hold=hold)
        large = len(raw) > _LARGE
        body = await self._aside(open_body, raw) if large else open_body(raw)
        if not large and not body.takes_long(rules):
            return body, judge(body, rules, self.unlisted)
        seen = await self._aside(judge, body, rules, self.unlisted)
        hold.keep(len(seen.body))
        return body, seen

    async def _aside(self, look: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.aside, partial(look, *args, **named))


def _note(change: str, context: RequestContext) -> None:
    """Add what the client should know to its answer."""
    if change:
        known = context.headers.get("X-Relayd-Changed")
        context.headers["X-Relayd-Changed"] = f"{known}; {change}" if known else change
