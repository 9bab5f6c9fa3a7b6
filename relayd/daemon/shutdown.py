"""Whether a daemon is about to end, and what becomes of its replicas then (shutdown)."""

import asyncio

from relayd.errors import DaemonError


class Shutdown:
    """The end of this daemon: asked for by a signal, a command, or a successor that has taken over."""

    def __init__(self) -> None:
        self._requested = asyncio.Event()
        self.keep_replicas = False
        self.handed_over = False

    def __repr__(self) -> str:
        how = (
            "handed over" if self.handed_over else "keeps replicas" if self.keep_replicas else "ends replicas"
        )
        return f"<Shutdown: {how if self.requested else 'not requested'}>"

    @property
    def requested(self) -> bool:
        """Whether the daemon is about to end."""
        return self._requested.is_set()

    def request(self, *, keep_replicas: bool) -> None:
        """End the daemon; replicas that are kept are adopted by the next one."""
        self.keep_replicas = keep_replicas
        self._requested.set()

    def hand_over(self) -> None:
        """End the daemon with its last request: everything else belongs to a successor."""
        self.handed_over = True
        self._requested.set()

    async def wait(self) -> None:
        """Wait until the daemon is to end."""
        await self._requested.wait()

    def check_staying(self) -> None:
        """Refuse what a daemon that is about to end could not carry through.

        Raises:
            DaemonError: It is about to end.
        """
        if self.handed_over:
            raise DaemonError("a new daemon has taken over meanwhile", remedy="Repeat the command.")
        if self.requested:
            raise DaemonError(
                "this daemon is stopping", remedy="Wait until it has ended, then start one: `relayd serve`."
            )
