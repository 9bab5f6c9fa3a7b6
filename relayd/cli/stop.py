"""relayd stop: end a model, a replica, or the daemon with all of them."""

import contextlib
from collections.abc import Sequence
from typing import Annotated

import msgspec
import psutil
import typer

from relayd.cli.support import completion
from relayd.cli.support.control import RunningDaemon, daemon_for, running_daemons
from relayd.cli.support.output import AsJson, print_json
from relayd.client.control import Client
from relayd.daemon.report import StatusReport
from relayd.errors import DaemonError, UsageError

_POLL_SECONDS = 0.05


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
    wait: Annotated[
        bool, typer.Option("--wait", help="Finish requests however long they take (relayd drain).")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Stop a model, a replica, or the daemon with all of them.

    Running requests are finished first. Where a demo runs beside the daemon, the daemon is stopped first.
    """
    if target and everything:
        raise UsageError(f"--all and {target!r} exclude each other", remedy="Give one of them.")
    if wait and not target:
        raise UsageError("--wait is for a model or a replica", remedy="Name it, or run relayd drain first.")
    if target:
        client = daemon_for(target)
        stopped = client.drain(target) if wait else client.stop(target)
        answer, done = msgspec.to_builtins(stopped), f"Stopped {', '.join(stopped.replicas)}"
    else:
        running, *others = running_daemons()
        pid = running.client.stop_daemon()
        _await_end(running.client, pid)
        models = [model.name for model in running.report.models]
        answer = {"stopped": "daemon", "pid": pid, "models": models}
        done = "\n".join([f"Stopped relayd (pid {pid}){_of(models)}", *map(_still, others)])
    if as_json:
        print_json(answer)
    else:
        print(done)


def _of(models: Sequence[str]) -> str:
    """Return which models a daemon has taken with it."""
    if not models:
        return ""
    named = ", ".join(models[:3]) + (f" and {len(models) - 3} more" if len(models) > 3 else "")
    return f", which served {named}"


def _still(other: RunningDaemon) -> str:
    what = "The demo" if other.is_demo else "Another relayd"
    return f"{what} (pid {other.report.pid}) still runs at {other.report.url}; relayd stop ends it too"


def _await_end(client: Client, pid: int) -> None:
    """Wait until the daemon's process is gone, and show meanwhile what it waits for."""
    shown = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            with contextlib.suppress(psutil.TimeoutExpired):
                process.wait(_POLL_SECONDS if shown == 0 else 1)
                return
            with contextlib.suppress(DaemonError):
                shown = show_left(client.status(), shown)


def show_left(report: StatusReport, shown: int) -> int:
    """Print how many requests are still to finish, when that has changed; return the number."""
    running = sum(model.running for model in report.models)
    waiting = sum(model.waiting for model in report.models)
    if (left := running + waiting) and left != shown:
        parts = [f"{running} running"] * bool(running) + [f"{waiting} waiting"] * bool(waiting)
        typer.echo(f"waiting for {' and '.join(parts)} request{'s' if left > 1 else ''}", err=True)
    return left
