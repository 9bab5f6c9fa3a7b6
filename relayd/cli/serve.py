"""relayd serve: run the daemon in the foreground."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from relayd.cli.support.flags import Bus, BusCredentials, Context, EngineFlags, GpuLayers, Slots, overrides_of
from relayd.config import as_hub, check_exposure, load
from relayd.daemon.place import DaemonPlace, take_place
from relayd.desired.arguments import ServeArguments
from relayd.folders import make_folders, own_paths
from relayd.lock import takes_over


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
    hub: Annotated[
        bool,
        typer.Option(
            "--hub", help="Let other machines join; listens to all, and every client needs a key then."
        ),
    ] = False,
    bus: Bus = None,
    bus_credentials: BusCredentials = None,
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
        tuple(targets or ()), demo, listen, config, llama_server, insecure_bind, typed, on_demand, log_level,
        hub, bus, bus_credentials,
    )  # fmt: skip
    place = None if takes_over(os.environ) else _take_place(chosen, os.environ)
    try:
        from relayd.cli.support.serving import serve_until_stopped

        serve_until_stopped(chosen, place, quiet=quiet, as_json=as_json)
    finally:
        if place:
            place.close()


def _take_place(arguments: ServeArguments, environ: Mapping[str, str]) -> DaemonPlace:
    """Return the place of the daemon, before what plans and serves is imported.

    Clients that connect wait from here on; where an engine is installed first, for minutes, they are refused
    until it is.

    Raises:
        ConfigError: The configuration is wrong.
        DaemonRunningError: Another daemon runs.
        ListenError: An address cannot be listened on.
        StateError: A folder cannot be used.
    """
    home = Path.home()
    loaded = load(arguments.config, environ, home, Path.cwd()).config
    server = (as_hub(loaded) if arguments.hub else loaded).server
    listen = server.listen if arguments.listen is None else arguments.listen
    keyed = server.require_key == "always"
    check_exposure(listen, server.api_key, always_keyed=keyed, insecure=arguments.insecure_bind)
    own = own_paths(environ, home, demo=arguments.demo_alone)
    make_folders(own)
    place = take_place(own, listen, environ, any_port=arguments.demo and arguments.listen is None)
    if has_engine(own.data, arguments.llama_server or loaded.engine.path or environ.get("LLAMA_SERVER_PATH")):
        place.listen()
    return place


def has_engine(data: Path, named: object) -> bool:
    """Return whether a start installs no engine first.

    Args:
        data: The folder that engines are installed in.
        named: The engine that an option, the configuration or a variable names, if one does.
    """
    return bool(named) or any((data / "engines").glob("*/"))
