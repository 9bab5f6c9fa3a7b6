"""relayd stop: end a model, a replica, or the daemon with all of them."""

import contextlib
from typing import Annotated, Any

import psutil
import typer

from relayd.cli.support import completion
from relayd.cli.support.control import daemon_client
from relayd.cli.support.output import AsJson, print_json
from relayd.client.control import Client
from relayd.errors import DaemonError, UsageError

_POLL_SECONDS = 0.05
_PATIENCE_SECONDS = 120.0


def stop(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL[#N]",
            help="A model or one replica; without it, everything.",
            autocompletion=completion.targets,
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Stop every replica and the daemon.")] = False,
    as_json: AsJson = False,
) -> None:
    """Stop a model, a replica, or the daemon with all of them.

    Running requests are finished first.
    """
    if target and everything:
        raise UsageError(f"--all and {target!r} exclude each other", remedy="give one of them")
    client = daemon_client()
    if target:
        answer = client.post("stop", patience_seconds=_PATIENCE_SECONDS, target=target)
        done = f"stopped {', '.join(answer['replicas'])}"
    else:
        answer = client.post("stop", all=True)
        _await_end(client, answer["stopping"])
        answer = {"stopped": "daemon", "pid": answer["stopping"]}
        done = f"stopped relayd (pid {answer['pid']})"
    if as_json:
        print_json(answer)
    else:
        print(done)


def _await_end(client: Client, pid: int) -> None:
    """Wait until the daemon's process is gone, telling on the way what it waits for."""
    shown = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            with contextlib.suppress(psutil.TimeoutExpired):
                process.wait(_POLL_SECONDS if shown == 0 else 1)
                return
            with contextlib.suppress(DaemonError):
                shown = _tell_running(client.get("status"), shown)


def _tell_running(report: dict[str, Any], shown: int) -> int:
    """Say how many requests are still finished, when that has changed; return the number."""
    running: int = sum(model["running"] for model in report["models"])
    if running and running != shown:
        typer.echo(f"waiting for {running} running request{'s' if running > 1 else ''}", err=True)
    return running
