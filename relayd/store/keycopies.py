"""How does a hub hold copies of another hub's keys, by hash, and which of two states of one counts?

A key belongs to the hub that made it, which numbers every change (`sequence`). Elsewhere it is `ID@HUB`: what
has a higher number replaces what is there, and what was revoked, here or there, is never valid again. Limits
and quotas come with the first copy; from then on they are those of the hub that holds it, and counted there.
"""

from collections.abc import Collection, Iterable

from msgspec.structs import replace

from relayd.rights import KeyCopies, StoredKey

MARK = "@"
"""Is in the id of a copy, and in no other."""


def is_copy(key: StoredKey) -> bool:
    """Return whether a key belongs to another hub."""
    return MARK in key.id


def copies_of(hub: str, keys: Iterable[StoredKey]) -> KeyCopies:
    """Return what other hubs may hold of some keys: no token of a node, and no copy of a third hub's."""
    return KeyCopies(
        hub,
        tuple(
            replace(key, last_used=None)
            for key in keys
            if not is_copy(key) and "node" not in key.rights.scopes
        ),
    )


def merged(known: StoredKey | None, copy: StoredKey, hub: str) -> StoredKey:
    """Return how a key of another hub is held from now on.

    Args:
        known: As it is held; None where it is not.
        copy: As that hub has it.
        hub: What that is called.
    """
    there = replace(copy, id=f"{copy.id}{MARK}{hub}", name=f"{copy.name}{MARK}{hub}", last_used=None)
    if known is None:
        return there
    if copy.sequence <= known.sequence:
        return (
            known
            if copy.revoked is None or known.revoked is not None
            else replace(known, revoked=copy.revoked)
        )
    rights = replace(there.rights, limits=known.rights.limits, quotas=known.rights.quotas)
    revoked = known.revoked if known.revoked is not None else there.revoked
    return replace(there, rights=rights, revoked=revoked, last_used=known.last_used)


def key_here(key: str, hub: str, own: Collection[str]) -> str:
    """Return the id that a key has here.

    Args:
        key: Its id at another hub; empty for requests without a key.
        hub: What that is called.
        own: The ids of the keys here.
    """
    base, mark, _ = key.partition(MARK)
    if mark:
        return base if base in own else key
    return f"{key}{MARK}{hub}" if key else ""
