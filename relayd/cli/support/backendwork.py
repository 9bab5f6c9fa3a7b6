"""Have a local backend serve a hub in ModelRelay's protocol, in the foreground (`relayd join --backend`)."""

import asyncio
import contextlib
import platform
import signal
from dataclasses import dataclass
from pathlib import Path
from random import Random

import typer

from relayd.cli.support.tokens import token_from
from relayd.errors import UsageError
from relayd.files import write_atomic
from relayd.printable import printable
from relayd.remote.dial import exchange_invite, split_invite
from relayd.remote.modelrelay.backend import Backend, parse_backend
from relayd.remote.modelrelay.joining import WorkerMembership, hub_url
from relayd.remote.modelrelay.registration import DEFAULT_PROVIDER
from relayd.remote.modelrelay.worker import WorkerOffer
from relayd.secret import Secret

SECRET_VARIABLE = "WORKER_SECRET"  # noqa: S105 - the name of a variable, ModelRelay's

BACKEND_KEY_VARIABLE = "BACKEND_API_KEY"

_LEAVE_SECONDS = 30.0
"""How long requests that run may take to end after Ctrl-C or SIGTERM."""


@dataclass(frozen=True, slots=True)
class BackendWork:
    """What was asked for on the command line.

    Attributes:
        hub: Where to connect.
        backend: URL of the local server.
        models: Names separated by commas; empty follows the backend's list.
        slots: Requests that are taken at once; None takes what the backend states.
        provider: A label.
        token_file: Holds the worker's secret; what an invite is exchanged for is kept there.
    """

    hub: str
    backend: str
    models: str
    slots: int | None
    provider: str
    token_file: Path | None


class _Shown:
    """Prints how a worker does: a line for each change."""

    def __init__(self, hub: str, backend: str) -> None:
        self._hub, self._backend = hub, backend

    def accepted(self, models: list[str], warnings: list[str]) -> None:
        served = ", ".join(map(printable, models)) or "no model yet"
        typer.echo(f"{self._hub} has accepted this machine: {served} (from {self._backend})")
        for warning in warnings:
            typer.echo(f"  {printable(warning)}", err=True)

    def refused(self, reason: str, seconds: float) -> None:
        typer.echo(f"{self._hub} refuses this machine: {printable(reason)}", err=True)
        typer.echo(f"  Check the secret of its workers. The next attempt is in {seconds:.0f} s.", err=True)

    def lost(self, reason: str, seconds: float) -> None:
        message = f"no connection to {self._hub}: {printable(reason)}; the next attempt is in {seconds:.0f} s"
        typer.echo(message, err=True)


def work(asked: BackendWork, environ: dict[str, str]) -> None:
    """Serve the hub until Ctrl-C or SIGTERM; what runs then may end.

    Raises:
        UsageError: A URL is not valid, or there is no secret.
    """
    backend = parse_backend(asked.backend)
    if asked.slots is not None and asked.slots < 1:
        raise UsageError(f"{asked.slots} slots are too few", remedy="Give --slots a number from 1 on.")
    address, secret = _credentials(asked)
    hub = hub_url(address, asked.provider or DEFAULT_PROVIDER)
    key = Secret(environ.get(BACKEND_KEY_VARIABLE, ""))
    if hub.scheme == "ws" and hub.host not in {"127.0.0.1", "::1", "localhost"}:
        typer.echo("warning: ws:// is not encrypted: others on the way can read requests", err=True)
    models = tuple(name.strip() for name in asked.models.split(",") if name.strip()) or None
    if models == ("*",):
        models = None

    async def serve() -> None:
        local = Backend(backend, key)
        slots = asked.slots or await local.slots()
        offer = WorkerOffer(platform.node() or "worker", models, slots)
        shown = _Shown(f"{hub.scheme}://{hub.authority}", str(backend))
        membership = WorkerMembership(hub, secret, offer, local, shown, Random())  # noqa: S311 - it spreads attempts
        leaving: set[asyncio.Task[None]] = set()

        def leave() -> None:
            leaving.add(asyncio.create_task(membership.leave(_LEAVE_SECONDS)))

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, leave)
        try:
            await membership.run()
        finally:
            await local.close()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve())


def _credentials(asked: BackendWork) -> tuple[str, Secret]:
    """Return the hub's address, and the secret for it; an invite is exchanged once and what it gave kept.

    Raises:
        RelaydError: There is no secret, or the hub does not take the invite.
    """
    address, invite = split_invite(asked.hub)
    kept = asked.token_file
    if invite and not (kept is not None and kept.exists()):
        _, token = asyncio.run(exchange_invite(address, invite))
        if kept is not None:
            write_atomic(kept, token.reveal().encode())
        return address, token
    return address, token_from(kept, SECRET_VARIABLE, f"The secret of workers at {address}")
