"""The keys as administrators see and change them over TCP (ModelRelay's form, with rights beside it)."""

from msgspec import Struct

from relayd.daemon.arguments import ChangeKeyArguments, CreateKeyArguments, KeyArguments, NoArguments
from relayd.daemon.keybook import KeyBook
from relayd.rights import KeyRights, StoredKey


class AdminKeyReport(Struct, frozen=True, omit_defaults=True):
    """A key, with ModelRelay's members first; moments are whole seconds since 1970.

    Attributes:
        prefix: The beginning of its secret.
        rights: What it may do.
        secret: What clients send; in the answer that makes it and nowhere else.
    """

    id: str
    name: str
    prefix: str
    created_at: int
    last_used_at: int | None
    revoked: bool
    rights: KeyRights
    secret: str = ""

    def __repr__(self) -> str:
        return f"AdminKeyReport(id={self.id!r}, name={self.name!r})"


class AdminKeysReport(Struct, frozen=True):
    """Every key, revoked ones too, in the order in which they were made."""

    keys: tuple[AdminKeyReport, ...] = ()


class AdminKeys:
    """The verbs for keys over TCP; each raises `RelaydError` to refuse.

    Args:
        book: The keys of the daemon.
    """

    def __init__(self, book: KeyBook) -> None:
        self._book = book

    def __repr__(self) -> str:
        return f"<AdminKeys of {self._book!r}>"

    async def every(self, _arguments: NoArguments) -> AdminKeysReport:
        """Return every key."""
        return AdminKeysReport(tuple(_report(key) for key in self._book.every()))

    async def create(self, arguments: CreateKeyArguments) -> AdminKeyReport:
        """Make a key; its secret is in this answer and nowhere else."""
        key, secret = await self._book.create(arguments.name, arguments.rights)
        return _report(key, secret.reveal())

    async def change(self, arguments: ChangeKeyArguments) -> AdminKeyReport:
        """Change what a key may do; what is not given stays."""
        rights = arguments.applied(self._book.find(arguments.key).rights)
        return _report(await self._book.change(arguments.key, rights))

    async def rotate(self, arguments: KeyArguments) -> AdminKeyReport:
        """Replace the secret of a key; the old one is refused from now on."""
        key, secret = await self._book.rotate(arguments.key)
        return _report(key, secret.reveal())

    async def revoke(self, arguments: KeyArguments) -> None:
        """Take a key back; a second time changes nothing."""
        if self._book.find(arguments.key).revoked is None:
            await self._book.revoke(arguments.key)


def _report(key: StoredKey, secret: str = "") -> AdminKeyReport:
    last_used = None if key.last_used is None else int(key.last_used)
    return AdminKeyReport(
        key.id,
        key.name,
        key.hint,
        int(key.created),
        last_used,
        key.revoked is not None,
        key.rights,
        secret,
    )
