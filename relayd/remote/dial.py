"""How does a node connect to a hub, and how does it exchange an invite for its token (outgoing HTTP)?

Certificates are verified, no redirect is followed, no proxy variable and no cookie is used.
"""

import asyncio
import json
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import aiohttp

from relayd.errors import HubRefusedError, LinkError, UsageError
from relayd.remote.channel import close
from relayd.remote.frames import MESSAGE_BYTES
from relayd.remote.node import DialledHub, refused
from relayd.secret import Secret

CONNECT = "/v1/node/connect"
JOIN = "/v1/node/join"

_CONNECT_SECONDS = 15.0
_ANSWER_BYTES = 64 * 1024


async def dial_hub(stack: AsyncExitStack, entry: DialledHub) -> aiohttp.ClientWebSocketResponse:
    """Connect to a hub; the connection is closed with the stack.

    Raises:
        LinkError: It cannot be reached.
        HubRefusedError: It does not take this node.
    """
    session = await stack.enter_async_context(_session())
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            socket = await session.ws_connect(
                entry.url + CONNECT,
                headers={"Authorization": f"Bearer {entry.token.reveal()}"},
                compress=0,
                max_msg_size=MESSAGE_BYTES,
                autoping=True,
            )
    except aiohttp.WSServerHandshakeError as error:
        raise refused(error.status, entry.url) from error
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise LinkError(f"{entry.url} cannot be reached: {_why(error)}") from error
    stack.push_async_callback(close, socket)  # a session that is closed leaves its WebSockets open
    return socket


async def exchange_invite(url: str, invite: Secret) -> tuple[str, Secret]:
    """Return the name that a hub gives this node, and the token for it.

    Raises:
        HubRefusedError: The invite is not valid, or the hub cannot be reached.
    """
    place = "http" + url.removeprefix("ws") + JOIN
    async with _session() as session:
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                async with session.post(
                    place, json={"invite": invite.reveal()}, allow_redirects=False
                ) as answer:
                    raw = await answer.content.read(_ANSWER_BYTES)
                    status = answer.status
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise HubRefusedError(
                f"{url} cannot be reached: {_why(error)}",
                remedy="Check the address, and that the hub listens on it: `relayd serve --hub --listen`.",
            ) from error
    return _joined(status, raw, url)


def _joined(status: int, raw: bytes, url: str) -> tuple[str, Secret]:
    try:
        found = json.loads(raw)
    except ValueError:
        found = {}
    if status == 200 and isinstance(found, dict) and {"node", "token"} <= found.keys():
        return str(found["node"]), Secret(str(found["token"]))
    if status == 404:
        raise refused(status, url)
    error = found.get("error", {}) if isinstance(found, dict) else {}
    message = error.get("message", "") if isinstance(error, dict) else ""
    raise HubRefusedError(
        f"{url} refuses the invite ({status}): {message or 'no reason given'}",
        remedy="An invite counts once, for 15 minutes. On the hub: `relayd nodes invite NAME`.",
    )


def split_invite(text: str) -> tuple[str, Secret]:
    """Return the address of a hub, and the invite, of what `relayd nodes invite` prints: `wss://HOST/INVITE`.

    Raises:
        UsageError: It is not one.
    """
    scheme, mark, rest = text.partition("://")
    host, _, invite = rest.strip("/").partition("/")
    scheme = {"https": "wss", "http": "ws"}.get(scheme, scheme)
    if scheme not in ("ws", "wss") or not mark or not host or "@" in host or "/" in invite or "?" in rest:
        raise UsageError(
            f"{f'{scheme}://{host}' if mark else repr(text.partition('/')[0])} is not the address of a hub",
            remedy="Paste the line that `relayd nodes invite NAME` printed, `relayd join wss://HOST/INVITE`.",
        )
    return f"{scheme}://{host}", Secret(invite)


def _session() -> aiohttp.ClientSession:
    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(_refuse_redirect)
    return aiohttp.ClientSession(
        trust_env=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[trace],
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
    )


async def _refuse_redirect(_session: aiohttp.ClientSession, _context: SimpleNamespace, sent: Any) -> None:
    raise HubRefusedError(
        f"{sent.url.origin()} redirects to another address", remedy="Give the hub's own address."
    )


def _why(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer in {_CONNECT_SECONDS:g} s"
    return str(error) or type(error).__name__
