"""relayd doctor: check for known problems, with remedies."""

import contextlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import psutil
import typer

from relayd.checkup import Finding, Patient, PlanFacts, Process, Severity, Unfinished, check_up, mend
from relayd.cli.ondisk import own_shelf
from relayd.cli.support.control import daemon_client
from relayd.cli.support.given import given_or_here
from relayd.cli.support.output import AsJson, print_json
from relayd.cli.support.terminal import show_lines, working
from relayd.clock import SystemClock
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
from relayd.folders import Paths, own_paths
from relayd.hardware import probe
from relayd.models.hub import hub_of
from relayd.models.shelf import ModelRecord
from relayd.models.skipped import Skipped, warning_of
from relayd.ui.doctor import findings_lines
from relayd.units import Bytes, mib, show_bytes


def doctor(
    fix: Annotated[
        bool, typer.Option("--fix", help="Correct what is harmless: rights of key files, empty downloads.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check this machine for known problems.

    Exits with 1 if there is a problem.
    """
    with working("Looking …"):
        findings = list(check_up(_patient()))
    findings = mend(findings) if fix else findings
    if as_json:
        print_json([_described(finding) for finding in findings])
    else:
        rows = [(one.level.value, one.subject, one.detail, one.remedy) for one in findings]
        show_lines(lambda width: findings_lines(rows, width))
        if not fix and any(one.fix for one in findings):
            typer.echo("Some of it can be corrected for you: relayd doctor --fix")
    if any(finding.level is Severity.PROBLEM for finding in findings):
        raise typer.Exit(1)


def _described(finding: Finding) -> dict[str, object]:
    names = ("subject", "level", "detail", "remedy")
    return {name: getattr(finding, name) for name in names} | {"fixable": finding.fix is not None}


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
        damaged=_damaged(found),
        unfinished=tuple(map(_unfinished, (one for one in site.shelf.records() if not one.finished))),
        secret_files=_secret_files(found, own_paths(site.environ, site.home)),
        pending=_pending(),
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
    skipped = list[Skipped]()
    models_on_disk(site, config.models.folders, skipped.append)
    return tuple(filter(None, (warning_of(skipped),)))


def _damaged(config: Config | RelaydError) -> dict[str, str]:
    """Return why configured models cannot be served, by name: their whole headers and sizes are looked at."""
    damaged = {}
    for model in () if isinstance(config, RelaydError) else config.model:
        try:
            judge(Path(model.file), None)
        except ModelFileError as error:
            damaged[model.name] = error.message
    return damaged


def _unfinished(record: ModelRecord) -> Unfinished:
    here = sum(kept.here_bytes for kept in record.files)
    total = sum(kept.bytes for kept in record.files)
    shown = f"{show_bytes(here)}{f' of {show_bytes(total)}' if total else ''} downloaded"
    again = record.name if record.model else record.source
    return Unfinished(record.name, here, shown, again, lambda: own_shelf().remove(record))


def _secret_files(config: Config | RelaydError, paths: Paths) -> tuple[Path, ...]:
    """Return the files that hold keys: those of replicas, the database, the certificate's own."""
    tls = () if isinstance(config, RelaydError) else (config.server.tls_key,)
    given = (Path(file) for file in tls if file)
    found = (*sorted(paths.runtime.glob("*.key")), paths.state / "relayd.db", *given)
    return tuple(file for file in found if file.exists())


def _pending() -> str:
    """Return what the running daemon would change on a reload; "" where nothing, or none runs."""
    try:
        done = daemon_client().reload(dry_run=True)
    except RelaydError:
        return ""
    changes = (
        *(one.key for one in done.settings),
        *(f"+ {name}" for name in done.added),
        *(f"- {name}" for name in done.removed),
        *(f"~ {name}" for name in (*done.changed, *done.models)),
    )
    return ", ".join(changes)


def _runs() -> bool:

    try:
        daemon_client().status()
    except DaemonError:
        return False
    return True


def _servers() -> Iterator[Process]:
    """Yield every llama-server of this machine; the owner of another user's stays unknown."""
    now = SystemClock().wall()
    for process in psutil.process_iter(["name", "memory_info", "username", "create_time", "cmdline"]):
        if "llama-server" not in (process.info["name"] or ""):
            continue
        instance = "?"
        with contextlib.suppress(psutil.Error, OSError):
            instance = process.environ().get("RELAYD_INSTANCE", "")
        memory = process.info["memory_info"]
        yield Process(
            process.pid,
            Bytes(memory.rss if memory else 0),
            instance,
            process.info["username"] or "",
            _port(process.info["cmdline"] or ()),
            now - process.info["create_time"] if process.info["create_time"] else 0.0,
        )


def _port(command: Sequence[str]) -> str:
    """Return the port of a llama-server's command line, 8080 by default; "" where it listens on a socket."""
    after = dict(pairwise(command))
    if after.get("--host", "").endswith(".sock"):
        return ""
    given = next((word.partition("=")[2] for word in command if word.startswith("--port=")), "")
    return given or after.get("--port") or ("8080" if command else "")
