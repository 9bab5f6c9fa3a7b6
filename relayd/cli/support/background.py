"""A daemon that a command starts in the background, because none runs yet."""

import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event

from relayd.cli.support.control import own_client
from relayd.cli.support.service import places, program_of
from relayd.client.control import Client
from relayd.config import parse_addresses
from relayd.config.schema import Server
from relayd.errors import DaemonError, StateError
from relayd.folders import own_paths
from relayd.printable import printable
from relayd.service.install import missing_manager
from relayd.service.plan import ServiceKind, UnitFolders

_LOOK_SECONDS = 0.05
_SHOWN_LINES = 5
_SERVICE_LOOKS = 1200
"""How often is looked whether a service that was started answers: for a minute."""


def start_daemon(arguments: Sequence[str]) -> Client:
    """Start `relayd serve` so that it outlives this command, and return a client once it answers.

    Args:
        arguments: What follows `relayd serve`.

    Raises:
        StateError: It ended, with what it wrote last.
    """
    log = own_paths().state / "logs" / "serve.log"
    try:
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - relayd itself
                [*program_of(None), "serve", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C of the command is none of the daemon's
            )
    except OSError as error:
        raise StateError(f"relayd serve cannot be started: {error.strerror}") from error
    client = own_client()
    while not _listens(client):
        try:
            process.wait(_LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        raise StateError(f"relayd serve has ended:\n{_last_lines(log)}", remedy=f"All of it is in {log}.")
    return client


def start_service() -> Client | None:
    """Start the service of this session, and return a client once it answers; None where none is installed.

    Raises:
        StateError: It was started and does not answer.
    """
    command = service_command(places(), os.environ)
    if not command or subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode:  # noqa: S603 - systemctl
        return None
    client = own_client()
    for _ in range(_SERVICE_LOOKS):
        if _listens(client):
            return client
        Event().wait(_LOOK_SECONDS)
    raise StateError("the service of relayd does not answer", remedy="Look at `relayd logs`.")


def service_command(
    folders: UnitFolders, environ: Mapping[str, str], root: Path = Path("/")
) -> tuple[str, ...]:
    """Return what starts the service of this session; nothing where none is installed, or no systemd runs.

    That of the machine has models of its own, and launchd starts an agent by itself.
    """
    unit = folders.files(ServiceKind.SESSION)["relayd.service"]
    if not unit.exists() or missing_manager(ServiceKind.SESSION, environ, root):
        return ()
    return ("systemctl", "--user", "start", unit.name)


def _listens(client: Client) -> bool:
    try:
        return bool(client.status().url)
    except DaemonError:
        return False


def _last_lines(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").splitlines()[-_SHOWN_LINES:]
    return "\n".join(f"  {printable(line)}" for line in lines)


def elsewhere_if_taken(listen: str | Sequence[str]) -> tuple[str, ...]:
    """Return the option that has a daemon listen on a free port where the default one is taken."""
    (address, *others) = parse_addresses(listen)
    if others or str(address) != Server().listen:
        return ()  # an address that was chosen is not replaced
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        try:
            probe.bind((address.host, address.port))
        except OSError:
            return ("--listen", f"{address.host}:0")
    return ()
