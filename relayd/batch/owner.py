"""Whose files and batches may the sender of a request see?"""

from typing import NamedTuple, Protocol


class BatchOwner(NamedTuple):
    """Who asks.

    Attributes:
        key: The id of the key; empty without one.
        sees_all: Those of other keys are visible too.
    """

    key: str = ""
    sees_all: bool = False

    def may_see(self, thing: "OwnedByKey") -> bool:
        """Return whether a thing may be seen."""
        return self.sees_all or thing.key == self.key


class OwnedByKey(Protocol):
    """What belongs to a key."""

    @property
    def key(self) -> str:
        """The id of the key."""
        ...


OPERATOR = BatchOwner(sees_all=True)
"""An operator."""
