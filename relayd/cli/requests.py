"""relayd requests: what runs, what waits and why, and all that is known of one request."""

import json
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path
from threading import Event
from typing import Annotated, Any

import msgspec
import typer

from relayd.cli.support.control import daemon_client
from relayd.cli.support.output import print_event, print_json
from relayd.cli.support.terminal import show
from relayd.client.control import Client
from relayd.clock import SystemClock
from relayd.errors import NoDaemonError, NotFoundError, UsageError
from relayd.folders import own_paths
from relayd.printable import printable
from relayd.supervisor.logs import LogReader
from relayd.ui.requests import finished_line, request_page, requests_table

_LOOK_SECONDS = 0.5
_LINES = 20_000
_SHOWN_LINES = 20


def requests(
    request: Annotated[
        str, typer.Argument(metavar="[ID]", help="One request: its X-Request-ID, or how that begins.")
    ] = "",
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Print each request as it ends.")] = False,
    cancel: Annotated[str, typer.Option(metavar="ID", help="End a request: its client gets an error.")] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON; with --follow an object for each request.")
    ] = False,
) -> None:
    """Show what runs, waits and has ended, or one request.

    One is looked for among the open and the recent ones, in the request log, and in the daemon's log.
    """
    if bool(request) + follow + bool(cancel) > 1:
        raise UsageError("ID, --follow and --cancel exclude each other")
    if cancel:
        client = daemon_client()
        cancel = _whole(cancel, _ids(client))
        ended = client.cancel(cancel)
        print_json(msgspec.to_builtins(ended)) if as_json else typer.echo(f"{cancel} was ended.")
    elif follow:
        _follow(daemon_client(), as_json=as_json)
    elif request:
        _one(request, as_json=as_json)
    else:
        report = daemon_client().now()
        if as_json:
            found = {name: msgspec.to_builtins(getattr(report, name)) for name in ("requests", "finished")}
            print_json({name: list(rows.values()) for name, rows in found.items()})
        else:
            now = SystemClock().wall()
            show(lambda width: requests_table(report, now, width))


def _follow(client: Client, *, as_json: bool) -> None:
    """Print what ends from now on."""
    seen = max(map(int, client.now().finished), default=-1)
    while True:
        report = client.now()
        for number, one in sorted((int(number), one) for number, one in report.finished.items()):
            if number > seen:
                seen = number
                if as_json:
                    print_event(msgspec.to_builtins(one))
                else:
                    print(finished_line(one, report.keys.get(one.key, one.key)), flush=True)
        Event().wait(_LOOK_SECONDS)


def _one(request: str, *, as_json: bool) -> None:
    """Print all that is known of a request.

    Raises:
        NotFoundError: Nothing is.
    """
    logs = own_paths().state / "logs"
    report = None
    try:
        client = daemon_client()
        report, request = client.now(), _whole(request, _ids(client))
        logs = Path(report.status.logs)
    except NoDaemonError:
        pass  # its log is read all the same
    open_ones = (
        [msgspec.to_builtins(one) for one in report.requests.values() if one.id == request] if report else []
    )
    ended = (
        [msgspec.to_builtins(one) for one in report.finished.values() if one.id == request] if report else []
    )
    logged = [one for one in _logged(logs) if one.get("request_id") == request]
    lines = [printable(text) for text in _lines(logs / "relayd.log") if request in text][-_SHOWN_LINES:]
    if not (open_ones or ended or logged or lines):
        raise NotFoundError(
            f"nothing is known of a request {request[:128]!r}",
            remedy='The request log keeps those that failed; `[logs] requests = "all"` keeps every one.',
        )
    if as_json:
        print_json({"open": open_ones, "ended": ended, "logged": logged, "log": lines})
    else:
        show(request_page(request, open_ones, ended, logged, lines))


def _ids(client: Client) -> set[str]:
    report = client.now()
    return {one.id for one in report.requests.values()} | {one.id for one in report.finished.values()}


def _whole(request: str, known: AbstractSet[str]) -> str:
    """Return the id that a request was named by the beginning of; what was typed, where none begins so.

    Raises:
        UsageError: More than one begins so.
    """
    meant = sorted(one for one in known if one.startswith(request))
    if request in known or not meant:
        return request
    if len(meant) > 1:
        raise UsageError(
            f"{len(meant)} requests begin with {request!r}",
            remedy="Write more of the id: " + ", ".join(meant),
        )
    return meant[0]


def _logged(logs: Path) -> Iterator[dict[str, Any]]:
    for text in _lines(logs / "requests.jsonl"):
        try:
            found = json.loads(text)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found


def _lines(path: Path) -> list[str]:
    """Return the last lines of a log and of its rotated files."""
    return [line.text for line in LogReader(path, _LINES).read()]
