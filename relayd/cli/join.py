"""relayd join: make this machine a node of a hub, which clients then find its models on."""

import asyncio
import os
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Annotated

import typer

from relayd.cli.support.control import daemon_client
from relayd.cli.support.output import AsJson, print_json
from relayd.cli.support.tokens import token_from
from relayd.daemon.arguments import JoinArguments
from relayd.errors import NoDaemonError
from relayd.folders import make_folders, own_paths
from relayd.printable import printable
from relayd.remote.dial import exchange_invite, split_invite
from relayd.secret import Secret
from relayd.store.hubs import JoinedHub, JoinedHubs

_SERVICE_SECONDS = 120.0
"""How long a service that was installed may take to come up."""

_LOOK_SECONDS = 0.3

TOKEN_VARIABLE = "RELAYD_NODE_TOKEN"  # noqa: S105 - the name of a variable


def join(
    hub: Annotated[
        str,
        typer.Argument(
            metavar="wss://HOST/INVITE",
            help="What `relayd nodes invite NAME` prints; without INVITE, the hub.",
        ),
    ],
    install: Annotated[
        bool, typer.Option("--install", help="Run as a service from boot or login on (systemd, launchd).")
    ] = False,
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Holds a lasting token, instead of an invite.")
    ] = None,
    provider: Annotated[
        str, typer.Option(metavar="LABEL", help="Whose machine this is, or where: shown on the hub.")
    ] = "",
    backend: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Serve the hub with this server (Ollama, vLLM, LM Studio …), without a daemon.",
        ),
    ] = None,
    models: Annotated[
        str, typer.Option(metavar="A,B", help="Of that server; without it, all that it lists.")
    ] = "",
    slots: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Requests it gets at once; 1 unless it is a llama-server that states it."
        ),
    ] = None,
    leave: Annotated[bool, typer.Option("--leave", help="Leave this hub.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make this machine a node of a hub.

    Its models are then on the hub, and nothing is opened here: the machine connects out, keeps the link, and
    dials again whenever it breaks. It may join several hubs. A daemon that runs joins at once; else `relayd
    serve` is started here, or with --install as a service. A lasting token comes from --token-file, from
    RELAYD_NODE_TOKEN or a prompt, never from the command line.

    With --backend, a server of this machine answers the hub, a relayd or a modelrelay-server, until Ctrl-C;
    its secret is the token (or WORKER_SECRET). With --install, a service has that server as its upstream.
    """
    if backend is not None and not install:
        from relayd.cli.support.backendwork import BackendWork, work

        work(BackendWork(hub, backend, models, slots, provider, token_file), dict(os.environ))
        return
    url, invite = split_invite(hub)
    if leave:
        _leave(url)
        _show({"hub": url, "left": True}, f"this machine has left {url}", as_json=as_json)
        return
    node, token = _credentials(url, invite, token_file)
    _show({"hub": url, "node": node}, f"this machine is {node or 'a node'} of {url}", as_json=as_json)
    _join(JoinArguments(url, token.reveal(), node, provider), install=install, as_json=as_json)
    _serve_with(backend, models, slots)


def _serve_with(backend: str | None, models: str, slots: int | None) -> None:
    """Have the service offer what a server of this machine has, if there is one."""
    if backend is None:
        return
    named = [name.strip() for name in models.split(",") if name.strip() not in ("", "*")]
    settings = {"models": named, "slots": slots or 0}
    found = daemon_client().add_upstream(backend, {name: value for name, value in settings.items() if value})
    served = ", ".join(printable(one.model) for one in found.models) or "no model yet"
    typer.echo(f"{backend} serves {found.problem or served}", err=True)


def _credentials(url: str, invite: Secret, token_file: Path | None) -> tuple[str, Secret]:
    """Return what the hub calls this machine, as far as that is known, and the token."""
    if invite and token_file is None:
        return asyncio.run(exchange_invite(url, invite))
    return "", token_from(token_file, TOKEN_VARIABLE, f"The token of this machine for {url}")


def _show(document: dict[str, object], text: str, *, as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        typer.echo(text)


def _join(hub: JoinArguments, *, install: bool, as_json: bool) -> None:
    """Have a daemon dial the hub: the one that runs, a service that is installed, or one in front."""
    try:
        daemon_client().join_hub(hub)
    except NoDaemonError:
        pass
    else:
        typer.echo("The daemon that runs dials it now; relayd nodes shows how it stands.", err=True)
        return
    if install:
        from relayd.cli.service import install as install_service

        install_service()
        _once_up(hub)
        return
    paths = own_paths()
    make_folders(paths)
    JoinedHubs(paths.state).add(JoinedHub(hub.url, hub.token, hub.node, hub.provider))
    from relayd.cli.serve import serve

    serve(as_json=as_json)


def _once_up(hub: JoinArguments) -> None:
    """Have a service that is coming up dial the hub."""
    pause, until = Event(), monotonic() + _SERVICE_SECONDS
    while True:
        try:
            daemon_client().join_hub(hub)
        except NoDaemonError:
            if monotonic() >= until:
                raise
            pause.wait(_LOOK_SECONDS)
        else:
            return


def _leave(url: str) -> None:
    """Forget a hub, also where no daemon runs."""
    try:
        daemon_client().leave_hub(url)
    except NoDaemonError:
        JoinedHubs(own_paths().state).remove(url)
