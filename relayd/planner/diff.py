"""Which replicas does a new configuration add, remove, change or leave alone?"""

from collections.abc import Iterable
from dataclasses import dataclass, fields

from relayd.planner.plan import ReplicaSpec


@dataclass(frozen=True, slots=True)
class Change:
    """A replica that must be started again, and why.

    Attributes:
        spec: What it shall be.
        reasons: The fields that differ, as `name: old → new`.
    """

    spec: ReplicaSpec
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Changes:
    """What it takes to get from one plan to another, in the order of the new one."""

    added: tuple[ReplicaSpec, ...]
    removed: tuple[ReplicaSpec, ...]
    changed: tuple[Change, ...]
    unchanged: tuple[ReplicaSpec, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


def compare(old: Iterable[ReplicaSpec], new: Iterable[ReplicaSpec]) -> Changes:
    """Return the changes between two plans; replicas are the same when their names are."""
    before = {spec.name: spec for spec in old}
    after = {spec.name: spec for spec in new}
    common = [(before[name], spec) for name, spec in after.items() if name in before]
    return Changes(
        added=tuple(spec for name, spec in after.items() if name not in before),
        removed=tuple(spec for name, spec in before.items() if name not in after),
        changed=tuple(Change(now, _reasons(was, now)) for was, now in common if was != now),
        unchanged=tuple(now for was, now in common if was == now),
    )


def _reasons(was: ReplicaSpec, now: ReplicaSpec) -> tuple[str, ...]:
    pairs = ((field.name, getattr(was, field.name), getattr(now, field.name)) for field in fields(now))
    return tuple(f"{name}: {_show(a)} → {_show(b)}" for name, a, b in pairs if a != b)


def _show(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    return str(value)
