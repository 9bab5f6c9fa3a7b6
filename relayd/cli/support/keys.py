"""API keys for commands: those of the running daemon, or of the database while none runs."""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from relayd.cli.support.control import daemon_client
from relayd.clock import SystemClock
from relayd.daemon.arguments import ChangeKeyArguments
from relayd.daemon.keyreport import ChangedKeyReport, KeysReport, NewKeyReport, key_report
from relayd.errors import NoDaemonError
from relayd.folders import make_folders, own_paths
from relayd.lock import lock_of_daemon
from relayd.rights import KeyCopies, KeyRights
from relayd.secret import Secret
from relayd.store.database import FILE, Database
from relayd.store.keycopies import copies_of
from relayd.store.keys import KeyTable

LATER = "No relayd is running: this holds once one starts."

T = TypeVar("T")


class KeyService(Protocol):
    """What can be done with keys; every method raises `RelaydError`."""

    def keys(self) -> KeysReport:
        """Return every API key, without its secret."""
        ...

    def create_key(self, name: str, rights: KeyRights) -> NewKeyReport:
        """Make a key, and return it with its secret."""
        ...

    def import_key(self, name: str, secret: Secret, rights: KeyRights) -> NewKeyReport:
        """Take a secret that clients have already."""
        ...

    def rotate_key(self, key: str) -> NewKeyReport:
        """Replace the secret of a key, and return the new one."""
        ...

    def change_key(self, arguments: ChangeKeyArguments) -> ChangedKeyReport:
        """Change what a key may do."""
        ...

    def revoke_key(self, key: str) -> ChangedKeyReport:
        """Take a key back."""
        ...

    def copy_keys(self, hub: str) -> KeyCopies:
        """Return the keys of this hub, as others may hold them under its name."""
        ...

    def take_keys(self, copies: KeyCopies) -> KeysReport:
        """Hold the keys of another hub, and return those that have changed."""
        ...


def with_keys(work: Callable[[KeyService], T]) -> T:
    """Return what work with the keys gives: through the daemon, or under its lock while none runs."""
    try:
        return work(daemon_client())
    except NoDaemonError:
        with _unattended() as service:
            return work(service)


@contextlib.contextmanager
def opened_database() -> Iterator[Database]:
    """Lend the database while no daemon runs.

    Raises:
        DaemonRunningError: One has just started.
        StateError: The database cannot be used.
    """
    own = own_paths()
    make_folders(own)
    with (
        contextlib.closing(lock_of_daemon(own.lock)),
        contextlib.closing(Database.open(own.state / FILE)) as database,
    ):
        yield database


@contextlib.contextmanager
def _unattended() -> Iterator["_Unattended"]:
    with opened_database() as database:
        yield _Unattended(KeyTable(database), SystemClock().wall())


class _Unattended:
    """The keys of the database, while no daemon runs."""

    def __init__(self, table: KeyTable, now: float) -> None:
        self._table = table
        self._now = now

    def __repr__(self) -> str:
        return f"<_Unattended {self._table!r} of user {os.geteuid()}>"

    def keys(self) -> KeysReport:
        return KeysReport(tuple(key_report(key, self._now) for key in self._table.every()))

    def create_key(self, name: str, rights: KeyRights) -> NewKeyReport:
        return self._create(name, rights, None)

    def import_key(self, name: str, secret: Secret, rights: KeyRights) -> NewKeyReport:
        return self._create(name, rights, secret)

    def rotate_key(self, key: str) -> NewKeyReport:
        rotated, secret = self._table.rotate(key, self._now)
        return NewKeyReport(key_report(rotated, self._now), secret.reveal(), LATER)

    def change_key(self, arguments: ChangeKeyArguments) -> ChangedKeyReport:
        rights = arguments.applied(self._table.find(arguments.key).rights)
        return ChangedKeyReport(key_report(self._table.change(arguments.key, rights), self._now), LATER)

    def revoke_key(self, key: str) -> ChangedKeyReport:
        return ChangedKeyReport(key_report(self._table.revoke(key, self._now), self._now), LATER)

    def copy_keys(self, hub: str) -> KeyCopies:
        return copies_of(hub, self._table.every())

    def take_keys(self, copies: KeyCopies) -> KeysReport:
        return KeysReport(tuple(key_report(key, self._now) for key in self._table.take(copies)))

    def _create(self, name: str, rights: KeyRights, secret: Secret | None) -> NewKeyReport:
        key, made = self._table.create(name, rights, self._now, secret)
        return NewKeyReport(key_report(key, self._now), made.reveal(), LATER)
