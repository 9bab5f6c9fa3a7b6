"""Which keys open the doors now: that of relay.toml, those of the database, and the one that commands use?

All of them are in memory: a look-up asks no file. A change is written first, and holds from then on.
"""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from relayd.api import FailedKeys, KeyGrant, Keyring, KnownKeys, VisibleModels
from relayd.api.grants import ALL_BUT_NODE
from relayd.apikey import make_key
from relayd.clock import Clock
from relayd.config.schema import Server
from relayd.daemon.database import DatabaseThread
from relayd.journal import Journal
from relayd.rights import CONFIGURED, LOCAL, KeyRights, StoredKey
from relayd.scheduler.ask import INTERACTIVE, NORMAL
from relayd.secret import Secret
from relayd.store.keys import KeyTable, find_key

_LOOK_SECONDS = 30.0
"""How late at most an expired key is noticed after the wall clock was set."""

T = TypeVar("T")


class KeyBook:
    """Every key of a daemon.

    Args:
        path: The database.
        clock: Time.
        on_closed: Called when models need a key from now on, and did not before.

    Attributes:
        keyring: What the doors ask.
        database: The thread that uses the database.
    """

    def __init__(self, path: Path, clock: Clock, on_closed: Callable[[], None] = lambda: None) -> None:
        self.keyring = Keyring(FailedKeys(clock))
        self.database = DatabaseThread(path)
        self._clock = clock
        self._on_closed = on_closed
        self._server = Server()
        self._stored: dict[str, StoredKey] = {}
        self._lent = make_key()
        self._timer: asyncio.TimerHandle | None = None
        self._journal = Journal("keys")

    def __repr__(self) -> str:
        return f"<KeyBook stored={len(self._stored)} {self.keyring!r}>"

    async def open(self, server: Server) -> None:
        """Read the keys, before a client is let in.

        Raises:
            StateError: The database cannot be used: without its keys a closed door would open.
        """
        stored = await self.database.read(lambda database: KeyTable(database).every(), list[StoredKey]())
        self._stored = {key.id: key for key in stored}
        self._server = server
        self.keyring.known = self._known()
        self._schedule()

    async def close(self) -> None:
        """Close the database."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self.database.close()

    def configure(self, server: Server) -> None:
        """Follow other settings: the key of relay.toml, and who needs one."""
        self._server = server
        self._follow()

    def lend(self) -> Secret:
        """Return a key for a command on this machine; empty where none is needed."""
        if self._server.api_key:
            return self._server.api_key
        return Secret("") if self.is_open else self._lent

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
        key = await self._change(lambda table, _: table.change(named, rights))
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
            self._on_closed()
        elif self.is_open and not was_open:
            self._journal.warning("door.opened", message="requests for models need no key any more")

    def _known(self) -> KnownKeys:
        now, before = self._clock.wall(), self.keyring.known.grants
        live = [key for key in self._stored.values() if key.revoked is None]
        grants = {self._lent.digest(): _grant(LOCAL, LOCAL, _ALL)}
        for key in live:
            if not key.is_expired(now):
                grants[key.digest] = _grant(key.id, key.name, key.rights)
        api_key = self._server.api_key
        if api_key:
            grants[api_key.digest()] = _grant(CONFIGURED, CONFIGURED, _ALL)
        return KnownKeys(
            {digest: _kept(before.get(digest), grant) for digest, grant in grants.items()},
            is_open=not api_key and self._server.require_key == "auto" and not _any_for(live, "inference"),
            is_unused=not api_key and not live,
            has_admin=bool(api_key) or _any_for(live, "admin"),
        )

    def _schedule(self) -> None:
        """Look again when the next key expires."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
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


def _any_for(keys: Iterable[StoredKey], scope: str) -> bool:
    return any(scope in key.rights.scopes for key in keys)


def _grant(key: str, name: str, rights: KeyRights) -> KeyGrant:
    return KeyGrant(
        key,
        name,
        rights,
        VisibleModels(rights.models),
        rights.klass or NORMAL,
        rights.klass or INTERACTIVE,
    )


def _kept(before: KeyGrant | None, now: KeyGrant) -> KeyGrant:
    """Return the grant that a key has already, if nothing has changed: heads that are known stay so."""
    same = before is not None and (before.id, before.name, before.rights) == (now.id, now.name, now.rights)
    return before if before is not None and same else now
