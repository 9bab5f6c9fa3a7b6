"""Which API keys there are, what each may do, and who has which: a table of the database."""

import hashlib
import re
import secrets
import sqlite3
from collections.abc import Iterable

import msgspec

from relayd.apikey import check_foreign, hint, make_key
from relayd.errors import KeyUnknownError, UsageError
from relayd.scheduler.limits import KeyLimits, Quota
from relayd.secret import Secret
from relayd.store.database import Database

SCOPES = ("inference", "admin", "metrics", "node")
"""What a key may be for: models, administration, figures, joining as another machine."""

CLASSES = ("interactive", "normal", "batch")
"""How urgent the requests of a key can be."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_PATTERN = re.compile(r"[A-Za-z0-9*?._:/@\[\]-]{1,128}")
RESERVED = frozenset({"configured", "local"})
"""Names of keys that are in no table: that of relay.toml, and the one that commands of this machine use."""


class KeyRights(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a key may do.

    Attributes:
        scopes: What for.
        models: Patterns of the models it may use (`*`, `?`); empty for every model.
        expires: When it ends, in seconds since 1970; None never.
        limits: What it may do at once and in a minute.
        quotas: What it may use in a day or a month.
        klass: How urgent its requests are.
        retain: Whether what it sends may be kept after the answer.
    """

    scopes: tuple[str, ...] = ("inference",)
    models: tuple[str, ...] = ()
    expires: float | None = None
    limits: KeyLimits = KeyLimits()
    quotas: tuple[Quota, ...] = ()
    klass: str = "interactive"
    retain: bool = True


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
        last_used: When it last came along; None never.
        rights: What it may do.
    """

    id: str
    name: str
    hint: str
    digest: bytes
    created: float
    rotated: float | None = None
    revoked: float | None = None
    last_used: float | None = None
    rights: KeyRights = KeyRights()


class _KeyDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the column `document` holds: members may be added, with a default."""

    hint: str
    created: float
    rotated: float | None = None
    rights: KeyRights = KeyRights()


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_KeyDocument).decode
_COLUMNS = "id, name, digest, revoked, last_used, document"


class KeyTable:
    """The keys of a database. Every method blocks.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def __repr__(self) -> str:
        return f"<KeyTable of {self._database!r}>"

    def every(self) -> list[StoredKey]:
        """Return all keys, revoked ones too, in the order in which they were made.

        Raises:
            StateError: They cannot be read.
        """
        with self._database.reading() as connection:
            rows = connection.execute(f"SELECT {_COLUMNS} FROM keys").fetchall()  # noqa: S608 - a constant
        return sorted(map(_key, rows), key=lambda key: key.created)

    def find(self, named: str) -> StoredKey:
        """Return the key of an id, or of a name: of several, the one that is not revoked, else the last.

        Raises:
            KeyUnknownError: There is none.
            StateError: They cannot be read.
        """
        return find_key(self.every(), named)

    def create(
        self, name: str, rights: KeyRights, now: float, secret: Secret | None = None
    ) -> tuple[StoredKey, Secret]:
        """Add a key, and return it with its secret, which is kept nowhere.

        Args:
            name: What people call it.
            rights: What it may do.
            now: Seconds since 1970.
            secret: A secret from elsewhere; None makes one.

        Raises:
            UsageError: The name is taken or malformed, a right is unknown, or the secret is weak or in use.
            StateError: It cannot be written.
        """
        check_name(name)
        check_rights(rights)
        if secret is None:
            secret = make_key()
        else:
            check_foreign(secret)
        key = StoredKey(
            id=f"key_{secrets.token_hex(6)}",
            name=name,
            hint=hint(secret),
            digest=secret.digest(),
            created=now,
            rights=rights,
        )
        with self._database.changing(durable=True) as connection:
            self._check_free(connection, key)
            connection.execute(
                f"INSERT INTO keys ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608 - a constant
                (key.id, key.name, key.digest, None, None, _document(key)),
            )
        return key, secret

    def rotate(self, named: str, now: float) -> tuple[StoredKey, Secret]:
        """Replace the secret of a key, and return the new one; the old one is not valid any more.

        Raises:
            KeyUnknownError: There is no such key, or it is revoked.
            StateError: It cannot be written.
        """
        key, secret = self._live(named), make_key()
        rotated = msgspec.structs.replace(key, digest=secret.digest(), hint=hint(secret), rotated=now)
        self._replace(rotated)
        return rotated, secret

    def change(self, named: str, rights: KeyRights) -> StoredKey:
        """Give a key other rights.

        Raises:
            KeyUnknownError: There is no such key, or it is revoked.
            UsageError: A right is unknown.
            StateError: It cannot be written.
        """
        check_rights(rights)
        changed = msgspec.structs.replace(self._live(named), rights=rights)
        self._replace(changed)
        return changed

    def revoke(self, named: str, now: float) -> StoredKey:
        """Take a key back; one that is revoked already stays as it is. Its row stays for its usage.

        Raises:
            KeyUnknownError: There is no such key.
            StateError: It cannot be written.
        """
        key = self.find(named)
        if key.revoked is not None:
            return key
        with self._database.changing(durable=True) as connection:
            connection.execute("UPDATE keys SET revoked = ? WHERE id = ?", (now, key.id))
        return msgspec.structs.replace(key, revoked=now)

    def note_used(self, moments: Iterable[tuple[str, float]]) -> None:
        """Keep when keys came along last: ids, and seconds since 1970.

        Raises:
            StateError: It cannot be written.
        """
        with self._database.changing() as connection:
            connection.executemany(
                "UPDATE keys SET last_used = ? WHERE id = ?", [(at, key) for key, at in moments]
            )

    def _live(self, named: str) -> StoredKey:
        key = self.find(named)
        if key.revoked is not None:
            raise KeyUnknownError(
                f"the key {named!r} is revoked", remedy=f"Make another one: `relayd keys create {key.name}`."
            )
        return key

    def _replace(self, key: StoredKey) -> None:
        with self._database.changing(durable=True) as connection:
            connection.execute(
                "UPDATE keys SET digest = ?, document = ? WHERE id = ?", (key.digest, _document(key), key.id)
            )

    def _check_free(self, connection: sqlite3.Connection, key: StoredKey) -> None:
        """Refuse a name or a secret that another key has.

        Raises:
            UsageError: One has.
        """
        taken = connection.execute(
            "SELECT 1 FROM keys WHERE name = ? AND revoked IS NULL", (key.name,)
        ).fetchone()
        if taken:
            raise UsageError(
                f"there is a key {key.name!r} already",
                remedy=f"Choose another name, or replace its secret: `relayd keys rotate {key.name}`.",
            )
        if connection.execute("SELECT 1 FROM keys WHERE digest = ?", (key.digest,)).fetchone():
            raise UsageError(
                "this secret was given to a key before", remedy="Give each key a secret of its own."
            )


def find_key(keys: Iterable[StoredKey], named: str) -> StoredKey:
    """Return the key of an id, or of a name: of several, the one that is not revoked, else the last.

    Raises:
        KeyUnknownError: There is none.
    """
    found = [key for key in keys if named in (key.id, key.name)]
    if not found:
        raise KeyUnknownError(f"there is no key {named[:128]!r}", remedy="See them: `relayd keys list`.")
    return max(found, key=lambda key: (key.id == named, key.revoked is None, key.created))


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
    if name in RESERVED or name.startswith("key_"):
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
    if rights.klass not in CLASSES:
        raise UsageError(f"there is no class {rights.klass!r}", remedy=f"Classes are: {', '.join(CLASSES)}.")
    _check_limits(rights.limits)
    for quota in rights.quotas:
        if quota.amount < 1:
            raise UsageError(f"the quota {quota} allows nothing", remedy="Revoke the key instead.")


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


def digest_of(secret: str) -> bytes:
    """Return the SHA-256 of a secret as it came in a header, under which it is stored."""
    return hashlib.sha256(secret.encode(errors="surrogateescape")).digest()


def _document(key: StoredKey) -> bytes:
    return _encode(_KeyDocument(key.hint, key.created, key.rotated, key.rights))


def _key(row: tuple[str, str, bytes, float | None, float | None, bytes]) -> StoredKey:
    known, name, digest, revoked, last_used, document = row
    held = _decode(document)
    return StoredKey(
        id=known,
        name=name,
        hint=held.hint,
        digest=digest,
        created=held.created,
        rotated=held.rotated,
        revoked=revoked,
        last_used=last_used,
        rights=held.rights,
    )
