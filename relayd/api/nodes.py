"""The doors of nodes: where they join with an invite, and where they connect with their token."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from relayd.api.admission import Access, RequestContext, Route
from relayd.api.answer import json_answer
from relayd.api.gate import upgrade
from relayd.api.served import peer_of
from relayd.errors import RequestError
from relayd.remote.frames import MESSAGE_BYTES
from relayd.secret import Secret

CONNECT = "/v1/node/connect"
JOIN = "/v1/node/join"

_INVITE_BYTES = 4096


class _Invited(msgspec.Struct, frozen=True):
    invite: str


class _Joined(msgspec.Struct, frozen=True):
    node: str
    token: str


@dataclass(frozen=True, slots=True)
class NodeDoor:
    """Who answers nodes.

    Attributes:
        connect: Carries the link of a node over a connection until that ends; the node's name, its address.
        join: Exchanges an invite that came from an address for a node's name and token; raises RequestError.
        client_of: Returns the address of a request's sender, behind a proxy too.
    """

    connect: Callable[[web.WebSocketResponse, str, str], Coroutine[Any, Any, None]]
    join: Callable[[Secret, str], Awaitable[tuple[str, Secret]]]
    client_of: Callable[[web.BaseRequest], str] = peer_of


def node_routes(door: NodeDoor) -> tuple[Route, ...]:
    """Return the routes of a hub."""
    links: set[asyncio.Task[None]] = set()

    async def connect(request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
        socket = web.WebSocketResponse(compress=False, max_msg_size=MESSAGE_BYTES, timeout=1.0)
        if not socket.can_prepare(request):
            raise RequestError(
                f"{CONNECT} takes a WebSocket.", remedy="Nodes connect here: `relayd join` on their machine."
            )
        upgrade(request)
        socket.headers.update(context.headers)
        await socket.prepare(request)
        # In a task of its own: aiohttp cancels the handler of a client that left, and a link outlives that.
        link = asyncio.create_task(door.connect(socket, context.grant.name, door.client_of(request)))
        links.add(link)
        link.add_done_callback(links.discard)
        await asyncio.shield(link)
        return socket

    async def join(request: web.BaseRequest, _context: RequestContext) -> web.StreamResponse:
        raw = await request.content.read(_INVITE_BYTES)
        try:
            invited = msgspec.json.decode(raw, type=_Invited)
        except msgspec.DecodeError as error:
            raise RequestError(f"The invite cannot be read: {error}.") from error
        node, token = await door.join(Secret(invited.invite), door.client_of(request))
        return json_answer(_Joined(node, token.reveal()))

    return (
        Route("GET", CONNECT, connect, Access.NODE),
        Route("POST", JOIN, join, Access.PUBLIC),
    )
