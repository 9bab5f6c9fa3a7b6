"""The control socket: a closed set of verbs, on a unix socket that only the owner can open."""

import os
import socket
import struct
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from relayd.errors import RelaydError, StateError, UsageError
from relayd.journal import Journal

_MOST_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Verb:
    """What may be asked of the daemon.

    Attributes:
        arguments: Type of what it takes, decoded from a JSON object.
        run: Carries it out and returns the answer, which has one JSON form; raises `RelaydError` to refuse.
    """

    arguments: type[msgspec.Struct]
    run: Callable[[Any], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Feed:
    """What may be followed, until who follows it leaves.

    Attributes:
        arguments: Type of what it takes.
        run: Returns what yields it; raises `RelaydError` to refuse.
    """

    arguments: type[msgspec.Struct]
    run: Callable[[Any], Awaitable[AsyncGenerator[msgspec.Struct]]]


def control_app(verbs: Mapping[tuple[str, str], Verb]) -> web.Application:
    """Return the application behind the control socket.

    Args:
        verbs: Method and name to what carries it out.
    """
    app = web.Application(client_max_size=_MOST_BYTES)
    for (method, name), verb in verbs.items():
        app.router.add_route(method, f"/{name}", _handler(name, verb))
    return app


async def open_control(path: Path, verbs: Mapping[tuple[str, str], Verb]) -> web.AppRunner:
    """Carry out what comes in at `path` until the runner is cleaned up.

    Raises:
        StateError: The socket cannot be made.
    """
    runner = web.AppRunner(control_app(verbs), access_log=None)
    await runner.setup()
    await web.SockSite(runner, control_socket(path)).start()
    return runner


def control_socket(path: Path) -> socket.socket:
    """Return a socket bound at `path` with mode 0600, in place of one that is there.

    The caller holds the daemon's lock.

    Raises:
        StateError: The socket cannot be made.
    """
    made = path.with_suffix(".new")
    bound = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)
    try:
        made.unlink(missing_ok=True)
        bound.bind(str(made))
        bound.listen()  # a socket that is found never refuses
        made.replace(path)
    except OSError as error:
        bound.close()
        raise StateError(f"the control socket {path} cannot be made: {error.strerror}") from error
    finally:
        os.umask(mask)
    return bound


def _handler(name: str, verb: Verb) -> Callable[[web.Request], Awaitable[web.Response]]:
    journal = Journal("control")

    async def handle(request: web.Request) -> web.Response:
        peer = _peer_uid(request)
        if peer not in (None, 0, os.geteuid()):
            refusal = {"code": "forbidden", "message": f"user {peer} may not command this daemon"}
            return _answer(403, refusal)
        try:
            arguments = _arguments(verb, await request.read())
            if request.method != "GET":
                tried = {"dry_run": True} if getattr(arguments, "dry_run", False) else {}
                journal.info("control.command", verb=name, uid=peer, **tried)
            return _answer(200, await verb.run(arguments))
        except RelaydError as error:
            answer = {"code": error.code, "message": error.message, "remedy": error.remedy}
            return _answer(error.http_status, answer)
        except Exception:  # noqa: BLE001 - every fault is answered
            journal.error("control.failed", trace=True, verb=name)
            message = f"relayd itself failed at {name!r}"
            return _answer(
                500, {"code": "internal_error", "message": message, "remedy": "relayd logs relayd"}
            )

    return handle


def _arguments(verb: Verb, body: bytes) -> msgspec.Struct:
    try:
        return msgspec.json.decode(body or b"{}", type=verb.arguments)
    except msgspec.DecodeError as error:
        raise UsageError(f"invalid arguments: {error}") from error


def _answer(status: int, payload: object) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(payload), content_type="application/json")


def _peer_uid(request: web.Request) -> int | None:
    """Return who is at the other end; None where the system does not know: the mode decides there."""
    transport = request.transport
    peer = transport.get_extra_info("socket") if transport else None
    if peer is None or sys.platform != "linux":
        return None
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])
