"""Conversations of chat, test and bench with the running daemon."""

from collections.abc import Mapping, Sequence
from functools import partial
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

from relayd.cli.support.control import daemon_for
from relayd.client.chat import Conversation
from relayd.client.unix import UnixConnection
from relayd.daemon.report import ReplicaReport, StatusReport
from relayd.errors import ModelNotFoundError, NoDaemonError, UsageError
from relayd.secret import Secret

_PATIENCE_SECONDS = 600.0
"""How long a model may be silent: it reads a long prompt first."""


def open_conversation(model: str | None = None) -> tuple[Conversation, StatusReport]:
    """Return a client of the running daemon's API, with a key that the daemon lends, and its status report.

    Args:
        model: The model that is meant, where two daemons run; None is the first one's.

    Raises:
        NoDaemonError: No daemon runs.
    """
    client = daemon_for(model)
    report, given = client.status(), client.configuration()
    return Conversation(partial(connection_to, report.url, given.certificate), Secret(given.key)), report


def open_replica(replica: ReplicaReport, runtime: Path) -> Conversation:
    """Return a client of one replica of a status report, without going through the daemon.

    Raises:
        NoDaemonError: It has no process.
    """
    from relayd.supervisor.child import Files  # with all that supervises: only for who goes past the daemon

    address, key_file = replica.address, Files.of(runtime, replica.name).key
    if address is None or not key_file.exists():
        state = "has failed" if replica.state == "fatal" else f"is {replica.state}"
        raise NoDaemonError(f"{replica.name} {state}: it has no process to ask")
    key = Secret(key_file.read_text().strip())
    if address.startswith("unix:"):
        return Conversation(
            partial(UnixConnection, Path(address.removeprefix("unix:")), _PATIENCE_SECONDS), key
        )
    return Conversation(partial(connection_to, f"http://{address}"), key)


def connection_to(url: str, certificate: str = "") -> HTTPConnection:
    """Return a connection that is not open yet.

    Args:
        url: The daemon's, or a replica's.
        certificate: The daemon's own; nothing else is accepted, whatever name it is for.
    """
    parts = urlsplit(url)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(str(parts.hostname), parts.hostname)  # noqa: S104 - no bind
    if parts.scheme == "https":
        import ssl

        context = ssl.create_default_context(cafile=certificate or None)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return HTTPSConnection(str(host), parts.port, timeout=_PATIENCE_SECONDS, context=context)
    return HTTPConnection(str(host), parts.port, timeout=_PATIENCE_SECONDS)


def choose_model(name: str | None, report: StatusReport) -> str:
    """Return the name of the model that is meant; without a name, of the only one there is.

    Raises:
        UsageError: It could be several, or there is none.
        ModelNotFoundError: None is called so.
    """
    names = {model.name: (model.name, *model.aliases) for model in report.models}
    known = ", ".join(names) or "none is configured"
    if name is None:
        if len(names) == 1:
            return str(next(iter(names)))
        raise UsageError("which model?", remedy=f"Name one of: {known}.")
    wanted = name.casefold()
    exact = [one for one, said in names.items() if wanted in map(str.casefold, said)]
    begun = [one for one, said in names.items() if any(word.casefold().startswith(wanted) for word in said)]
    meant = exact or begun or _spelled_like(name, names)
    if len(meant) > 1:
        raise UsageError(f"{name!r} could be {len(meant)} models", remedy=f"Name one of: {', '.join(meant)}.")
    if not meant or not wanted:
        raise ModelNotFoundError(f"no running model is called {name!r}", remedy=_remedy(name, known))
    return str(meant[0])


def _remedy(name: str, known: str) -> str:
    return f"There are: {known}. Have it served: `relayd run {name}`." if name else f"There are: {known}."


def _spelled_like(name: str, names: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the models with a name of the same words, whatever stands between them: `qwen3:8b`."""
    from relayd.catalog.spelling import spelling_of

    wanted = spelling_of(name).words
    return [
        model
        for model, known in names.items()
        if wanted and any(spelling_of(one).words[: len(wanted)] == wanted for one in known)
    ]
