"""The verbs for API keys, and what each answers: a part of the daemon's operations."""

from msgspec.structs import replace

from relayd.daemon.arguments import (
    ChangeKeyArguments,
    CreateKeyArguments,
    ImportKeyArguments,
    KeyArguments,
    NoArguments,
    UsageArguments,
)
from relayd.daemon.keybook import KeyBook
from relayd.daemon.keyreport import (
    ChangedKeyReport,
    KeyReport,
    KeysReport,
    NewKeyReport,
    UsageReport,
    key_report,
)
from relayd.rights import KeyCopies, KeyRights, StoredKey
from relayd.secret import Secret
from relayd.store.keycopies import copies_of

CLOSED = "Requests for models need a key from now on; those without one are refused."
OPENED = "No key for models is left: requests from this machine need none again."


class KeyOperations:
    """The verbs for keys; each raises `RelaydError` to refuse.

    Args:
        book: The keys of the daemon.
    """

    def __init__(self, book: KeyBook) -> None:
        self._book = book

    def __repr__(self) -> str:
        return f"<KeyOperations on {self._book!r}>"

    async def keys(self, _arguments: NoArguments) -> KeysReport:
        """Return every key, revoked ones too."""
        return KeysReport(tuple(map(self._report, self._book.every())), self._book.is_open)

    async def create_key(self, arguments: CreateKeyArguments) -> NewKeyReport:
        """Make a key; its secret is in this answer and nowhere else."""
        return await self._create(arguments.name, arguments.rights, None)

    async def import_key(self, arguments: ImportKeyArguments) -> NewKeyReport:
        """Take a secret that clients have already."""
        return await self._create(arguments.name, arguments.rights, Secret(arguments.secret))

    async def rotate_key(self, arguments: KeyArguments) -> NewKeyReport:
        """Replace the secret of a key; the old one is refused from now on."""
        key, secret = await self._book.rotate(arguments.key)
        return NewKeyReport(self._report(key), secret.reveal())

    async def change_key(self, arguments: ChangeKeyArguments) -> ChangedKeyReport:
        """Change limits, quotas, models, class or end of a key; what is not given stays."""
        rights = arguments.applied(self._book.find(arguments.key).rights)
        return ChangedKeyReport(self._report(await self._book.change(arguments.key, rights)))

    async def revoke_key(self, arguments: KeyArguments) -> ChangedKeyReport:
        """Take a key back; its next request is refused."""
        was_open = self._book.is_open
        key = await self._book.revoke(arguments.key)
        return ChangedKeyReport(self._report(key), self._note(was_open=was_open))

    async def copy_keys(self, arguments: KeyArguments) -> KeyCopies:
        """Return the keys of this hub as others may hold them; `key` is what it is called there."""
        return copies_of(arguments.key, self._book.every())

    async def take_keys(self, arguments: KeyCopies) -> KeysReport:
        """Hold the keys of another hub, and return those that have changed."""
        return KeysReport(tuple(map(self._report, await self._book.take(arguments))), self._book.is_open)

    async def usage(self, arguments: UsageArguments) -> UsageReport:
        """Return what keys used of models, by day."""
        return await self._book.used(arguments)

    async def _create(self, name: str, rights: KeyRights, secret: Secret | None) -> NewKeyReport:
        was_open = self._book.is_open
        key, made = await self._book.create(name, rights, secret)
        return NewKeyReport(self._report(key), made.reveal(), self._note(was_open=was_open))

    def _report(self, key: StoredKey) -> KeyReport:
        known = replace(key, last_used=self._book.last_used(key))
        return key_report(known, self._book.now, self._book.spent(key.id))

    def _note(self, *, was_open: bool) -> str:
        """Return what a change has made of the need for a key."""
        if was_open == self._book.is_open:
            return ""
        return CLOSED if was_open else OPENED
