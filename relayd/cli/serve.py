"""relayd serve: run the daemon in the foreground."""

import contextlib
import os
import resource
import sys
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from relayd.cli.support.announced import ServeOutput
from relayd.cli.support.display import ConsoleDisplay
from relayd.cli.support.flags import Context, EngineFlags, GpuLayers, Slots, overrides_of
from relayd.daemon.life import Daemon
from relayd.daemon.takeover import takes_over
from relayd.desired.arguments import ServeArguments
from relayd.desired.cold import NOTABLE
from relayd.desired.display import Silent
from relayd.desired.site import Site
from relayd.desired.state import DesiredState, desired_state, remember_plan
from relayd.journal import Journal, open_journal
from relayd.units import mib

WARNED = "warned-as-root"
"""In the state folder: the warning about running as root was given."""


def serve(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL|FILE.gguf]...", help="Configured models or files; without them, every model."
        ),
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Serve the built-in demo model.")] = False,
    listen: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Where clients connect.  [default: 127.0.0.1:8080]"),
    ] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="The relay.toml to use.")] = None,
    llama_server: Annotated[str | None, typer.Option(metavar="FILE", help="The llama-server to run.")] = None,
    context: Context = None,
    slots: Slots = None,
    gpu_layers: GpuLayers = None,
    engine_flag: EngineFlags = None,
    on_demand: Annotated[
        bool, typer.Option("--on-demand", help="Without configured models: load each when it is asked for.")
    ] = False,
    insecure_bind: Annotated[
        bool, typer.Option("--insecure-bind", help="Let other machines in without a key.")
    ] = False,
    log_level: Annotated[
        str | None,
        typer.Option(metavar="LEVEL", help="Of relayd's own log: error, warning, info, debug."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object for each event.")] = False,
) -> None:
    """Serve models in the foreground until Ctrl-C or relayd stop.

    --context, --slots, --gpu-layers and flags for llama-server, which follow `--`, are for the models that
    the line names: `relayd serve m.gguf --context 8192 -- --top-k 20`. They are planned like any others.
    """
    typed = overrides_of(context, slots, gpu_layers, engine_flag)
    chosen = ServeArguments(
        tuple(targets or ()), demo, listen, config, llama_server, insecure_bind, typed, on_demand, log_level
    )
    desired = desired_state(chosen, Site(), ConsoleDisplay(quiet=quiet or as_json))
    output = ServeOutput(quiet=quiet, as_json=as_json, certificate=desired.config.server.tls_cert)
    if not desired.plan:
        output.nothing_to_serve()
        if desired.on_terminal:
            raise typer.Exit(1)
    elif not takes_over(desired.environ) and desired.away.keys() >= {one.model for one in desired.plan}:
        output.no_file_is_there(desired.away)
        if desired.on_terminal:
            raise typer.Exit(1)
    _run(remember_plan(desired), chosen, output)


def _run(desired: DesiredState, arguments: ServeArguments, output: ServeOutput) -> None:
    """Run the daemon to its end."""
    soft, hard = _raise_descriptor_limit()
    logs = desired.config.logs
    open_journal(
        desired.paths.state / "logs" / "relayd.log",
        max_bytes=mib(logs.max_mib),
        backups=logs.backups,
        level=logs.level,
        form=logs.format,
    )
    Journal("daemon").info("daemon.descriptors", soft=soft, hard=hard)
    cold = () if takes_over(desired.environ) else [str(one) for one in desired.cold if one.cause in NOTABLE]
    for warning in (*desired.warnings, *cold, *root_warning(desired.paths.state)):
        typer.echo(f"warning: {warning}", err=True)
    if not takes_over(desired.environ):
        output.plan = desired.plan

    async def main() -> None:
        daemon = Daemon(
            desired,
            lambda given_up: desired_state(arguments, Site(), Silent(), given_up),
            output,
        )
        await daemon.run()

    uvloop.run(main())
    sys.stdout.flush()


def root_warning(state: Path) -> tuple[str, ...]:
    """Return the warning about running as root, the first time that relayd does with this state folder."""
    mark = state / WARNED
    if os.geteuid() != 0 or mark.exists():
        return ()
    with contextlib.suppress(OSError):
        mark.touch(mode=0o600)
    return ("relayd runs as root; a user of its own is safer",)


def _raise_descriptor_limit() -> tuple[int, int]:
    """Allow as many open connections as the system lets us, and return the soft and the hard limit.

    The usual soft limit is 1,024.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted, hard
