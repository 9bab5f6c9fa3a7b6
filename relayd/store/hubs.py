"""Which hubs is this machine a node of, and by which token does each know it (a file of the state folder)?"""

from pathlib import Path

import msgspec

from relayd.secret import Secret
from relayd.store.kept import SCHEMA, KeptFile

FILE = "hubs.json"


class JoinedHub(msgspec.Struct, frozen=True, omit_defaults=True):
    """One hub.

    Attributes:
        url: `wss://HOST[:PORT]`, or `ws://`.
        token: The secret that the hub gave this node, or that its operator typed.
        node: What the hub calls this machine, as far as that is known.
        provider: What the operator calls the owner or place of this machine.
    """

    url: str
    token: str
    node: str = ""
    provider: str = ""

    def __repr__(self) -> str:
        return f"JoinedHub({self.url!r}, node={self.node!r})"

    @property
    def secret(self) -> Secret:
        """The token."""
        return Secret(self.token)


class _HubsFile(msgspec.Struct, frozen=True, kw_only=True):
    hubs: tuple[JoinedHub, ...]
    schema: int = SCHEMA


class JoinedHubs:
    """The hubs of this machine, in a file that only its user can read (0600).

    Args:
        state: The state folder.
    """

    def __init__(self, state: Path) -> None:
        self._file = KeptFile(state / FILE, _HubsFile)

    def __repr__(self) -> str:
        return f"<JoinedHubs in {self._file!r}>"

    def read(self) -> tuple[JoinedHub, ...]:
        """Return them, in the order in which they were joined. Blocks."""
        document = self._file.read()
        return document.hubs if document else ()

    def add(self, hub: JoinedHub) -> None:
        """Add a hub, in place of one at the same address. Blocks.

        Raises:
            StateError: It cannot be written.
        """
        others = (one for one in self.read() if one.url != hub.url)
        self._file.write(_HubsFile(hubs=(*others, hub)))

    def remove(self, url: str) -> bool:
        """Remove a hub, and return whether there was one. Blocks.

        Raises:
            StateError: It cannot be written.
        """
        before = self.read()
        left = tuple(one for one in before if one.url != url)
        if len(left) < len(before):
            self._file.write(_HubsFile(hubs=left))
        return len(left) < len(before)


def is_node(state: Path) -> bool:
    """Return whether this machine has joined a hub. Blocks."""
    return bool(JoinedHubs(state).read())
