"""Which key used how much of which model: added up in memory, written every few seconds (usage).

A request costs one append to a list. A daemon that is killed loses what it has not written: five seconds.
"""

import asyncio

from relayd.clock import Clock
from relayd.daemon.database import DatabaseThread
from relayd.errors import StateError
from relayd.journal import Journal
from relayd.names import ReplicaName
from relayd.rights import UsageRow
from relayd.scheduler import Exchange
from relayd.store.database import Database
from relayd.store.keys import KeyTable
from relayd.store.usage import UsageTable, day_of

FLUSH_SECONDS = 5.0

_MOST_NOTED = 256
"""Requests that are kept one by one before they are added up."""

_WARN_SECONDS = 60.0

_Place = tuple[str, str, str]


class UsageLedger:
    """Adds up what requests used, by day, key and model.

    Args:
        database: Where it is kept.
        clock: Time.
    """

    def __init__(self, database: DatabaseThread, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._noted: list[Exchange] = []
        self._rows: dict[_Place, UsageRow] = {}
        self._used_at: dict[str, float] = {}
        self._new: set[str] = set()
        self._quiet_until = 0.0
        self._has_left_off = False
        self._journal = Journal("usage")

    def __repr__(self) -> str:
        return f"<UsageLedger noted={len(self._noted)} rows={len(self._rows)}>"

    def note(self, exchange: Exchange) -> None:
        """Count a request that is over."""
        if self._has_left_off:
            return
        self._noted.append(exchange)
        if len(self._noted) >= _MOST_NOTED:
            self._add_up()

    def take(self, rows: tuple[UsageRow, ...]) -> None:
        """Add what another daemon has counted and not written."""
        for row in rows:
            self._add(row)

    def pending(self) -> tuple[UsageRow, ...]:
        """Return what is not written."""
        self._add_up()
        return tuple(self._rows.values())

    @property
    def noted(self) -> tuple[Exchange, ...]:
        """The requests that are not added up yet."""
        return tuple(self._noted)

    def leave_off(self) -> None:
        """Count nothing more, and write nothing: another daemon does."""
        self._has_left_off = True
        self._noted.clear()
        self._rows.clear()
        self._new.clear()

    async def run(self) -> None:
        """Write what is new every few seconds, without end."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            if self._noted or self._rows:
                await self.flush()

    async def flush(self) -> None:
        """Write what is not written yet; what cannot be written stays for the next time."""
        self._add_up()
        rows, self._rows = self._rows, {}
        new, self._new = self._new, set()
        if not rows:
            return
        used_at = {key: self._used_at[key] for key in new}

        def write(database: Database) -> None:
            UsageTable(database).add(rows.values())
            if used_at:
                KeyTable(database).note_used(used_at.items())

        try:
            await self._database.run(write)
        except StateError as error:
            self.take(tuple(rows.values()))
            self._new |= new
            self._warn(error)

    def last_used(self, key: str) -> float | None:
        """Return when a key was last used with a request for a model, since this daemon began."""
        self._add_up()
        return self._used_at.get(key)

    def _add_up(self) -> None:
        noted, self._noted = self._noted, []
        if not noted:
            return
        offset = self._clock.wall() - self._clock.monotonic()
        for exchange in noted:
            if exchange.replica:
                self._add(usage_row(exchange, offset))
            if key := exchange.ask.key:
                self._used_at[key] = exchange.ended_at + offset
                self._new.add(key)

    def _add(self, row: UsageRow) -> None:
        place = (row.day, row.key, row.model)
        known = self._rows.get(place)
        self._rows[place] = row if known is None else known.plus(row)

    def _warn(self, error: StateError) -> None:
        now = self._clock.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + _WARN_SECONDS
            self._journal.warning("usage.not_written", message=error.message)


def usage_row(exchange: Exchange, offset: float) -> UsageRow:
    """Return what a request that reached a replica used.

    Args:
        exchange: What happened.
        offset: Seconds since 1970 when monotonic time was 0.
    """
    ask, usage, began = exchange.ask, exchange.usage, exchange.placed_at
    return UsageRow(
        day=day_of(exchange.ended_at + offset),
        key=ask.key,
        model=ask.model or ReplicaName.parse(exchange.replica).model,
        requests=1,
        prompt_tokens=usage.prompt_tokens if usage else 0,
        cached_tokens=usage.cached_tokens if usage else 0,
        completion_tokens=usage.completion_tokens if usage else 0,
        seconds=max(0.0, exchange.ended_at - began) if began is not None else 0.0,
    )
