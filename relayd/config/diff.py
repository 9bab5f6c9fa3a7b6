"""The settings that a new configuration changes, those of models too, and which of them need a restart."""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from relayd.config.schema import Config, Model

RESTART_ONLY = frozenset({
    "bus.credentials",
    "bus.url",
    "engine.path",
    "engine.release_sha256",
    "hub.enabled",
    "replicas.listen",
    "replicas.ports",
    "replicas.sandbox",
    "replicas.slots_on_disk_mib",
    "server.header_seconds",
    "server.keep_alive_seconds",
    "server.kept_responses",
    "server.listen",
    "server.tls_cert",
    "server.tls_key",
})  # fmt: skip
"""Settings that hold for as long as the daemon lives."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting that differs.

    Attributes:
        key: `section.name`.
        old: The value before.
        new: The value now; a secret shows as `***`.
        live: Whether it takes effect at once; if not, at the daemon's next start.
    """

    key: str
    old: str
    new: str
    live: bool


def changed_settings(old: Config, new: Config) -> tuple[Setting, ...]:
    """Return the settings that differ, but for those of models."""
    found = [
        Setting(key, str(was), str(now), key not in RESTART_ONLY)
        for section in old.__struct_fields__
        if section not in ("model", "virtual", "upstream")
        for key, was, now in _fields(section, getattr(old, section), getattr(new, section))
        if was != now
    ]
    if old.virtual != new.virtual:
        found.append(Setting("virtual", _names(old), _names(new), live=True))
    if old.upstream != new.upstream:
        found.append(Setting("upstream", _urls(old), _urls(new), live=True))
    return tuple(found)


def _urls(config: Config) -> str:
    return ", ".join(one.url for one in config.upstream) or "none"


def _names(config: Config) -> str:
    return ", ".join(one.name for one in config.virtual) or "none"


def _fields(section: str, old: msgspec.Struct, new: msgspec.Struct) -> list[tuple[str, object, object]]:
    return [(f"{section}.{name}", getattr(old, name), getattr(new, name)) for name in old.__struct_fields__]


def changed_lines(old: Config, new: Config) -> dict[str, dict[str, str]]:
    """Return what differs in the lines of each model that stays: setting → `old → new`.

    How many replicas there are is seen by the replicas.
    """
    before = {model.name: model for model in old.model}
    found = {
        model.name: dict(_differences(before[model.name], model))
        for model in new.model
        if model.name in before
    }
    return {name: changes for name, changes in found.items() if changes}


def _differences(old: Model, new: Model) -> Iterator[tuple[str, str]]:
    was, now = _settings(old), _settings(new)
    yield from ((name, f"{_show(was[name])} → {_show(now[name])}") for name in was if was[name] != now[name])


def _settings(model: Model) -> dict[str, object]:
    line = {
        name: getattr(model, name)
        for name in model.__struct_fields__
        if name not in ("replicas", "placement")
    }
    return line | {name: getattr(model.placement, name) for name in model.placement.__struct_fields__}


def _show(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    return "not set" if value is None or value == "" else str(value)
