"""relayd doctor: what would keep relayd from working well, and what helps?"""

from typing import TYPE_CHECKING

import typer

from relayd.cli.output import AsJson, print_json

if TYPE_CHECKING:
    from relayd.checkup import Finding, Patient


def doctor(as_json: AsJson = False) -> None:
    """Look at everything that has hurt people before; exits with 1 if there is a problem."""
    from relayd.checkup import Level, check_up

    findings = list(check_up(_patient()))
    if as_json:
        import dataclasses

        print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        for finding in findings:
            _print(finding)
    if any(finding.level is Level.PROBLEM for finding in findings):
        raise typer.Exit(1)


def _patient() -> "Patient":
    import os
    from pathlib import Path

    from relayd.checkup import Patient
    from relayd.cli.door import own_paths
    from relayd.cli.engine import find
    from relayd.config import load
    from relayd.errors import RelaydError
    from relayd.hardware import probe

    try:
        config = load(None, os.environ, Path.home(), Path.cwd()).config
    except RelaydError as error:
        return Patient(error, lambda: find(""), probe(), own_paths(), _runs())
    return Patient(config, lambda: find(config.engine.path), probe(), own_paths(), _runs())


def _runs() -> bool:
    from relayd.cli.door import daemon_client
    from relayd.errors import DaemonError

    try:
        daemon_client().get("status")
    except DaemonError:
        return False
    return True


def _print(finding: "Finding") -> None:
    color = {"ok": "green", "note": "yellow", "problem": "red"}[finding.level.value]
    typer.secho(f"{finding.level.value:8}", fg=color, nl=False)
    print(f"{finding.subject}: {finding.detail}")
    for line in finding.remedy.splitlines():
        print(f"        {line}")
