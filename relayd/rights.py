"""What an API key may do, and what is kept of it: values that the database, the doors and commands share."""

import re
from typing import Literal

import msgspec

from relayd.errors import UsageError

SCOPES = ("inference", "admin", "metrics", "node")
"""What a key may be for: models, administration, figures, joining as another machine."""

CLASSES = ("interactive", "normal", "batch")
"""How urgent requests are, as `scheduler.ask` orders them."""

CONFIGURED = "configured"
"""Id and name of the key of relay.toml."""

LOCAL = "local"
"""Id and name of the key that commands on this machine use; the control socket lends it."""

OWN_PREFIX = "key_"
"""What the ids of keys in the database begin with, so that none is a name."""

LARGEST_AMOUNT = 10**15
"""Of a limit or quota: more than any machine serves, and a whole number in every reader of JSON."""

LATEST_MOMENT = 253_402_300_799
"""The last second of the year 9999, in seconds since 1970: no calendar has later ones."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_PATTERN = re.compile(r"[A-Za-z0-9*?._:/@+-]{1,128}")


class KeyLimits(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a key may do at once and in a minute; None is without limit.

    Attributes:
        rpm: Requests in any minute.
        tpm: Tokens of prompts and answers in any minute.
        in_flight: Requests that are worked on at the same time; further ones wait for their turn.
        queued: Those that may wait for it; further ones are refused.
    """

    rpm: int | None = None
    tpm: int | None = None
    in_flight: int | None = None
    queued: int | None = None


class Quota(msgspec.Struct, frozen=True):
    """What a key may use in a day or a month, of UTC."""

    what: Literal["requests", "tokens"]
    amount: int
    period: Literal["day", "month"]

    def __str__(self) -> str:
        """Return the quota as people write it."""
        return f"{self.what}={self.amount}/{self.period}"


NO_LIMITS = KeyLimits()


class KeyRights(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a key may do.

    Attributes:
        scopes: What for.
        models: Patterns of the models it may use (`*`, `?`); empty for every model.
        expires: When it ends, in seconds since 1970; None never.
        limits: What it may do at once and in a minute.
        quotas: What it may use in a day or a month.
        klass: The class of its requests, and the best that they may ask for; empty for no rule.
        retain: Whether what it sends may be kept after the answer.
    """

    scopes: tuple[str, ...] = ("inference",)
    models: tuple[str, ...] = ()
    expires: float | None = None
    limits: KeyLimits = NO_LIMITS
    quotas: tuple[Quota, ...] = ()
    klass: str = ""
    retain: bool = True

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit or a quota."""
        return bool(self.quotas) or self.limits != NO_LIMITS


INFERENCE_ONLY = KeyRights()


class StoredKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key without its secret.

    Attributes:
        id: What usage and logs name it by; it never changes and is never used again.
        name: What people call it.
        hint: The beginning of its secret.
        digest: SHA-256 of its secret.
        created: When it was made, in seconds since 1970.
        rotated: When its secret was last replaced; None never.
        revoked: When it was taken back; None if it was not.
        last_used: When it was last used; None never.
        rights: What it may do.
        sequence: The number of its last change among all changes of keys of its hub; higher ones are newer.
    """

    id: str
    name: str
    hint: str
    digest: bytes
    created: float
    rotated: float | None = None
    revoked: float | None = None
    last_used: float | None = None
    rights: KeyRights = INFERENCE_ONLY
    sequence: int = 0

    def is_expired(self, now: float) -> bool:
        """Return whether its time is over (seconds since 1970)."""
        return self.rights.expires is not None and self.rights.expires <= now


class KeyCopies(msgspec.Struct, frozen=True):
    """The keys of a hub, as others may hold them: digests, and no secret.

    Attributes:
        hub: Whose they are.
        keys: Its own ones for clients, revoked ones too.
    """

    hub: str
    keys: tuple[StoredKey, ...] = ()


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one key used of one model on one day (UTC).

    Attributes:
        day: `2026-11-30`.
        key: The key's id; empty for requests without a key.
        model: The model.
        requests: Requests that reached a replica.
        prompt_tokens: Tokens of their prompts, those that were in the cache included.
        cached_tokens: Those of them that were in the cache.
        completion_tokens: Tokens of the answers.
        seconds: How long replicas worked on them.
    """

    day: str
    key: str
    model: str
    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0

    @property
    def tokens(self) -> int:
        """Tokens of prompts and answers."""
        return self.prompt_tokens + self.completion_tokens

    def plus(self, other: "UsageRow") -> "UsageRow":
        """Return the sum of both, under the names of this one."""
        return UsageRow(
            day=self.day,
            key=self.key,
            model=self.model,
            requests=self.requests + other.requests,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            seconds=self.seconds + other.seconds,
        )


def check_name(name: str) -> None:
    """Refuse a name that cannot be that of a key.

    Raises:
        UsageError: It cannot.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name[:128]!r} cannot be the name of a key",
            remedy="Use letters, digits, and . _ : - after the first of them; at most 128.",
        )
    if name in (CONFIGURED, LOCAL) or name.startswith(OWN_PREFIX):
        raise UsageError(f"{name!r} is a name that relayd gives itself", remedy="Choose another one.")


def check_rights(rights: KeyRights) -> None:
    """Refuse rights that do not exist, or limits that cannot be followed.

    Raises:
        UsageError: They cannot.
    """
    if not rights.scopes:
        raise UsageError("a key without a scope is for nothing", remedy=f"Scopes are: {', '.join(SCOPES)}.")
    for scope in rights.scopes:
        if scope not in SCOPES:
            raise UsageError(f"there is no scope {scope!r}", remedy=f"Scopes are: {', '.join(SCOPES)}.")
    for pattern in rights.models:
        if not _PATTERN.fullmatch(pattern):
            raise UsageError(
                f"{pattern!r} matches no model", remedy="Write names of models, with * for any characters."
            )
    if rights.klass and rights.klass not in CLASSES:
        raise UsageError(f"there is no class {rights.klass!r}", remedy=f"Classes are: {', '.join(CLASSES)}.")
    if rights.expires is not None and not 0 <= rights.expires <= LATEST_MOMENT:
        raise UsageError(
            f"a key cannot end {rights.expires:g} seconds after the beginning of 1970",
            remedy="Give a moment before the year 10000, or none for a key that does not end.",
        )
    _check_limits(rights.limits)
    for quota in rights.quotas:
        if quota.amount < 1:
            raise UsageError(f"the quota {quota} allows nothing", remedy="Revoke the key instead.")
        _check_amount(f"quota {quota}", quota.amount)


def _check_limits(limits: KeyLimits) -> None:
    for name in ("rpm", "tpm", "in_flight"):
        if (value := getattr(limits, name)) is not None and value < 1:
            raise UsageError(f"the limit {name}={value} allows nothing", remedy="Revoke the key instead.")
    if limits.queued is not None and limits.in_flight is None:
        raise UsageError(
            "queued is how many wait for a turn, and without in_flight none does",
            remedy=f"Set both: `--limit in_flight=4,queued={limits.queued}`.",
        )
    if limits.queued is not None and limits.queued < 0:
        raise UsageError(f"the limit queued={limits.queued} is below zero")
    for name in limits.__struct_fields__:
        _check_amount(f"limit {name}={(value := getattr(limits, name))}", value or 0)


def _check_amount(what: str, amount: int) -> None:
    if amount > LARGEST_AMOUNT:
        raise UsageError(
            f"the {what[:60]} is too large", remedy=f"At most {LARGEST_AMOUNT:g}, or none at all."
        )
