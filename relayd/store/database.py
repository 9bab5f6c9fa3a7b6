"""The SQLite file of relayd: opened by one thread at a time, brought up to date by steps (database)."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from relayd.errors import StateError

FILE = "relayd.db"

_STEPS = (
    """
    CREATE TABLE keys (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        digest BLOB NOT NULL UNIQUE,
        revoked REAL,
        last_used REAL,
        document BLOB NOT NULL
    );
    CREATE UNIQUE INDEX names_of_keys ON keys (name) WHERE revoked IS NULL;
    CREATE TABLE usage (
        day TEXT NOT NULL,
        key TEXT NOT NULL,
        model TEXT NOT NULL,
        requests INTEGER NOT NULL,
        prompt_tokens INTEGER NOT NULL,
        cached_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL,
        seconds REAL NOT NULL,
        PRIMARY KEY (day, key, model)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE files (
        place INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        key TEXT NOT NULL,
        document BLOB NOT NULL
    );
    CREATE TABLE batches (
        place INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        key TEXT NOT NULL,
        document BLOB NOT NULL
    );
    """,
)
"""What each version adds to the one before; a step that has been released never changes."""

VERSION = len(_STEPS)

_BUSY_SECONDS = 5.0


class Database:
    """An open database.

    Attributes:
        path: The file.
        is_newer: A later relayd made it: it can only be read.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, *, is_newer: bool) -> None:
        self.path = path
        self.is_newer = is_newer
        self._connection = connection

    def __repr__(self) -> str:
        return f"<Database {self.path}{', read-only' if self.is_newer else ''}>"

    @classmethod
    def open(cls, path: Path) -> "Database":
        """Open a file, make it if it is missing, and bring it up to date. Blocks.

        Raises:
            StateError: It is damaged, or cannot be made.
        """
        with _mapped(path):
            connection = _connect(path)
            try:
                version = _version(connection)
                if version > VERSION:
                    connection.execute("PRAGMA query_only = ON")
                else:
                    connection.execute("PRAGMA journal_mode = WAL")
                    connection.execute("PRAGMA synchronous = NORMAL")
                    _bring_up_to_date(connection, version)
            except BaseException:
                connection.close()
                raise
        return cls(path, connection, is_newer=version > VERSION)

    def close(self) -> None:
        """Close the file; what was written is in it, and not in a file beside it."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection to read.

        Raises:
            StateError: The file cannot be read.
        """
        with _mapped(self.path):
            yield self._connection

    @contextlib.contextmanager
    def changing(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """Lend the connection for one transaction: all of it is written, or nothing.

        Args:
            durable: Whether it survives a power cut, and not only the end of this process.

        Raises:
            StateError: The file cannot be written.
        """
        if self.is_newer:
            raise StateError(
                f"{self.path} was written by a later relayd, so that this one only reads it",
                remedy="Install that version again: `relayd upgrade` starts it.",
            )
        with _mapped(self.path):
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")


def _connect(path: Path) -> sqlite3.Connection:
    """Open the file, which only its owner can read. Transactions are begun and ended by hand."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    os.close(descriptor)
    return sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _bring_up_to_date(connection: sqlite3.Connection, version: int) -> None:
    for number, step in enumerate(_STEPS[version:], start=version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {step}; PRAGMA user_version = {number}; COMMIT;")


@contextlib.contextmanager
def _mapped(path: Path) -> Iterator[None]:
    """Raise the errors of SQLite and of the system as `StateError`."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StateError(f"{path} cannot be used: {error}") from error
    except sqlite3.DatabaseError as error:
        raise StateError(
            f"{path} is damaged: {error}",
            remedy="Bring back a copy of it, or move it away: keys and usage in it are then lost.",
        ) from error
    except OSError as error:
        raise StateError(f"{path} cannot be used: {error.strerror}") from error
