"""What each verb of a running daemon takes, as values with one JSON form (control and admin API)."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

from relayd.rights import INFERENCE_ONLY, KeyLimits, KeyRights, Quota


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


class BringFileArguments(Struct, frozen=True):
    """Of `bring_file`: a file by its SHA-256, its size in bytes, and where its bytes collect on this disk."""

    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    bytes: Annotated[int, Meta(gt=0)]
    part: Annotated[str, Meta(pattern="^/.*[.]part$")]


class NameArguments(Struct, frozen=True):
    """Of what shows or removes one model: its name, or one of its aliases."""

    name: str


class ModelLineArguments(Struct, frozen=True):
    """Of what writes a model down: its name, and settings of its `[[model]]`."""

    name: str
    settings: dict[str, Any] = {}


class UpstreamLineArguments(Struct, frozen=True):
    """Of what writes an upstream down: where it answers, and settings of its `[[upstream]]`."""

    url: str
    settings: dict[str, Any] = {}


class DeriveArguments(Struct, frozen=True):
    """Of what makes a model of another one: their names, a system prompt, and defaults of members."""

    name: str
    of: str
    system: str = ""
    defaults: dict[str, Any] = {}


class NodeArguments(Struct, frozen=True):
    """Of what concerns one node of this hub: its name."""

    node: str


class NodePullArguments(Struct, frozen=True, omit_defaults=True):
    """Of `node_pull`: a node, a model to fetch there, and whether to begin, to look, or to interrupt."""

    node: str
    model: str
    step: Literal["begin", "look", "end"] = "begin"


class JoinArguments(Struct, frozen=True, omit_defaults=True):
    """Of `join_hub`: a hub, the token by which it knows this machine; for the control socket only."""

    url: str
    token: str
    node: str = ""
    provider: str = ""

    def __repr__(self) -> str:
        return f"JoinArguments({self.url!r}, node={self.node!r})"


class HubArguments(Struct, frozen=True):
    """Of `leave_hub`: the address of a hub that this machine is a node of."""

    url: str


class CancelArguments(Struct, frozen=True):
    """Of `cancel`: the id of a request, as its answer carries it."""

    request: str


class LogArguments(Struct, frozen=True, omit_defaults=True):
    """Of `logs`: a model or a replica, or the daemon; how many of the last lines; whether to go on."""

    target: str | None = None
    lines: Annotated[int, Meta(ge=0, le=10_000)] = 50
    follow: bool = False


class EventArguments(Struct, frozen=True, omit_defaults=True):
    """Of `events`: what the names of events begin with, as `replica.`; empty for all."""

    prefix: str = ""


class RecommendArguments(Struct, frozen=True, omit_defaults=True):
    """Of `recommend`: what for; empty for everything."""

    use: Literal["", "chat", "code", "reasoning", "vision", "embedding"] = ""


class CreateKeyArguments(Struct, frozen=True, omit_defaults=True):
    """Of `create_key`: what people call it, and what it may do."""

    name: str
    rights: KeyRights = INFERENCE_ONLY


class ImportKeyArguments(Struct, frozen=True, omit_defaults=True):
    """Of `import_key`: a secret from elsewhere; for the control socket only."""

    name: str
    secret: str
    rights: KeyRights = INFERENCE_ONLY

    def __repr__(self) -> str:
        return f"ImportKeyArguments(name={self.name!r}, rights={self.rights!r})"


class KeyArguments(Struct, frozen=True):
    """Of `rotate_key` and `revoke_key`: a key, by its name or id."""

    key: str


class ChangeKeyArguments(Struct, frozen=True, omit_defaults=True):
    """Of `change_key`: what is not given stays as it is."""

    key: str
    models: tuple[str, ...] | UnsetType = UNSET
    expires: float | UnsetType | None = UNSET
    limits: KeyLimits | UnsetType = UNSET
    quotas: tuple[Quota, ...] | UnsetType = UNSET
    klass: str | UnsetType = UNSET
    retain: bool | UnsetType = UNSET

    def applied(self, rights: KeyRights) -> KeyRights:
        """Return other rights with what is given here."""
        given = {name: getattr(self, name) for name in self.__struct_fields__ if name != "key"}
        return replace(rights, **{name: value for name, value in given.items() if value is not UNSET})


class CollectArguments(Struct, frozen=True, omit_defaults=True):
    """Of `collect_batches`: what is older than so many days is removed; None follows the settings."""

    days: float | None = None


class UsageArguments(Struct, frozen=True, omit_defaults=True):
    """Of `usage`: only of a key (name or id), of a model, from a day of UTC on (`2026-11-30`)."""

    key: str | None = None
    model: str = ""
    since: str = ""
