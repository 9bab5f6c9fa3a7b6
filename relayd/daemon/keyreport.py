"""What is reported of API keys and their usage, as values with one JSON form (control and admin API)."""

from collections.abc import Iterable

from msgspec import Struct

from relayd.daemon.arguments import UsageArguments
from relayd.rights import NO_LIMITS, KeyLimits, Quota, StoredKey, UsageRow


class KeyReport(Struct, frozen=True, omit_defaults=True):
    """A key without its secret; moments are seconds since 1970.

    Attributes:
        id: What usage and logs name it by.
        name: What people call it.
        hint: The beginning of its secret.
        fingerprint: The beginning of the SHA-256 of its secret, in hexadecimal.
        state: active, expired or revoked.
        scopes: What it is for.
        created: When it was made.
        models: Patterns of the models it may use; empty for every model.
        klass: The class of its requests; empty for no rule.
        retain: Whether what it sends may be kept after the answer.
        rotated: When its secret was last replaced.
        expires: When it ends.
        revoked: When it was taken back.
        last_used: When it was last used.
        limits: What it may do at once and in a minute.
        quotas: What it may use in a day or a month.
        spent: How much of each quota is used, by the quota as people write it.
    """

    id: str
    name: str
    hint: str
    fingerprint: str
    state: str
    scopes: tuple[str, ...]
    created: float
    models: tuple[str, ...] = ()
    klass: str = ""
    retain: bool = True
    rotated: float | None = None
    expires: float | None = None
    revoked: float | None = None
    last_used: float | None = None
    limits: KeyLimits = NO_LIMITS
    quotas: tuple[Quota, ...] = ()
    spent: dict[str, int] = {}


class KeysReport(Struct, frozen=True):
    """Every key of the database, and who is let in without one.

    Attributes:
        keys: Revoked ones too, in the order in which they were made.
        open: Whether clients without a key may use models.
    """

    keys: tuple[KeyReport, ...] = ()
    open: bool = False


class NewKeyReport(Struct, frozen=True, omit_defaults=True):
    """A key whose secret is shown, this once.

    Attributes:
        key: The key.
        secret: What clients send.
        note: What else changes by it.
    """

    key: KeyReport
    secret: str
    note: str = ""

    def __repr__(self) -> str:
        return f"NewKeyReport(key={self.key.id!r}, note={self.note!r})"


class ChangedKeyReport(Struct, frozen=True, omit_defaults=True):
    """A key that was changed or revoked, and what else changes by it."""

    key: KeyReport
    note: str = ""


def fingerprint(digest: bytes) -> str:
    """Return what is shown of the SHA-256 of a secret: it finds the key, and does not help to guess it."""
    return digest.hex()[:16]


def key_report(key: StoredKey, now: float, spent: dict[str, int] | None = None) -> KeyReport:
    """Return a key without its secret, as it is at a moment (seconds since 1970)."""
    rights = key.rights
    state = "revoked" if key.revoked is not None else "expired" if key.is_expired(now) else "active"
    return KeyReport(
        key.id,
        key.name,
        key.hint,
        fingerprint(key.digest),
        state,
        rights.scopes,
        key.created,
        rights.models,
        rights.klass,
        rights.retain,
        key.rotated,
        rights.expires,
        key.revoked,
        key.last_used,
        rights.limits,
        rights.quotas,
        spent or {},
    )


class UsageReport(Struct, frozen=True):
    """What keys used, by day, key and model.

    Attributes:
        rows: The oldest day first.
        names: What people call the keys, by their ids.
    """

    rows: tuple[UsageRow, ...] = ()
    names: dict[str, str] = {}


def usage_report(
    rows: Iterable[UsageRow], keys: Iterable[StoredKey], arguments: UsageArguments
) -> UsageReport:
    """Return what was used: rows of the same day, key and model are one.

    Args:
        rows: Of any day, key and model.
        keys: The keys of the database.
        arguments: Which of them are wanted, the key by its id.
    """
    summed: dict[tuple[str, str, str], UsageRow] = {}
    for row in rows:
        wanted = row.day >= arguments.since and arguments.model in ("", row.model)
        if wanted and arguments.key in (None, row.key):
            place = (row.day, row.key, row.model)
            summed[place] = summed[place].plus(row) if place in summed else row
    known = {key.id: key.name for key in keys}
    used = {row.key for row in summed.values()}
    return UsageReport(
        tuple(summed[place] for place in sorted(summed)), {key: known.get(key, key) for key in used}
    )
