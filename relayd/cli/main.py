"""Which commands are there, and how do they end when something is wrong?

Exit status: 0 done, 1 failed, 2 usage or configuration, 3 no daemon, 4 daemon silent,
5 another daemon holds the lock, 130 interrupted.
"""

import os
import sys
from typing import NoReturn

import typer

from relayd.cli import (
    act,
    bench,
    catalog,
    chat,
    doctor,
    engine,
    explain,
    hardware,
    init,
    logs,
    models,
    plan,
    pull,
    recommend,
    reload,
    serve,
    service,
    status,
    stop,
    test,
    upgrade,
    version,
)
from relayd.cli.output import print_event, print_json
from relayd.errors import RelaydError

STREAMS = frozenset({"serve", "logs"})
"""Commands whose `--json` is a line for each event; that of all others is one document."""

app = typer.Typer(
    name="relayd",
    help="Run llama.cpp on your own machines: plan, supervise, route.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help loads no rich: `--help` stays fast
    pretty_exceptions_enable=False,
    context_settings={"max_content_width": 100} | ({"color": False} if os.environ.get("NO_COLOR") else {}),
    epilog="Exit status: 0 done, 1 failed, 2 usage or configuration, 3 no daemon, 4 daemon silent, "
    "5 another daemon runs, 130 interrupted.",
)
app.command()(serve.serve)
app.command()(init.init)
app.command()(recommend.recommend)
app.command()(plan.plan)
app.command()(pull.pull)
app.add_typer(models.app)
app.command()(status.status)
app.command()(chat.chat)
app.command()(bench.bench)
app.command("test")(test.try_models)
app.command()(logs.logs)
app.command()(act.start)
app.command()(stop.stop)
app.command()(act.drain)
app.command()(act.restart)
app.command()(reload.reload)
app.command()(upgrade.upgrade)
app.command()(hardware.hardware)
app.command()(explain.explain)
app.command()(doctor.doctor)
app.add_typer(catalog.app)
app.add_typer(engine.app)
app.add_typer(service.app)
app.command()(version.version)


def run() -> NoReturn:
    """Run the command line and exit with its status."""
    os.umask(0o077)  # what relayd makes is its owner's
    try:
        app(standalone_mode=True)
    except RelaydError as error:
        _tell(error)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader of our pipe has left
        sys.exit(0)
    sys.exit(0)


def _tell(error: RelaydError) -> None:
    if "--json" in sys.argv:
        document = {"error": {"code": error.code, "message": error.message, "remedy": error.remedy}}
        (print_event if sys.argv[1] in STREAMS else print_json)(document)
        return
    color = False if os.environ.get("NO_COLOR") else None
    typer.secho("relayd: ", fg="red", bold=True, nl=False, err=True, color=color)
    typer.echo(error.message, err=True)
    for line in error.remedy.splitlines():
        typer.echo(f"  {line}", err=True)
