"""The settings a new configuration changes, and which of them need a restart."""

from dataclasses import dataclass

import msgspec

from relayd.config.schema import Config

RESTART_ONLY = frozenset({
    "engine.path",
    "engine.release_sha256",
    "replicas.listen",
    "replicas.ports",
    "server.header_seconds",
    "server.keep_alive_seconds",
    "server.listen",
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
    """Return the settings that differ; models are compared as replicas, not here."""
    return tuple(
        Setting(key, str(was), str(now), key not in RESTART_ONLY)
        for section in old.__struct_fields__
        if section != "model"
        for key, was, now in _fields(section, getattr(old, section), getattr(new, section))
        if was != now
    )


def _fields(section: str, old: msgspec.Struct, new: msgspec.Struct) -> list[tuple[str, object, object]]:
    return [(f"{section}.{name}", getattr(old, name), getattr(new, name)) for name in old.__struct_fields__]
