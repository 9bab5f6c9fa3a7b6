"""Which replicas does a new plan add, remove, change or leave alone?"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

from relayd.config.schema import Allocation
from relayd.planner.plan import Lora, Planned, ReplicaSpec

_SETTINGS = {"extra_args": "args", "loras": "lora"}
"""What relay.toml calls a field that has another name in a spec."""


@dataclass(frozen=True, slots=True)
class Change:
    """A replica that must be started again, and why.

    Attributes:
        planned: What it shall be.
        reasons: The settings that differ, as `name: old → new` in the words of relay.toml.
    """

    planned: Planned
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Changes:
    """What it takes to get from one plan to another, in the order of the new one."""

    added: tuple[Planned, ...]
    removed: tuple[Planned, ...]
    changed: tuple[Change, ...]
    unchanged: tuple[Planned, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


def compare(old: Iterable[Planned], new: Iterable[Planned]) -> Changes:
    """Return the changes between two plans; replicas are the same when their names are.

    Only the process counts: other bytes for the same spec change nothing.
    """
    before = {planned.name: planned for planned in old}
    after = {planned.name: planned for planned in new}
    common = [(before[name].spec, planned) for name, planned in after.items() if name in before]
    return Changes(
        added=tuple(planned for name, planned in after.items() if name not in before),
        removed=tuple(planned for name, planned in before.items() if name not in after),
        changed=tuple(Change(now, _reasons(was, now.spec)) for was, now in common if was != now.spec),
        unchanged=tuple(now for was, now in common if was == now.spec),
    )


def _reasons(was: ReplicaSpec, now: ReplicaSpec) -> tuple[str, ...]:
    """Return what differs for the process.

    Where planner and engine take turns in deciding what no line fixes, that alone is the reason: the values
    of the one have no counterpart in the other.
    """
    before, after = dict(_values(was)), dict(_values(now))
    return tuple(
        f"{_SETTINGS.get(name, name)}: {_show(name, before[name])} → {_show(name, after[name])}"
        for name in after
        if before[name] != after[name] and (was.fit == now.fit or None not in (before[name], after[name]))
    )


def _values(spec: ReplicaSpec) -> Iterator[tuple[str, object]]:
    """Yield the fields of a spec, those of its placement one by one."""
    for one in fields(spec):
        value = getattr(spec, one.name)
        if isinstance(value, Allocation):
            yield from ((name, getattr(value, name)) for name in value.__struct_fields__)
        else:
            yield one.name, value


def _show(name: str, value: object) -> str:
    """Return a value as relay.toml has it."""
    if name == "fit":
        return "engine" if value else "plan"
    if value is None:
        return "the engine's choice"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return " ".join(f"{one.file}" if isinstance(one, Lora) else f"{one}" for one in value) or "none"
    return str(value)
