"""How do hub and node greet each other on a connection, before the link goes on over it?"""

import asyncio
from typing import TypeVar

import msgspec
from aiohttp import ClientConnectionError, WSMsgType

from relayd.errors import HubRefusedError, LinkError
from relayd.remote.channel import Socket, close
from relayd.remote.frames import DocumentFrame, decode, encode
from relayd.remote.messages import LinkHello, LinkRefusal, LinkWelcome, document_of, framed

GREETING_SECONDS = 10.0
"""How long the other side may take for its first message."""

Greeting = TypeVar("Greeting", bound=msgspec.Struct)


async def take_hello(socket: Socket) -> LinkHello:
    """Return what a node sends first.

    Raises:
        LinkError: It sends something else, or nothing.
    """
    return await _take(socket, LinkHello)


async def welcome(socket: Socket, greeting: LinkWelcome) -> None:
    """Let a node in.

    Raises:
        LinkError: It has left.
    """
    await _send(socket, greeting)


async def refuse(socket: Socket, code: str, message: str) -> None:
    """Refuse a node, and close the connection.

    Raises:
        LinkError: It has left.
    """
    await _send(socket, LinkRefusal(code, message))
    await close(socket)


async def greet(socket: Socket, hello: LinkHello) -> LinkWelcome:
    """Return what a hub answers.

    Raises:
        LinkError: It answers something else, or nothing.
        HubRefusedError: It does not take this node.
    """
    await _send(socket, hello)
    answer = await _take(socket, LinkWelcome, LinkRefusal)
    if isinstance(answer, LinkRefusal):
        raise HubRefusedError(f"the hub takes no link: {answer.message}")
    assert isinstance(answer, LinkWelcome)  # noqa: S101 - for the type checker
    return answer


async def _send(socket: Socket, document: msgspec.Struct) -> None:
    try:
        await socket.send_bytes(encode(framed(document)))
    except (ConnectionError, ClientConnectionError) as error:
        raise LinkError(f"the other side has left: {error}") from error


async def _take(socket: Socket, *kinds: type[Greeting]) -> Greeting:
    """Return the first document that comes.

    Raises:
        LinkError: It is none of these.
    """
    try:
        message = await socket.receive(timeout=GREETING_SECONDS)
    except (TimeoutError, asyncio.IncompleteReadError) as error:
        raise LinkError(f"no greeting came in {GREETING_SECONDS:g} s") from error
    if message.type is not WSMsgType.BINARY:
        raise LinkError("the connection was closed before a greeting came")
    for frame in decode(message.data):
        if isinstance(frame, DocumentFrame) and isinstance(found := document_of(frame), kinds):
            return found
        break
    raise LinkError("the first message is not a greeting")
