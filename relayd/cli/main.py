"""The command line's entry: its commands, errors and exit status.

Exit status: 0 done, 1 failed, 2 usage or configuration, 3 no daemon, 4 daemon silent,
5 another daemon holds the lock, 130 interrupted.
"""

import os
import sys
from pathlib import Path
from typing import NoReturn

import typer

from relayd.cli.support.lazy import LazyCommand, LazyGroup
from relayd.cli.support.output import print_event, print_json
from relayd.cli.support.surroundings import discard_output, prepare
from relayd.errors import OutputError, RelaydError
from relayd.files import text_path

STREAMS = frozenset({"serve", "logs"})
"""Commands whose `--json` is a line for each event; that of all others is one document."""


def _command(place: str, summary: str) -> LazyCommand:
    module, _, attribute = place.partition(".")
    return LazyCommand(f"relayd.cli.{module}", attribute, summary)


COMMANDS = {
    "serve": _command("serve.serve", "Serve models in the foreground until Ctrl-C or `relayd stop`."),
    "init": _command("init.init", "Set relayd up: find a model for this machine, and serve it."),
    "recommend": _command("recommend.recommend", "Recommend models for this machine, with the reasons."),
    "plan": _command("plan.plan", "Show what `relayd serve` starts, where, and what is left."),
    "pull": _command("pull.pull", "Fetch a model; an interrupted pull goes on where it stopped."),
    "status": _command("status.status", "Show the daemon, its models and every replica."),
    "chat": _command("chat.chat", "Talk with a model."),
    "bench": _command("bench.bench", "Measure how fast a running model is."),
    "test": _command("test.try_models", "Ask models for a few words, and check what comes back."),
    "logs": _command("logs.logs", "Show the logs of replicas or of the daemon."),
    "start": _command("act.start", "Start what is stopped or was given up."),
    "stop": _command("stop.stop", "Stop a model, a replica, or the daemon with all of them."),
    "drain": _command("act.drain", "Stop replicas after their last request, however long it takes."),
    "restart": _command("act.restart", "Stop replicas after their requests, and start them again."),
    "reload": _command("reload.reload", "Follow the configuration as it is now."),
    "upgrade": _command("upgrade.upgrade", "Replace the running daemon by the relayd installed now."),
    "hardware": _command("hardware.hardware", "Show the CPU, the memory and the devices for models."),
    "explain": _command("explain.explain", "Show what memory a model takes, where, and why."),
    "doctor": _command("doctor.doctor", "Check this machine for known problems."),
    "version": _command("version.version", "Show the version of relayd and of the Python it runs on."),
    "models": _command("models.app", "Show, import, check and remove models; alone it lists them."),
    "catalog": _command("catalog.app", "Look up models: sizes, shapes, licences."),
    "engine": _command("engine.app", "Install and choose the llama-server that models run on."),
    "service": _command("service.app", "Run relayd from boot or login on, by systemd or launchd."),
}
"""Name -> module and function of a command, and its summary, in the order of `--help`."""


class _RelaydGroup(LazyGroup):
    lazy = COMMANDS


app = typer.Typer(
    name="relayd",
    cls=_RelaydGroup,
    help="Run llama.cpp on your own machines: plan, supervise, route.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help loads no rich: `--help` stays fast
    pretty_exceptions_enable=False,
    context_settings={"max_content_width": 100} | ({"color": False} if os.environ.get("NO_COLOR") else {}),
    epilog="Exit status: 0 done, 1 failed, 2 usage or configuration, 3 no daemon, 4 daemon silent, "
    "5 another daemon runs, 130 interrupted.",
)


@app.callback()
def _relayd() -> None:
    """Make the application a group although no command is registered yet."""


def run() -> NoReturn:
    """Run the command line and exit with its status."""
    os.umask(0o077)  # files that relayd makes are private to its user
    prepare()
    status = 0
    try:
        status = _call()
        sys.stdout.flush()
    except OutputError as error:
        discard_output()
        if not error.closed:
            status = error.exit_status
            _print_error(error, as_json=False)
    sys.exit(status)


def _call() -> int:
    """Run the command, and return its exit status; raises OutputError when its output cannot be written."""
    try:
        for word in sys.argv[1:]:
            text_path(Path(word))
        app(standalone_mode=True)
    except OutputError:
        raise
    except RelaydError as error:
        _print_error(error, as_json="--json" in sys.argv)
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _print_error(error: RelaydError, *, as_json: bool) -> None:
    if as_json:
        document = {"error": {"code": error.code, "message": error.message, "remedy": error.remedy}}
        (print_event if sys.argv[1] in STREAMS else print_json)(document)
        return
    color = False if os.environ.get("NO_COLOR") else None
    typer.secho("relayd: ", fg="red", bold=True, nl=False, err=True, color=color)
    typer.echo(error.message, err=True)
    for line in error.remedy.splitlines():
        typer.echo(f"  {line}", err=True)
