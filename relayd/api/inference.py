"""How does a request for a model reach a replica, in any dialect?"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ParamSpec, TypeVar

from msgspec.structs import replace

from relayd.api.admission import Incoming, RequestContext, Route
from relayd.api.allowance import FREE_USE
from relayd.api.answer import Answer
from relayd.api.bodies import BodyHold
from relayd.api.body import read_body, take_body
from relayd.api.delivery import Delivery
from relayd.api.fitting import note_change
from relayd.api.fleet import ModelView, check_length
from relayd.api.forwarding import Forwarding, Members, NamedHandler, split_tail
from relayd.api.inferenceparts import InferenceParts
from relayd.api.manner import make_ask
from relayd.api.sent import Asked, as_sent, judged, note_judged
from relayd.api.served import over_aiohttp
from relayd.api.straight import StraightRoute
from relayd.dialects.preset import Preset
from relayd.errors import (
    NotLoadedError,
    RequestError,
)
from relayd.router import (
    LLAMA_SERVER,
    NO_FINGERPRINT,
    UNLIMITED,
    UNTIMED,
    BodyRules,
    Call,
    Dialect,
    ExchangeRecord,
    Fingerprint,
    OpenedBody,
    Peek,
    ProgressComments,
    Recipient,
    SentBody,
    TimeLimits,
    TimeLimitWatch,
    fingerprint,
    open_body,
    with_additions,
)
from relayd.scheduler.ask import BACKGROUND, Ask
from relayd.units import KIB

P = ParamSpec("P")
T = TypeVar("T")


_LARGE = 256 * KIB
"""A body that a thread looks into: 10 ms a megabyte would hold up every other request."""


@dataclass(frozen=True, slots=True)
class Inference(InferenceParts):
    """The long way of a request to a replica: it takes whatever comes."""

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
                straight=StraightRoute(self, forwarding, dialect) if forwarding.queued else None,
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
        model = context.find(self.fleet, name)
        with self.exchanges.begin(context.request_id, path, context.key) as record:
            call = Call.get(path)
            found = await self.beside.ask(model.replicas_of, call) if self.beside else None
            if found is None:
                raise NotLoadedError(
                    f"No replica of {model.name} answers {path} now.",
                    remedy="Send the model a request first: it is loaded for that.",
                )
            await self.proxy.pass_on(client, found, record, dialect, context.headers, content_type)

    def _handler(self, dialect: Dialect, forwarding: Forwarding) -> NamedHandler:
        path, beside = forwarding.path, None if forwarding.queued else self.beside

        async def serve(
            request: Incoming, client: Recipient, context: RequestContext, named: str | None = None
        ) -> None:
            hold = BodyHold(self.bodies)
            grant = context.grant
            try:
                with (
                    self.exchanges.begin(context.request_id, path, grant.id) as record,
                    FREE_USE if grant.allowance is None else context.use(record, dialect) as use,
                ):
                    model, width, call, spoken, sent = await self._read(
                        request, forwarding, dialect, context, hold, named
                    )
                    if isinstance(call, Answer):
                        record.began(call.status)
                        await self._write(client, call, context)
                        return
                    if model.tokens is not UNLIMITED:
                        call = await self._shortened(call, model, context)
                    if sent is not None:
                        call = replace(call, sent=sent)
                    if beside is not None and (found := await self.fitting.ask(beside, model, call, context)):
                        await self.proxy.pass_on(client, found, record, spoken, context.headers)
                        return
                    delivery = Delivery(request, client, context, call, spoken, use)
                    try:
                        await self.carry(delivery, record, model, width)
                    except RequestError as error:
                        if not client.sent_bytes:
                            raise
                        delivery.end(error, record)
            finally:
                hold.release()

        return serve

    async def carry(self, delivery: Delivery, record: ExchangeRecord, model: ModelView, width: int) -> None:
        """Have a model answer; for a virtual one, the first of its models that takes the request.

        Raises:
            RequestError: None of them takes it.
        """
        call, context, limits, others = delivery.call, delivery.context, model.times, model.served_by
        if context.timeout is not None:
            limits = limits.within(context.timeout)
        retains = context.grant.rights.retain
        is_known = model.is_affine and retains
        if retains:
            self.note_prompt(context.request_id, call.body)
        found = await self._fingerprint(call.body) if is_known else NO_FINGERPRINT
        deadline = self.dispatcher.deadline()
        if context.klass == BACKGROUND:
            deadline, limits = None, UNTIMED
        slot = (others[0] if others else model.name, width, deadline)
        ask = make_ask(slot, call, context, delivery.request.peer, found)
        if (use := delivery.use) is not FREE_USE and use.needs_turn:
            record.ask = ask
            await self._turn(delivery, record, deadline)
        try:
            await self._try(delivery, record, ask, limits)
        except RequestError as error:
            if not others[1:] or not delivery.may_go_on(error):
                raise
            await self._fall_back(others[1:], delivery, ask, limits)

    async def _turn(self, delivery: Delivery, record: ExchangeRecord, deadline: float | None) -> None:
        """Wait for the turn of a request among those of its key.

        Raises:
            RequestError: Its key has too many requests, or the wait was too long.
        """
        turn = delivery.use.turn(deadline)
        if (comments := self._comments_for(delivery)) is None:
            await turn
            return
        answering = delivery.client, delivery.dialect, delivery.context.headers
        await comments.wait_for(turn, answering, record, delivery.use.progress)

    async def _fall_back(
        self, names: Sequence[str], delivery: Delivery, ask: Ask, limits: TimeLimits
    ) -> None:
        """Have the first of some other models answer that takes the request; each attempt has a record."""
        for number, name in enumerate(names, 1):
            other = replace(ask, model=name, deadline=self.dispatcher.deadline())
            begin = partial(self.exchanges.begin, delivery.context.request_id, delivery.call.path)
            try:
                with begin(ask.key) as record:
                    delivery.use.follow(record)
                    await self._try(delivery, record, other, limits)
            except RequestError as error:
                if number == len(names) or not delivery.may_go_on(error):
                    raise
            else:
                return

    async def _try(self, delivery: Delivery, record: ExchangeRecord, ask: Ask, limits: TimeLimits) -> None:
        """Have one model answer."""
        client, call, dialect, context = delivery.client, delivery.call, delivery.dialect, delivery.context
        headers = context.headers
        with self.dispatcher.open(ask, record) as lease:
            lease.may_continue = self.continues and context.continues
            if self.progress is not None and (comments := self._comments_for(delivery)) is not None:
                answering = comments.forward(self.proxy, client, call, lease, dialect, headers)
            else:
                answering = self.proxy.forward(client, call, lease, dialect, headers)
            if limits is not UNTIMED:
                with TimeLimitWatch(lease, limits, stream=call.answers_events):
                    await answering
            else:
                await answering

    def _comments_for(self, delivery: Delivery) -> ProgressComments | None:
        """Return what shows a stream how far it is, if it is one that is shown that."""
        comments, asked = self.progress, delivery.context.progress
        if comments is None or not (asked or comments.always) or not delivery.call.answers_events:
            return None
        return comments if comments.are_for(asked, delivery.client, delivery.dialect) else None

    async def _read(
        self,
        request: Incoming,
        forwarding: Forwarding,
        dialect: Dialect,
        context: RequestContext,
        hold: BodyHold,
        named: str | None = None,
    ) -> tuple[ModelView, int, Call | Answer, Dialect, SentBody | None]:
        """Return for whom a request is, its width, what the engine gets, and what one elsewhere may."""
        rules, raw = forwarding.rules, take_body(request, limit=self.max_body, hold=hold)
        if raw is None or len(raw) > _LARGE or (opened := open_body(raw)).takes_long(rules):
            opened, seen, change = await self._look(request, rules, hold, raw, (context, named))
        else:
            opened, seen, change = judged(self, opened, rules, (context, named))
        members, model = opened.members, context.find(self.fleet, named or seen.model, forwarding.ability)
        if change or seen.dropped:
            note_judged(change, seen, model, context)
        fit = forwarding.fit if self.beside else None
        if seen.text_bytes and fit is None:
            check_length(model, seen.text_bytes)
        leaves = forwarding.leaves(members) or (forwarding.acts_on is not None and not model.is_local)
        if (adapt := forwarding.adapt) is not None and not leaves:
            if seen.dropped:
                members = {name: value for name, value in members.items() if name not in seen.dropped}
            if fit is not None and self.beside is not None:
                members = await fit(members, model, self.beside)
            large, given = len(seen.body) > _LARGE, (members, seen, model, context)
            adapted = await self._aside(adapt, *given) if large else adapt(*given)
            if isinstance(adapted, Answer):
                return model, seen.width, adapted, dialect, None
            if adapted is not None:
                hold.keep(len(adapted.body))
                note_change(adapted.changed, context)
                call = Call(adapted.path or forwarding.path, adapted.body, seen.stream)
                call = await self._completed(call, opened.members, seen.width, model, context)
                sent = as_sent(request, context, opened, seen, model, True) if model.is_elsewhere else None
                return model, seen.width, call, adapted.dialect or dialect, sent
        call = Call(forwarding.path, seen.body, seen.stream)
        is_ready = model.preset is None and len(seen.body) <= _LARGE
        sent = as_sent(request, context, opened, seen, model) if model.is_elsewhere else None
        if is_ready and not (model.is_local and self.fitting.concerns(call.path, opened.members, model)):
            return model, seen.width, with_additions(call, opened.members, seen.width), dialect, sent
        call = await self._completed(call, opened.members, seen.width, model, context)
        return model, seen.width, call, dialect, sent

    async def _completed(
        self, call: Call, members: Members, width: int, model: ModelView, context: RequestContext
    ) -> Call:
        """Return a call with what a virtual model presets, and with what the engine is asked for besides."""
        if model.preset is not None:
            call = await self._preset(call, model.preset, context)
            members = open_body(call.body).members
        if model.is_local and self.fitting.concerns(call.path, members, model):
            fit, large = self.fitting.fit, len(call.body) > _LARGE
            call = await self._aside(fit, call, model, context) if large else fit(call, model, context)
        if len(call.body) > _LARGE:
            return await self._aside(with_additions, call, members, width)
        return with_additions(call, members, width)

    async def _preset(self, call: Call, preset: Preset, context: RequestContext) -> Call:
        """Return what the engine gets of a request to a virtual model."""
        accepted = LLAMA_SERVER[call.path].members.keys() | self.unlisted.extra
        if len(call.body) > _LARGE:
            body, changes = await self._aside(preset.apply, call.body, accepted)
        else:
            body, changes = preset.apply(call.body, accepted)
        note_change(changes, context)
        return Call(call.path, body, call.stream)

    async def _shortened(self, call: Call, model: ModelView, context: RequestContext) -> Call:
        """Return a call whose answer has as many tokens as its model allows."""
        limit, path, body = model.tokens, call.path, call.body
        large = len(body) > _LARGE
        body, is_lowered = await self._aside(limit.apply, path, body) if large else limit.apply(path, body)
        if is_lowered:
            note_change("lowered: max_tokens", context)
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
                raw = take_body(request, limit=self.max_body, hold=hold)
                opened, _, _ = await self._look(request, rules, hold, raw, (context, None))
                own = answer(opened, context)
            finally:
                hold.release()
            await self._write(client, own, context)

        return Route("POST", path, over_aiohttp(serve), dialect=dialect, direct=serve, rules=rules)

    async def _write(self, client: Recipient, answer: Answer, context: RequestContext) -> None:
        client.begin(answer.status, answer.carrying(context.headers).sized(), framed=False)
        client.write(answer.body)
        await client.end(self.body_seconds)

    async def _look(
        self, request: Incoming, rules: BodyRules, hold: BodyHold, raw: bytes | None, asked: Asked
    ) -> tuple[OpenedBody, Peek, str]:
        """Return what `judged` does of a body that still arrives, or takes long to look into."""
        if raw is None:
            raw = await read_body(request, limit=self.max_body, progress_seconds=self.body_seconds, hold=hold)
        large = len(raw) > _LARGE
        body = await self._aside(open_body, raw) if large else open_body(raw)
        if not large and not body.takes_long(rules):
            return judged(self, body, rules, asked)
        body, seen, change = await self._aside(judged, self, body, rules, asked)
        hold.keep(len(seen.body))
        return body, seen, change

    async def _fingerprint(self, body: bytes) -> Fingerprint:
        return await self._aside(fingerprint, body) if len(body) > _LARGE else fingerprint(body)

    async def _aside(self, look: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.aside, partial(look, *args, **named))
