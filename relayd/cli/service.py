"""relayd service: install, uninstall and show the service of systemd or launchd."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from relayd.cli.support.output import AsJson, print_json
from relayd.cli.support.service import (
    folders_of,
    places,
    program_of,
    require_program,
    require_rights,
    service_kind,
    service_of,
)
from relayd.errors import StateError, UsageError
from relayd.service.install import carry_out, missing_manager, require_manager
from relayd.service.plan import RunCommand, ServiceKind, Step, Write, plan_install, plan_uninstall, rendered

app = typer.Typer(
    name="service",
    help="Run relayd from boot or login on, by systemd or launchd.",
    no_args_is_help=True,
)

User = Annotated[bool, typer.Option("--user", help="For your session.  [default, unless you are root]")]
System = Annotated[bool, typer.Option("--system", help="For the machine, with a user of its own.")]
Launchd = Annotated[bool, typer.Option("--launchd", help="For launchd.  [default on macOS]")]
Program = Annotated[Path | None, typer.Option(metavar="FILE", help="The relayd to run.  [default: this one]")]
ConfigFile = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="The relay.toml to use.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


@app.command()
def install(
    user: User = False,
    system: System = False,
    launchd: Launchd = False,
    program: Program = None,
    config: ConfigFile = None,
    files_only: Annotated[
        bool, typer.Option("--files-only", help="Write the files and run no command.")
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Install the service, and start it now and from now on."""
    kind = service_kind(user=user, system=system, launchd=launchd)
    service = service_of(kind, program, config)
    steps = plan_install(kind, service, places(), os.getuid())
    if not dry_run:
        require_rights(kind)
        require_program(kind, Path(service.command[0]))
        if not files_only:
            require_manager(kind, os.environ)
    left = [step for step in steps if files_only and not isinstance(step, Write)]
    _follow([step for step in steps if step not in left], dry_run=dry_run, as_json=as_json, left=left)


@app.command()
def uninstall(
    user: User = False,
    system: System = False,
    launchd: Launchd = False,
    purge: Annotated[
        bool, typer.Option("--purge", help="Also remove the system service's state, cache and user.")
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """End the service, and remove what `install` wrote.

    Its replicas end too.
    """
    kind = service_kind(user=user, system=system, launchd=launchd)
    if purge and kind is not ServiceKind.SYSTEM:
        raise UsageError("--purge is for the system service of systemd", remedy="Add --system.")
    folders = folders_of(kind)
    reach = ("env", f"RELAYD_RUNTIME_DIR={folders['RELAYD_RUNTIME_DIR']}", *program_of(None))
    steps = plan_uninstall(kind, places(), os.getuid(), relayd=reach, purge=purge)
    if not dry_run:
        require_rights(kind)
    if missing_manager(kind, os.environ):  # then nothing runs that a command could end
        steps = [step for step in steps if not isinstance(step, RunCommand)]
    _follow(steps, dry_run=dry_run, as_json=as_json)
    if steps and not as_json and not purge:
        kept = sorted({f"{folders[name]}/relayd" for name in ("XDG_DATA_HOME", "XDG_STATE_HOME")})
        typer.echo(f"engines, models, keys and logs stay in {' and '.join(kept)}")


@app.command()
def show(
    file: Annotated[
        str, typer.Argument(metavar="[FILE]", help="Only this one, such as relayd.service.")
    ] = "",
    user: User = False,
    system: System = False,
    launchd: Launchd = False,
    program: Program = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Print the files that `install` would write."""
    kind = service_kind(user=user, system=system, launchd=launchd)
    texts = rendered(kind, service_of(kind, program, config))
    paths = places().files(kind)
    if file and file not in texts:
        raise UsageError(f"there is no file {file!r}", remedy=f"There are {', '.join(texts)}.")
    if as_json:
        print_json({name: {"path": str(paths[name]), "text": text} for name, text in texts.items()})
    elif file:
        typer.echo(texts[file], nl=False)
    else:
        typer.echo("\n".join(f"==> {paths[name]} <==\n{text}" for name, text in texts.items()), nl=False)


def _follow(steps: list[Step], *, dry_run: bool, as_json: bool, left: Iterable[Step] = ()) -> None:
    """Carry steps out, print each, and list those left to the reader."""
    if not dry_run:
        carry_out(steps, run_step, lambda step: None if as_json else typer.echo(str(step)))
    if as_json:
        print_json({"done": not dry_run, "steps": _listed(steps), "left": _listed(left)})
        return
    if dry_run:
        typer.echo("\n".join(f"would {step}" for step in steps) or "nothing to do")
    elif not steps:
        typer.echo("nothing to do")
    for step in left:
        typer.echo(f"left to you: {step}")


def _listed(steps: Iterable[Step]) -> list[str]:
    return [str(step) for step in steps]


def run_step(step: RunCommand) -> int:
    """Run a command; its output goes to standard error, except the errors of one that may fail."""
    try:
        done = subprocess.run(  # noqa: S603 - an argument list of ours; the programs are the system's own
            step.command,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            stderr=subprocess.PIPE if step.may_fail else None,
            check=False,
        )
    except OSError as error:
        raise StateError(f"{step.command[0]} cannot be run: {error.strerror}") from error
    return done.returncode
