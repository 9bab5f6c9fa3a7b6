"""Everything that a daemon is given (desired state), and how it is made from a command line."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from relayd.config import Config, Paths, check_exposure, make_folders, own_paths
from relayd.desired.disk import models_on_disk, servable_model
from relayd.desired.display import Display
from relayd.desired.engines import engine_for
from relayd.desired.machine import machine_at
from relayd.desired.picked import models_to_serve, remember, still_running
from relayd.desired.replicas import plan
from relayd.desired.selection import chosen, overridden
from relayd.desired.site import Site
from relayd.engine import Engine
from relayd.hardware import probe
from relayd.planner import Planned
from relayd.planner.budget import budget

SYSTEM_ENGINE_FILE = Path("/etc/llama.cpp/config.ini")
"""Defaults that llama-server reads and that nothing switches off."""


@dataclass(frozen=True, slots=True)
class ServeArguments:
    """What was typed after `relayd serve`; it holds over every reload.

    Attributes:
        targets: Configured models, files or models on disk; empty for all that are configured.
        demo: Whether the demo model runs.
        listen: HOST:PORT instead of the configured one.
        config: The relay.toml to use; None looks for one.
        llama_server: The engine instead of the configured one.
        insecure_bind: Whether other machines may come in without a key.
    """

    targets: tuple[str, ...] = ()
    demo: bool = False
    listen: str | None = None
    config: Path | None = None
    llama_server: str | None = None
    insecure_bind: bool = False

    @property
    def demo_alone(self) -> bool:
        """Whether the demo runs by itself, with folders of its own."""
        return self.demo and not self.targets


@dataclass(frozen=True, slots=True)
class DesiredState:
    """Everything a daemon is given.

    Attributes:
        config: What the operator wants.
        plan: The replicas that shall run, with what each needs.
        engine: The llama-server that runs them.
        paths: Where state, sockets and logs are; the folders exist.
        environ: The environment of which replicas see an allow-list.
        sources: Files and variables the configuration came from.
        warnings: What the operator should know, shown by `status`.
        on_terminal: Whether it was typed on a terminal, whose end ends the daemon too.
        any_port: Whether a port that is taken is replaced by a free one.
    """

    config: Config
    plan: tuple[Planned, ...]
    engine: Engine
    paths: Paths
    environ: Mapping[str, str]
    sources: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    on_terminal: bool = False
    any_port: bool = False


def desired_state(arguments: ServeArguments, site: Site, display: Display) -> DesiredState:
    """Read the configuration, check it, and return everything a daemon is given.

    Raises:
        RelaydError: It cannot be followed; nothing was started.
    """
    loaded = site.load(arguments.config)
    find = partial(servable_model, site=site, folders=loaded.config.models.folders, display=display)
    wanted = chosen(loaded.config, arguments.targets, find, demo=arguments.demo)
    wanted = overridden(wanted, listen=arguments.listen, engine=arguments.llama_server)
    check_exposure(wanted.server.listen, wanted.server.api_key, insecure=arguments.insecure_bind)
    engine = engine_for(site, display, wanted.engine.path, wanted.engine.release_sha256)
    left_out: tuple[str, ...] = ()
    own = own_paths(demo=arguments.demo_alone)
    make_folders(own)
    if not wanted.model:
        found = models_on_disk(site, wanted.models.folders)
        room = budget(machine_at(site, display, engine))
        picked = models_to_serve(found, room, engine.features, still_running(own.runtime))
        wanted = msgspec.structs.replace(wanted, model=picked.models)
        left_out = picked.left_out
        remember(own.runtime, picked.models)
    return DesiredState(
        config=wanted,
        plan=plan(wanted, probe()),
        engine=engine,
        paths=own,
        environ=dict(site.environ),
        sources=loaded.sources,
        warnings=(*loaded.warnings, *left_out, *_warnings(insecure=arguments.insecure_bind)),
        on_terminal=sys.stdin is not None and sys.stdin.isatty(),
        any_port=arguments.demo and arguments.listen is None,
    )


def _warnings(*, insecure: bool) -> list[str]:
    found = []
    if insecure:
        found.append("other machines may use this relayd without a key (--insecure-bind)")
    if os.geteuid() == 0:
        found.append("relayd runs as root; a user of its own is safer")
    if SYSTEM_ENGINE_FILE.exists():
        found.append(f"llama-server also reads {SYSTEM_ENGINE_FILE}, which relayd cannot switch off")
    return found
