"""relayd doctor: check for known problems, with remedies."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import psutil
import typer

from relayd.checkup import Patient, PlanFacts, Process, Severity, check_up
from relayd.cli.support.control import daemon_client
from relayd.cli.support.given import given_or_here
from relayd.cli.support.output import AsJson, print_json
from relayd.cli.support.terminal import MAIL_COLUMNS, show, working
from relayd.config import Config
from relayd.desired.arguments import ServeArguments
from relayd.desired.cold import ColdCause
from relayd.desired.disk import models_on_disk
from relayd.desired.display import Silent
from relayd.desired.engines import engine_at
from relayd.desired.judged import judge
from relayd.desired.machine import as_the_engine_sees
from relayd.desired.preview import preview
from relayd.desired.site import Site
from relayd.errors import DaemonError, ModelFileError, RelaydError
from relayd.folders import own_paths
from relayd.hardware import probe
from relayd.models.hub import hub_of
from relayd.models.skipped import Skipped, warning_of
from relayd.ui.doctor import findings_page
from relayd.units import Bytes, mib


def doctor(as_json: AsJson = False) -> None:
    """Check this machine for known problems.

    Exits with 1 if there is a problem.
    """
    with working("Looking …"):
        findings = list(check_up(_patient()))
    if as_json:
        print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        rows = [(one.level.value, one.subject, one.detail, one.remedy) for one in findings]
        show(findings_page(rows), MAIL_COLUMNS)
    if any(finding.level is Severity.PROBLEM for finding in findings):
        raise typer.Exit(1)


def _patient() -> Patient:

    found: Config | RelaydError
    sources: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    arguments, site, warning = given_or_here()
    try:
        loaded = site.load(arguments.config)
        found, sources = loaded.config, loaded.sources
        warnings = (*loaded.warnings, warning) if warning else loaded.warnings
    except RelaydError as error:
        found = error
    path = found.engine.path if isinstance(found, Config) else ""
    machine = probe()
    return Patient(
        config=found,
        engine=lambda: engine_at(site, path),
        machine=as_the_engine_sees(machine, site) if machine.gpus else machine,
        paths=own_paths(site.environ, site.home),
        running=_runs(),
        environ=site.environ,
        plan=lambda: _plan(arguments, site),
        sources=sources,
        warnings=warnings,
        skipped=_skipped(found, site),
        models=(site.shelf.root, hub_of(site.environ, site.home).cache),
        servers=_servers,
    )


def _plan(arguments: ServeArguments, site: Site) -> PlanFacts:
    """Return what is planned; a line names only the most that earlier prompts may take."""
    found = preview(arguments, site, Silent())
    cold = [one for _, one in found.on_demand()]
    refused = [one for one in cold if one.cause is ColdCause.TOO_LARGE]
    return PlanFacts(
        ledger=found.ledger,
        prompt_caches=mib(sum(one.spec.cache_ram_mib for one in found.starts())),
        on_demand=tuple(dict.fromkeys(one.model for one in cold if one not in refused)),
        refused={one.model: str(one) for one in refused},
        offered=len(found.made.config.model),
    )


def _skipped(config: Config | RelaydError, site: Site) -> tuple[str, ...]:
    """Return which files of models cannot be served, each with the reason."""
    if isinstance(config, RelaydError):
        return ()
    skipped, said = list[Skipped](), []
    models_on_disk(site, config.models.folders, skipped.append)
    for model in config.model:
        try:
            judge(Path(model.file), None)
        except ModelFileError as error:
            said.append(f"{model.name}: {error.message}")
    return tuple(filter(None, (*said, warning_of(skipped))))


def _runs() -> bool:

    try:
        daemon_client().status()
    except DaemonError:
        return False
    return True


def _servers() -> Iterator[Process]:
    """Yield every llama-server of this machine; the owner of another user's stays unknown."""
    for process in psutil.process_iter(["name", "memory_info"]):
        if "llama-server" not in (process.info["name"] or ""):
            continue
        instance = "?"
        with contextlib.suppress(psutil.Error, OSError):
            instance = process.environ().get("RELAYD_INSTANCE", "")
        memory = process.info["memory_info"]
        yield Process(process.pid, Bytes(memory.rss if memory else 0), instance)
