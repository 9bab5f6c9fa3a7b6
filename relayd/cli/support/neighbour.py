"""Brings model files from other machines of the hubs that the daemon here has joined, before any download."""

from collections.abc import Callable
from pathlib import Path

from relayd.cli.support.control import daemon_client
from relayd.client.control import Client
from relayd.errors import RelaydError


class HubNeighbour:
    """The other machines of this one's hubs.

    Args:
        client: The daemon here, which has joined them.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def __repr__(self) -> str:
        return f"<HubNeighbour by {self._client!r}>"

    def bring(self, sha256: str, size: int, part: Path, at: Callable[[int], None]) -> str:
        """Have the bytes of a file collect in `part`; return where from, empty where not all could be had."""
        done = 0
        while done < size:
            try:
                done = self._client.bring_file(sha256, size, part)
            except RelaydError:
                return ""
            if done < 0:
                return ""
            at(done)
        return "another machine of the hub"


def neighbour_here() -> HubNeighbour | None:
    """Return the other machines; None where no daemon runs here, or it has joined no hub."""
    client = daemon_client()
    try:
        return HubNeighbour(client) if client.nodes().hubs else None
    except RelaydError:
        return None
