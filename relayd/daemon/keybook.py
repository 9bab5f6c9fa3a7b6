"""Which keys open the doors now: that of relay.toml, those of the database, and the one that commands use?

All of them are in memory: a look-up asks no file. A change is written first, and holds from then on.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from relayd.api import FailedKeys, KeyGrant, Keyring, KnownKeys, VisibleModels
from relayd.api.allowance import Allowance
from relayd.api.grants import ALL_BUT_NODE, ANYONE
from relayd.api.sessions import SessionHolder
from relayd.apikey import make_key
from relayd.clock import Clock
from relayd.config.schema import Server
from relayd.daemon.arguments import UsageArguments
from relayd.daemon.database import DatabaseThread
from relayd.daemon.keyreport import UsageReport, usage_report
from relayd.daemon.usage import UsageLedger
from relayd.errors import RequestError
from relayd.journal import Journal
from relayd.rights import (
    CONFIGURED,
    INFERENCE_ONLY,
    LOCAL,
    KeyCopies,
    KeyRights,
    StoredKey,
    UsageRow,
)
from relayd.router import ExchangeRecord
from relayd.scheduler import Exchange
from relayd.scheduler.ask import INTERACTIVE, NORMAL
from relayd.scheduler.limits import Spending
from relayd.secret import Secret
from relayd.store.database import Database
from relayd.store.keys import KeyTable, find_key
from relayd.store.usage import UsageTable, day_of, first_of_month

_LOOK_SECONDS = 30.0
"""How late at most an expired key is noticed after the wall clock was set."""

T = TypeVar("T")

_Totals = Mapping[str, tuple[int, int]]
"""Requests and tokens by key."""

_NOTHING: _Totals = {}


class KeyBook:
    """Every key of a daemon.

    Args:
        path: The database.
        clock: Time.

    Attributes:
        keyring: What the doors ask.
        database: The thread that uses the database.
        usage: What requests have used.
        lent: The key that commands on this machine use.
        on_closed: Called when models need a key from now on, and did not before.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self.keyring = Keyring(FailedKeys(clock))
        self.database = DatabaseThread(path)
        self._clock = clock
        self.on_closed: Callable[[], None] = lambda: None
        self._server = Server()
        self._stored: dict[str, StoredKey] = {}
        self.lent = make_key()
        self._page_key = make_key()
        self._allowances: dict[str, Allowance] = {}
        self.usage = UsageLedger(self.database, clock)
        self._timer: asyncio.TimerHandle | None = None
        self._journal = Journal("keys")

    def __repr__(self) -> str:
        return f"<KeyBook stored={len(self._stored)} {self.keyring!r}>"

    async def open(self, server: Server, lent: Secret | None = None) -> None:
        """Read the keys, before a client is let in.

        Args:
            server: The settings.
            lent: The key that the daemon before this one has lent to commands; None makes another.

        Raises:
            StateError: The database cannot be used: without its keys a closed door would open.
        """
        self.lent = lent or self.lent
        now = self._clock.wall()
        stored, day, month = await self.database.read(
            lambda database: _read(database, now), (list[StoredKey](), _NOTHING, _NOTHING)
        )
        self._stored = {key.id: key for key in stored}
        for key in stored:
            self._allow(key, day, month)
        self._server = server
        self.keyring.known = self._known()
        self._schedule()

    async def close(self) -> None:
        """Close the database."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self.give_up()

    async def give_up(self) -> None:
        """Write what is new and close the database: another daemon may be about to take over."""
        await self.usage.flush()
        await self.database.close()

    def take_back(self) -> None:
        """Go on: no other daemon has taken over."""
        self.database.take_back()

    def configure(self, server: Server) -> None:
        """Follow other settings: the key of relay.toml, and who needs one."""
        self._server = server
        self._follow()

    def lend(self) -> Secret:
        """Return a key for a command on this machine; empty where none is needed."""
        if self._server.api_key:
            return self._server.api_key
        return Secret("") if self.is_open else self.lent

    def lend_to_page(self) -> Secret:
        """Return a key for models, for the page of the dashboard; empty where none is needed."""
        return Secret("") if self.is_open else self._page_key

    def holder(self, key: str) -> SessionHolder | None:
        """Return whose a session with a key of an id is; None where that is not valid any more."""
        digest = self._stored[key].digest if key in self._stored else self._server.api_key.digest()
        if key == LOCAL:
            return SessionHolder(_grant(LOCAL, LOCAL, _ALL), b"")
        grant = self.keyring.known.grants.get(digest)
        is_admin = grant is not None and grant.id == key and "admin" in grant.rights.scopes
        return SessionHolder(grant, digest) if grant is not None and is_admin else None

    def grant_of(self, key: str) -> KeyGrant | None:
        """Return what the key of an id may do now; None where it is not valid any more."""
        if not key:
            return ANYONE
        grants = (one for one in self.keyring.known.grants.values() if one.id == key)
        return next((one for one in grants if "inference" in one.rights.scopes), None)

    @property
    def is_open(self) -> bool:
        """Whether clients without a key may use models."""
        return self.keyring.known.is_open

    @property
    def now(self) -> float:
        """The time of day, in seconds since 1970."""
        return self._clock.wall()

    def every(self) -> list[StoredKey]:
        """Return the keys of the database, revoked ones too, in the order in which they were made."""
        return sorted(self._stored.values(), key=lambda key: key.created)

    def find(self, named: str) -> StoredKey:
        """Return the key of a name or id.

        Raises:
            KeyUnknownError: There is none.
        """
        return find_key(self._stored.values(), named)

    def name_of(self, key: str) -> str:
        """Return what people call the key of an id; an id that is not known stays as it is."""
        found = self._stored.get(key)
        return found.name if found else key

    async def create(
        self, name: str, rights: KeyRights, secret: Secret | None = None
    ) -> tuple[StoredKey, Secret]:
        """Add a key, which is valid at once; `secret` is one from elsewhere.

        Raises:
            UsageError: The name is taken or malformed, a right is unknown, or the secret is weak or in use.
            StateError: It cannot be written.
        """
        key, made = await self._change(lambda table, now: table.create(name, rights, now, secret))
        self._allow(key, _NOTHING, _NOTHING)
        self._enter(key)
        scopes = " ".join(rights.scopes)
        if secret is None:
            self._journal.info("key.created", key=key.id, name=key.name, scopes=scopes)
        else:
            self._journal.info("key.imported", key=key.id, name=key.name, scopes=scopes)
        return key, made

    async def rotate(self, named: str) -> tuple[StoredKey, Secret]:
        """Replace the secret of a key; the old one is refused from the next request on.

        Raises:
            KeyUnknownError: There is no such key, or it is revoked.
            StateError: It cannot be written.
        """
        key, secret = await self._change(lambda table, now: table.rotate(named, now))
        self._enter(key)
        self._journal.info("key.rotated", key=key.id, name=key.name)
        return key, secret

    async def change(self, named: str, rights: KeyRights) -> StoredKey:
        """Give a key other rights, from the next request on.

        Raises:
            KeyUnknownError: There is no such key, or it is revoked.
            UsageError: A right is unknown.
            StateError: It cannot be written.
        """
        await self.usage.flush()
        now = self._clock.wall()

        def write(database: Database) -> tuple[StoredKey, _Totals, _Totals]:
            return (KeyTable(database).change(named, rights), *_totals(database, now))

        key, day, month = await self.database.run(write)
        self._allow(key, day, month)
        self._enter(key)
        self._journal.info("key.changed", key=key.id, name=key.name)
        return key

    async def revoke(self, named: str) -> StoredKey:
        """Take a key back: its next request is refused, answers that have begun are finished.

        Raises:
            KeyUnknownError: There is no such key.
            StateError: It cannot be written.
        """
        key = await self._change(lambda table, now: table.revoke(named, now))
        self._enter(key)
        self._journal.info("key.revoked", key=key.id, name=key.name)
        return key

    async def take(self, copies: KeyCopies) -> list[StoredKey]:
        """Hold the keys of another hub, from now on; return those that have changed. Raises as `create`."""
        changed = await self._change(lambda table, _: table.take(copies))
        for key in changed:
            self._allow(key, _NOTHING, _NOTHING)
            self._enter(key)
        return changed

    async def used(self, arguments: UsageArguments) -> UsageReport:
        """Return what keys used, up to now.

        Raises:
            KeyUnknownError: There is no such key.
            StateError: The database cannot be read.
        """
        key = arguments.key
        if key is not None and key not in ("", CONFIGURED, LOCAL):
            key = self.find(key).id
        asked = replace(arguments, key=key)
        await self.usage.flush()
        written = await self.database.read(
            lambda database: UsageTable(database).rows(since=asked.since, key=key, model=asked.model),
            list[UsageRow](),
        )
        return usage_report((*written, *self.usage.pending()), self._stored.values(), asked)

    def retains(self, key: str) -> bool:
        """Return whether anything may be kept of requests with the key of an id, after their answer."""
        found = self._stored.get(key)
        return found is None or found.rights.retain

    def retains_all(self) -> bool:
        """Return whether there is no key whose requests nothing may be kept of."""
        return all(key.rights.retain for key in self._stored.values())

    def spent(self, key: str) -> dict[str, int]:
        """Return how much of each quota of a key is used, by the quota as people write it."""
        allowance = self._allowances.get(key)
        return allowance.spent if allowance else {}

    def last_used(self, key: StoredKey) -> float | None:
        """Return when a key was last used, in seconds since 1970."""
        return self.usage.last_used(key.id) or key.last_used

    def waiting(self) -> list[tuple[ExchangeRecord, int]]:
        """Return the requests that wait for their turn among those of their key, each with its place."""
        lines = (allowance.waiting() for allowance in self._allowances.values())
        return [(record, place) for line in lines for place, record in enumerate(line, 1)]

    def interrupt(self, error: RequestError, request_id: str | None = None) -> int:
        """End the requests that wait for their turn with `error`, or only those of an id; return how many."""
        return sum(one.interrupt(error, request_id) for one in self._allowances.values())

    def count(self, exchange: Exchange) -> None:
        """Count a request that the daemon before this one has served."""
        self.usage.note(exchange)
        allowance, usage = self._allowances.get(exchange.ask.key), exchange.usage
        if allowance is not None and exchange.replica:
            allowance.add(usage.prompt_tokens + usage.completion_tokens if usage else 0)

    def _allow(self, key: StoredKey, day: _Totals, month: _Totals) -> None:
        """Have a key use what it may: what is known of it already stays used."""
        nothing = (0, 0)
        used = Spending(self._clock.wall(), day.get(key.id, nothing), month.get(key.id, nothing))
        if (known := self._allowances.get(key.id)) is not None:
            known.configure(key.rights, used)
        elif key.rights.is_limited:
            self._allowances[key.id] = Allowance(key.rights, used, self._clock)

    async def _change(self, work: Callable[[KeyTable, float], T]) -> T:
        now = self._clock.wall()
        return await self.database.run(lambda database: work(KeyTable(database), now))

    def _enter(self, key: StoredKey) -> None:
        self._stored[key.id] = key
        self._follow()

    def _follow(self) -> None:
        """Have the doors ask for the keys that are valid now."""
        was_open = self.is_open
        self.keyring.known = self._known()
        self._schedule()
        if was_open and not self.is_open:
            self._journal.warning("door.closed", message="requests for models need a key from now on")
            self.on_closed()
        elif self.is_open and not was_open:
            self._journal.warning("door.opened", message="requests for models need no key any more")

    def _known(self) -> KnownKeys:
        now, before = self._clock.wall(), self.keyring.known.grants
        live = [key for key in self._stored.values() if key.revoked is None]
        grants = {
            self.lent.digest(): _grant(LOCAL, LOCAL, _ALL),
            self._page_key.digest(): _grant(LOCAL, LOCAL, INFERENCE_ONLY),
        }
        for key in live:
            if not key.is_expired(now):
                grants[key.digest] = _grant(key.id, key.name, key.rights, self._allowances.get(key.id))
        if api_key := self._server.api_key:
            grants[api_key.digest()] = _grant(CONFIGURED, CONFIGURED, _ALL)
        return KnownKeys(
            {digest: _kept(before.get(digest), grant) for digest, grant in grants.items()},
            is_open=not api_key and self._server.require_key == "auto" and not _any_for(live, "inference"),
            is_unused=not api_key and not any(key.rights.scopes != ("node",) for key in live),
            has_admin=bool(api_key) or _any_for(live, "admin"),
        )

    def _schedule(self) -> None:
        """Look again when the next key expires."""
        if self._timer is not None:
            self._timer.cancel()
        now = self._clock.wall()
        moments = [
            key.rights.expires
            for key in self._stored.values()
            if key.revoked is None and key.rights.expires is not None and key.rights.expires > now
        ]
        if moments:
            seconds = min(max(min(moments) - now, 0.0), _LOOK_SECONDS)
            self._timer = asyncio.get_running_loop().call_later(seconds, self._follow)


_ALL = KeyRights(scopes=tuple(sorted(ALL_BUT_NODE)))


def _totals(database: Database, now: float) -> tuple[_Totals, _Totals]:
    """Return what each key has used today and in this month."""
    table = UsageTable(database)
    return table.totals(day_of(now)), table.totals(first_of_month(now))


def _read(database: Database, now: float) -> tuple[list[StoredKey], _Totals, _Totals]:
    return (KeyTable(database).every(), *_totals(database, now))


def _any_for(keys: Iterable[StoredKey], scope: str) -> bool:
    return any(scope in key.rights.scopes for key in keys)


def _grant(key: str, name: str, rights: KeyRights, allowance: Allowance | None = None) -> KeyGrant:
    return KeyGrant(
        key,
        name,
        rights,
        VisibleModels(rights.models),
        rights.klass or NORMAL,
        rights.klass or INTERACTIVE,
        allowance if rights.is_limited else None,
    )


def _kept(before: KeyGrant | None, now: KeyGrant) -> KeyGrant:
    """Return the grant that a key has already, if nothing has changed: heads that are known stay so."""
    same = before is not None and (before.id, before.name, before.rights) == (now.id, now.name, now.rights)
    return before if before is not None and same else now
