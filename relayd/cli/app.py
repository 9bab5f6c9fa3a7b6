"""The group of all commands as typer runs it, and how errors are printed."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from relayd.cli.main import COMMANDS, EPILOG, SUMMARY
from relayd.cli.support.lazy import LazyGroup
from relayd.cli.support.output import print_event, print_json
from relayd.cli.support.remark import remark
from relayd.cli.support.words import prepared
from relayd.errors import OutputError, RelaydError
from relayd.files import text_path

STREAMS = frozenset({"serve", "logs"})
"""Commands whose `--json` is a line for each event; that of all others is one document."""


class _RelaydGroup(LazyGroup):
    lazy = COMMANDS


app = typer.Typer(
    name="relayd",
    cls=_RelaydGroup,
    help=SUMMARY,
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help loads no rich: `--help` stays fast
    pretty_exceptions_enable=False,
    context_settings={"max_content_width": 100, "help_option_names": ["--help", "-h"]}
    | ({"color": False} if os.environ.get("NO_COLOR") else {}),
    epilog=EPILOG,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from relayd.cli.version import version

        version()
        raise typer.Exit


@app.callback()
def _relayd(
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The relay.toml to use, of any command.")
    ] = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", help="Show the version and exit.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Have options that any command may be given."""


def call() -> int:
    """Run a command, and return its exit status; raises OutputError when its output cannot be written."""
    try:
        for word in sys.argv[1:]:
            text_path(Path(word))
        app(prepared(sys.argv[1:], os.environ), standalone_mode=True)
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
    remark(error.message, begun=len("relayd: "))
    remark(error.remedy, indent=2)
