"""How is an administrator's request carried out, answered and written down (audit)?"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby

import msgspec
from aiohttp import web

from relayd.api.admin.actions import ACTIONS, Action
from relayd.api.admin.arguments import arguments_of, find_action
from relayd.api.admin.stream import stream
from relayd.api.admission import Access, Described, Handler, RequestContext, Route
from relayd.api.answer import Answer, empty_answer
from relayd.api.control import Feed, Verb
from relayd.api.guard import body_too_large, check_body_head
from relayd.errors import BodyTimeoutError, RelaydError, RequestError
from relayd.journal import Journal
from relayd.units import KIB, Bytes

_MOST_BYTES = Bytes(64 * KIB)
_BODY_SECONDS = 30.0
"""How long the body of an administrator's request may take to arrive."""

ClientOf = Callable[[web.BaseRequest], str]
"""Returns the address of a request's client."""

Offered = Mapping[str, Verb | Feed]
"""Every verb by its name."""


def admin_routes(
    offered: Offered, client_of: ClientOf, actions: Iterable[Action] = ACTIONS
) -> tuple[Route, ...]:
    """Return the routes of the verbs that are offered."""

    def place(action: Action) -> tuple[str, str, bool]:
        return action.prefix, action.method, action.streams

    known = sorted((one for one in actions if one.verb in offered), key=place)
    return tuple(_route([*alike], offered, client_of) for _, alike in groupby(known, key=place))


def _route(actions: list[Action], offered: Offered, client_of: ClientOf) -> Route:
    first = actions[0]
    return Route(
        first.method,
        first.prefix,
        _handler(actions, offered, client_of),
        Access.ADMIN,
        lasting=first.streams,
        described=tuple(_describe(actions, offered)),
    )


def _describe(actions: Iterable[Action], offered: Offered) -> Iterator[Described]:
    for action in actions:
        verb = offered[action.verb]
        yield Described(
            action.path,
            action.summary,
            takes=verb.arguments,
            named=action.named,
            free=action.others,
            status=action.status,
            streams=action.streams,
        )


def _handler(actions: list[Action], offered: Offered, client_of: ClientOf) -> Handler:
    journal = Journal("admin")

    async def handle(request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
        action, name = find_action(actions, context.tail)
        verb, client = offered[action.verb], client_of(request)
        body = await read_small(request)
        query = request.raw_path.partition("?")[2]
        arguments = arguments_of(action, verb.arguments, name=name, query=query, body=body)
        if action.changes:
            journal.info(
                "admin.command", verb=action.verb, name=name or "-", client=client, key=context.key or "-"
            )
        try:
            if isinstance(verb, Feed):
                return await stream(request, context, await verb.run(arguments))
            returned = await verb.run(arguments)
            if returned is None:
                return empty_answer(context.headers).response()
            answer = Answer(action.status, msgspec.json.encode(returned))
            return answer.carrying(context.headers).response()
        except RequestError:
            raise
        except RelaydError as error:
            raise _VerbError(error) from error

    return handle


class _VerbError(RequestError):
    """What a verb refuses, with its own code and status."""

    def __init__(self, error: RelaydError) -> None:
        # On a terminal message and remedy have a line each, here they are sentences of one text.
        super().__init__(f"{error.message.rstrip('.')}.", remedy=error.remedy)
        self.code = error.code
        self.http_status = error.http_status


async def read_small(request: web.BaseRequest) -> bytes:
    """Return the body of a request, at most 64 KiB; what has none needs no media type."""
    if not request.can_read_body:
        return b""
    check_body_head(request.headers, _MOST_BYTES)
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > _MOST_BYTES:
                    raise body_too_large(_MOST_BYTES)
    except TimeoutError as error:
        raise BodyTimeoutError(
            f"The body did not arrive within {_BODY_SECONDS:g} s.", remedy="Send it in one piece."
        ) from error
    return bytes(body)
