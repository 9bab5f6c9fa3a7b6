"""Which daemon serves a model: one that does already, one that takes it up, or a new one (relayd run)."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from relayd.cli.support.background import elsewhere_if_taken, start_daemon, start_service
from relayd.cli.support.control import RunningDaemon
from relayd.cli.support.display import ConsoleDisplay
from relayd.cli.support.given import given_arguments
from relayd.cli.support.hosted import Hosted
from relayd.client.control import Client
from relayd.config import Model, keep
from relayd.daemon.report import StatusReport
from relayd.desired.arguments import Overrides
from relayd.desired.disk import served_model
from relayd.desired.display import Display
from relayd.desired.engines import engine_for
from relayd.desired.site import Site
from relayd.errors import UsageError
from relayd.models.ondisk import Found


def host(
    found: Found, running: Sequence[RunningDaemon], typed: Overrides, config: Path | None, *, quiet: bool
) -> Hosted:
    """Have a model on this disk served, by a daemon that is started if none runs.

    Args:
        found: The model.
        running: The daemons that run.
        typed: Settings for it; only a daemon that is started has them.
        config: The relay.toml of a daemon that is started; None looks for one.
        quiet: Whether no progress is shown.

    Raises:
        UsageError: The daemon that runs serves only what was named as it was started.
        RelaydError: It cannot be served.
    """
    for daemon in running:
        if name := _called(found, daemon.report):
            return Hosted(daemon.client, name)
    display = ConsoleDisplay(quiet=quiet)
    own = next((one for one in running if not one.is_demo), None)
    return _taken_up(found, own, display) if own else _started(found, typed, config, display)


def _called(found: Found, report: StatusReport) -> str:
    """Return what a model is called by a daemon that serves its file; "" by any other."""
    real = os.path.realpath(found.files[0])
    return next((one.name for one in report.models if os.path.realpath(one.file) == real), "")


def _taken_up(found: Found, daemon: RunningDaemon, display: Display) -> Hosted:
    given = daemon.client.configuration().given
    if given.targets or given.demo:
        named = ", ".join(given.targets) or "the demo model"
        raise UsageError(
            f"the relayd that runs (pid {daemon.report.pid}) serves only what it was started with: {named}",
            remedy=f"Stop it, then repeat this: relayd stop, relayd run {found.name}.",
        )
    arguments, site = given_arguments()
    if site.load(arguments.config).config.model:
        _configure(found, site, display)
    daemon.client.reload()
    return Hosted(daemon.client, _named(found, daemon.client))


def _started(found: Found, typed: Overrides, config: Path | None, display: Display) -> Hosted:
    site = Site()
    settings = site.load(config).config
    engine_for(site, display, settings.engine.path, settings.engine.release_sha256)
    words = ["--config", str(config.absolute())] if config else []
    real = os.path.realpath(found.files[0])
    if typed:
        words += [found.name, *_options(typed)]
    elif not settings.model:
        words.append("--on-demand")
    elif not any(os.path.realpath(one.file) == real for one in settings.model):
        _configure(found, site, display)
    where = elsewhere_if_taken(settings.server.listen)
    with display.doing("Starting relayd in the background …"):
        client = None if typed or config else start_service()
        client = client or start_daemon([*where, *words])
    return Hosted(client, _named(found, client), is_new=True)


def _configure(found: Found, site: Site, display: Display) -> None:
    """Add a model to models.toml: where models are configured, relayd serves no others."""
    keep(_line(served_model(found, site, display)), site.state)


def _line(model: Model) -> dict[str, Any]:
    line: dict[str, Any] = {"name": model.name, "file": model.file, "load": "demand"}
    if model.projector:
        line["projector"] = model.projector
    return line


def _named(found: Found, client: Client) -> str:
    """Return what a model is called by a daemon that should serve it now.

    Raises:
        UsageError: It does not serve it, with the reason as far as it is known.
    """
    report = client.status()
    if name := _called(found, report):
        return name
    warnings = "\n".join(report.warnings)
    raise UsageError(
        f"relayd does not serve {found.name}", remedy=warnings or "relayd plan shows what it serves and why."
    )


def _options(typed: Overrides) -> list[str]:
    """Return settings as options of `relayd serve`."""
    options = {"--context": typed.context, "--slots": typed.slots, "--gpu-layers": typed.gpu_layers}
    words = [f"{name}={value}" for name, value in options.items() if value is not None]
    return [*words, "--", *typed.flags] if typed.flags else words
