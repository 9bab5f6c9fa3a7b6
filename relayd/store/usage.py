"""What each key has used of each model on each day: a table of the database."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from relayd.rights import UsageRow
from relayd.store.database import Database

_DAY_SECONDS = 86_400
"""Of UTC as computers count it: it has no leap seconds."""

_NAMES = ("day", "key", "model")
_SUMS = ("requests", "prompt_tokens", "cached_tokens", "completion_tokens", "seconds")
_COLUMNS = ", ".join((*_NAMES, *_SUMS))
_ADDED = ", ".join(f"{one} = {one} + excluded.{one}" for one in _SUMS)
_ADD = (
    f"INSERT INTO usage ({_COLUMNS}) VALUES ({', '.join('?' * 8)}) "  # noqa: S608 - constants
    f"ON CONFLICT (day, key, model) DO UPDATE SET {_ADDED}"
)


class UsageTable:
    """The usage in a database. Every method blocks.

    Args:
        database: Where it is.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def __repr__(self) -> str:
        return f"<UsageTable of {self._database!r}>"

    def add(self, rows: Iterable[UsageRow]) -> None:
        """Add to what is there, all of it or nothing.

        Raises:
            StateError: It cannot be written.
        """
        with self._database.changing() as connection:
            connection.executemany(_ADD, [msgspec.structs.astuple(row) for row in rows])

    def rows(self, *, since: str = "", key: str | None = None, model: str = "") -> list[UsageRow]:
        """Return what was used, the oldest day first.

        Args:
            since: The first day; empty for all.
            key: Only of this key, by its id; None for all.
            model: Only of this model; empty for all.

        Raises:
            StateError: It cannot be read.
        """
        wanted = {"day >= ?": since, "model = ?": model}
        conditions = {text: value for text, value in wanted.items() if value}
        if key is not None:
            conditions["key = ?"] = key
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        question = f"SELECT {_COLUMNS} FROM usage{where} ORDER BY day, key, model"  # noqa: S608 - constants
        with self._database.reading() as connection:
            found = connection.execute(question, tuple(conditions.values())).fetchall()
        return [UsageRow(**dict(zip((*_NAMES, *_SUMS), row, strict=True))) for row in found]

    def totals(self, since: str) -> Mapping[str, tuple[int, int]]:
        """Return requests and tokens of each key, by its id, from a day on.

        Raises:
            StateError: They cannot be read.
        """
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT key, SUM(requests), SUM(prompt_tokens + completion_tokens) FROM usage "
                "WHERE day >= ? GROUP BY key",
                (since,),
            ).fetchall()
        return {key: (requests, tokens) for key, requests, tokens in found}


def day_of(seconds: float) -> str:
    """Return the day (UTC) of a moment in seconds since 1970."""
    return _day(int(seconds // _DAY_SECONDS))


@lru_cache(maxsize=4)
def _day(number: int) -> str:
    """Return a day by its number since 1970."""
    return datetime.fromtimestamp(number * _DAY_SECONDS, UTC).strftime("%Y-%m-%d")


def first_of_month(seconds: float) -> str:
    """Return the first day of the month (UTC) of a moment in seconds since 1970."""
    return f"{day_of(seconds)[:7]}-01"
