"""Which responses can a client still name, and for how long (`store`, `previous_response_id`)?

In memory, and forgotten by a daemon that is stopped or replaced, unless `server.kept_responses` has them on
disk too. Only the key that made a response finds it.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from relayd.clock import Clock
from relayd.units import KIB

MOST_KEPT = 1000
"""Responses that are kept."""

MOST_KEPT_BYTES = 64 * 1024 * KIB
"""Of all of them together, each with the whole conversation before it."""

KEPT_SECONDS = 3600.0
"""How long one is kept: a conversation goes on within minutes."""

_LARGEST_SHARE = 4
"""One that takes more than this part of all is not kept."""


@dataclass(frozen=True, slots=True)
class KeptResponse:
    """A response, and the conversation that it ends.

    Attributes:
        id: Its id.
        key: Who made it.
        response: The object, encoded.
        items: The items of the conversation, its own output included, encoded.
        at: When, in monotonic seconds.
    """

    id: str
    key: str
    response: bytes
    items: bytes
    at: float

    @property
    def size(self) -> int:
        """Bytes it takes."""
        return len(self.response) + len(self.items)

    def conversation(self) -> list[Any]:
        """Return the items of the conversation."""
        return msgspec.json.decode(self.items, type=list[Any])

    def item(self, name: str) -> dict[str, Any] | None:
        """Return an item of the conversation by its id."""
        items = (one for one in self.conversation() if isinstance(one, dict))
        return next((one for one in items if one.get("id") == name), None)


class SavedResponse(msgspec.Struct, frozen=True):
    """A response as another daemon reads it; `at` is when it was made, in seconds since 1970."""

    id: str
    key: str
    response: msgspec.Raw
    items: msgspec.Raw
    at: float


class KeptResponses:
    """The last responses, within bounds of number, size and time.

    Args:
        clock: Time.

    Attributes:
        changes: How often something was added or removed.
    """

    def __init__(self, clock: Clock) -> None:
        self.changes = 0
        self._clock = clock
        self._kept: OrderedDict[str, KeptResponse] = OrderedDict()
        self._size = 0

    def __repr__(self) -> str:
        return f"<KeptResponses {len(self._kept)} of {MOST_KEPT}, {self._size} bytes>"

    def keep(self, key: str, response: dict[str, Any], items: list[Any]) -> None:
        """Keep a response that is over.

        Args:
            key: Who made it.
            response: The object.
            items: The conversation before it.
        """
        whole = [*items, *response["output"]]
        encoded = msgspec.json.encode(response)
        self._add(
            KeptResponse(response["id"], key, encoded, msgspec.json.encode(whole), self._clock.monotonic())
        )

    def saved(self, wall: float) -> tuple[SavedResponse, ...]:
        """Return all that are kept, the oldest first (`wall` is now, in seconds since 1970)."""
        offset = wall - self._clock.monotonic()
        return tuple(
            SavedResponse(one.id, one.key, msgspec.Raw(one.response), msgspec.Raw(one.items), one.at + offset)
            for one in self._kept.values()
            if not self._is_over(one.id)
        )

    def recall(self, saved: Iterable[SavedResponse], wall: float) -> None:
        """Take up what another daemon has kept, within the same bounds."""
        offset = wall - self._clock.monotonic()
        for one in saved:
            at = min(one.at - offset, self._clock.monotonic())
            self._add(KeptResponse(one.id, one.key, bytes(one.response), bytes(one.items), at))

    def _add(self, kept: KeptResponse) -> None:
        if kept.size > MOST_KEPT_BYTES // _LARGEST_SHARE:
            return
        self.changes += 1
        self._kept[kept.id] = kept
        self._size += kept.size
        while self._kept and self._is_too_much():
            self._drop(next(iter(self._kept)))

    def find(self, key: str, name: str) -> KeptResponse | None:
        """Return a response that a key made; None when there is none, or no longer."""
        kept = self._kept.get(name)
        return kept if kept is not None and kept.key == key and not self._is_over(name) else None

    def find_item(self, key: str, name: str) -> dict[str, Any] | None:
        """Return an item of any conversation of a key: an item's id holds that of its response."""
        digits = name.rpartition("_")[2][:-2]
        kept = self.find(key, f"resp_{digits}")
        return kept.item(name) if kept is not None else None

    def remove(self, key: str, name: str) -> bool:
        """Forget a response; return whether it was there."""
        found = self.find(key, name) is not None
        if found:
            self._drop(name)
        return found

    def _is_too_much(self) -> bool:
        """Return whether the oldest has to go."""
        is_full = len(self._kept) > MOST_KEPT or self._size > MOST_KEPT_BYTES
        return is_full or self._is_over(next(iter(self._kept)))

    def _is_over(self, name: str) -> bool:
        return self._clock.monotonic() - self._kept[name].at > KEPT_SECONDS

    def _drop(self, name: str) -> None:
        self.changes += 1
        self._size -= self._kept.pop(name).size
