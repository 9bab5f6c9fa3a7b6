"""Which API keys there are, what each may do, and who has which: a table of the database."""

import hashlib
import secrets
import sqlite3
from collections.abc import Iterable

import msgspec

from relayd.apikey import check_foreign, hint, make_key
from relayd.errors import KeyUnknownError, UsageError
from relayd.rights import (
    INFERENCE_ONLY,
    OWN_PREFIX,
    KeyCopies,
    KeyRights,
    StoredKey,
    check_name,
    check_rights,
)
from relayd.secret import Secret
from relayd.store.database import Database
from relayd.store.keycopies import MARK, is_copy, merged


class _KeyDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the column `document` holds: members may be added, with a default."""

    hint: str
    created: float
    rotated: float | None = None
    rights: KeyRights = INFERENCE_ONLY
    sequence: int = 0


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
            id=f"{OWN_PREFIX}{secrets.token_hex(6)}",
            name=name,
            hint=hint(secret),
            digest=secret.digest(),
            created=now,
            rights=rights,
        )
        with self._database.changing(durable=True) as connection:
            self._check_free(connection, key)
            key = msgspec.structs.replace(key, sequence=self._next(connection))
            connection.execute(
                f"INSERT INTO keys ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608 - a constant
                (key.id, key.name, key.digest, None, None, _document(key)),
            )
        return key, secret

    def rotate(self, named: str, now: float) -> tuple[StoredKey, Secret]:
        """Replace the secret of a key, and return the new one; the old one is not valid any more.

        Raises:
            KeyUnknownError: There is no such key, or it is revoked.
            UsageError: It belongs to another hub.
            StateError: It cannot be written.
        """
        key, secret = self._live(named), make_key()
        if is_copy(key):
            raise UsageError(
                f"the key {key.name} belongs to another hub",
                remedy="Rotate it there, and take its copies again.",
            )
        rotated = msgspec.structs.replace(key, digest=secret.digest(), hint=hint(secret), rotated=now)
        return self._replace(rotated), secret

    def change(self, named: str, rights: KeyRights) -> StoredKey:
        """Give a key other rights.

        Raises:
            KeyUnknownError: There is no such key, or it is revoked.
            UsageError: A right is unknown.
            StateError: It cannot be written.
        """
        check_rights(rights)
        changed = msgspec.structs.replace(self._live(named), rights=rights)
        return self._replace(changed)

    def revoke(self, named: str, now: float) -> StoredKey:
        """Take a key back; one that is revoked already stays as it is. Its row stays for its usage.

        Raises:
            KeyUnknownError: There is no such key.
            StateError: It cannot be written.
        """
        key = self.find(named)
        if key.revoked is not None:
            return key
        return self._replace(msgspec.structs.replace(key, revoked=now))

    def take(self, copies: KeyCopies) -> list[StoredKey]:
        """Hold the keys of another hub as that has them, and return those that have changed here.

        Raises:
            UsageError: One has a secret that a key here has.
            StateError: They cannot be written.
        """
        known = {key.id: key for key in self.every()}
        changed = []
        for copy in sorted(
            copies.keys, key=lambda key: key.revoked is None
        ):  # they leave their names to others
            before = known.get(f"{copy.id}{MARK}{copies.hub}")
            if (now := merged(before, copy, copies.hub)) != before:
                changed.append(now)
        with self._database.changing(durable=True) as connection:
            for key in changed:
                try:
                    connection.execute(
                        f"INSERT INTO keys ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608 - a constant
                        " ON CONFLICT (id) DO UPDATE SET"
                        " name = excluded.name, digest = excluded.digest, revoked = excluded.revoked,"
                        " document = excluded.document",
                        (key.id, key.name, key.digest, key.revoked, None, _document(key)),
                    )
                except sqlite3.IntegrityError as error:
                    raise UsageError(
                        f"{key.name} has the name or the secret of another key here",
                        remedy="Revoke one of the two.",
                    ) from error
        return changed

    def note_used(self, moments: Iterable[tuple[str, float]]) -> None:
        """Keep when keys were last used: ids, and seconds since 1970.

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

    def _replace(self, key: StoredKey) -> StoredKey:
        """Write a key that was changed, and return it; one of this hub has another number from now on."""
        with self._database.changing(durable=True) as connection:
            if not is_copy(key):
                key = msgspec.structs.replace(key, sequence=self._next(connection))
            connection.execute(
                "UPDATE keys SET digest = ?, revoked = ?, document = ? WHERE id = ?",
                (key.digest, key.revoked, _document(key), key.id),
            )
        return key

    def _next(self, connection: sqlite3.Connection) -> int:
        """Return the number of the next change of a key of this hub."""
        rows = connection.execute("SELECT document FROM keys WHERE id NOT LIKE '%@%'")
        return 1 + max((_decode(document).sequence for (document,) in rows), default=0)

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


def digest_of(secret: str) -> bytes:
    """Return the SHA-256 of a secret as it came in a header, under which it is stored."""
    return hashlib.sha256(secret.encode(errors="surrogateescape")).digest()


def _document(key: StoredKey) -> bytes:
    return _encode(_KeyDocument(key.hint, key.created, key.rotated, key.rights, key.sequence))


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
        sequence=held.sequence,
    )
