"""What does `relayd status` say, as data?

Schema 1. Members are added, never renamed; times are seconds since 1970.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from relayd import __version__
from relayd.config import Config, Setting
from relayd.daemon.footprint import Footprint
from relayd.desired.demo import is_demo
from relayd.desired.state import DesiredState
from relayd.planner import Changes
from relayd.scheduler import ModelLoad
from relayd.service import Managed
from relayd.supervisor import Status
from relayd.supervisor.logs import printable

SCHEMA = 1


def daemon_report(desired: DesiredState, service: Managed | None) -> dict[str, Any]:
    """Return what this daemon is, who manages it, and what it was given."""
    return {
        "schema": SCHEMA,
        "version": __version__,
        "pid": os.getpid(),
        "keyed": bool(desired.config.server.api_key),
        "config": list(desired.sources),
        "warnings": list(desired.warnings),
        "engine": {
            "path": str(desired.engine.path),
            "version": desired.engine.version,
            "source": desired.engine.source,
        },
        "logs": str(desired.paths.state / "logs"),
        "runtime": str(desired.paths.runtime),
        "service": asdict(service) if service else None,
    }


def fleet_report(
    config: Config,
    statuses: Sequence[Status],
    load: Callable[[str], ModelLoad],
    footprints: Mapping[str, Footprint],
) -> list[dict[str, Any]]:
    """Return every configured model with its load and its replicas."""
    unknown = Footprint()
    return [
        {
            "name": model.name,
            "aliases": list(model.aliases),
            "file": model.file,
            "demo": is_demo(model.file),
            "waiting": load(model.name).waiting,
            "running": load(model.name).running,
            "slots": load(model.name).slots,
            "replicas": [
                _replica(status, footprints.get(status.spec.name, unknown))
                for status in statuses
                if status.spec.model == model.name
            ],
        }
        for model in config.model
    ]


def reload_report(settings: Sequence[Setting], changes: Changes, *, dry_run: bool) -> dict[str, Any]:
    """Return what a reload changes; settings that are not `live` wait for the next start."""
    return {
        "dry_run": dry_run,
        "settings": [{"key": one.key, "old": one.old, "new": one.new, "live": one.live} for one in settings],
        "added": [planned.name for planned in changes.added],
        "removed": [planned.name for planned in changes.removed],
        "changed": {change.planned.name: list(change.reasons) for change in changes.changed},
        "unchanged": [planned.name for planned in changes.unchanged],
    }


def _replica(status: Status, footprint: Footprint) -> dict[str, Any]:
    exit_ = status.last_exit
    return {
        "name": status.spec.name,
        "state": status.state.value,
        "since": status.since,
        "pid": status.pid,
        "incarnation": status.incarnation,
        "address": status.address,
        "slots": status.spec.slots,
        "restarts": status.restarts,
        "budget_left": status.budget_left,
        "memory": footprint.document(),
        "reduced": list(status.reduced),
        "retry_at": status.retry_at,
        "health_fault": status.health_fault,
        "last_exit": exit_
        and {
            "cause": exit_.cause.value,
            "code": exit_.code,
            "message": exit_.message,
            "remedy": exit_.remedy,
            "at": status.last_exit_at,
            "last_words": [printable(line) for line in status.last_words],
        },
        "log": str(status.log) if status.log else None,
        "command": list(status.command),
    }
