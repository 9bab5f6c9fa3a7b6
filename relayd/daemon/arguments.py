"""What each verb of a running daemon takes, as values with one JSON form (control and admin API)."""

from typing import Annotated

from msgspec import Meta, Struct


class NoArguments(Struct, frozen=True):
    """Of a verb that takes none."""


class TargetArguments(Struct, frozen=True, omit_defaults=True):
    """Of `start` and `drain`: a model, one of its aliases, or a replica; None for all."""

    target: str | None = None


class ModelArguments(Struct, frozen=True):
    """Of `load`, `pin` and `unpin`: a model or one of its aliases."""

    model: str


class UnloadArguments(Struct, frozen=True, omit_defaults=True):
    """Of `unload`: a model, one of its aliases, or a replica; `force` ends its running requests."""

    target: str
    force: bool = False


class StopArguments(Struct, frozen=True, omit_defaults=True):
    """Of `stop`; `all` ends the daemon too."""

    target: str | None = None
    all: bool = False


class RestartArguments(Struct, frozen=True, omit_defaults=True):
    """Of `restart`; `rolling` restarts one replica of a model after the other."""

    target: str | None = None
    rolling: bool = False


class ReloadArguments(Struct, frozen=True, omit_defaults=True):
    """Of `reload`; a dry run changes nothing."""

    dry_run: bool = False


class UpgradeArguments(Struct, frozen=True, omit_defaults=True):
    """Of `upgrade`: how long answers under way may take; None for the configured time."""

    drain_seconds: Annotated[float, Meta(ge=0)] | None = None
