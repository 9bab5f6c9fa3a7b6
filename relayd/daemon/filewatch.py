"""Which replicas that were given up are started again, because their files have come or changed (file watch)?

A disk that is mounted late, or a model that is fetched anew, needs no operator. A file counts once two looks
in a row have found it the same: one that is still being copied would be refused.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping

from relayd.daemon.reload import could_not_start
from relayd.desired.away import FileStamps, stamps_of
from relayd.errors import RelaydError
from relayd.journal import Journal
from relayd.planner import ReplicaSpec
from relayd.supervisor import Replica, State

MISSING: FileStamps = ()
"""The stamps of files one of which cannot be opened."""


class FileWatch:
    """Looks at the files of replicas that are given up, in a thread, and starts those whose files changed.

    Args:
        replicas: Returns every replica.
        start: Starts one by name.
        seconds: Returns the time between two looks.
    """

    def __init__(
        self,
        replicas: Callable[[], Iterable[Replica]],
        start: Callable[[str], Awaitable[object]],
        seconds: Callable[[], float],
    ) -> None:
        self._replicas = replicas
        self._start = start
        self._seconds = seconds
        self._refused: dict[str, FileStamps] = {}
        self._last: Mapping[str, FileStamps] = {}
        self._journal = Journal("daemon")

    def __repr__(self) -> str:
        return f"<FileWatch of {len(self._refused)} replicas>"

    async def run(self) -> None:
        """Look from time to time, until cancelled."""
        while True:
            await asyncio.sleep(self._seconds())
            await self.look()

    async def look(self) -> None:
        """Look once, and start what has other files than it was given up with."""
        given_up = {one.name: one for one in self._replicas() if one.state is State.FATAL}
        specs = {name: one.wanted.spec for name, one in given_up.items()}
        now = await asyncio.to_thread(_stamps, specs) if specs else {}
        before, self._last = self._last, now
        # A file that was missing at the start may be there at the first look.
        new = {name: MISSING if could_not_start(one) else now[name] for name, one in given_up.items()}
        self._refused = {name: self._refused.get(name, stamps) for name, stamps in new.items()}
        for name, stamps in now.items():
            if stamps == MISSING:
                self._refused[name] = MISSING
            elif stamps != self._refused[name] and stamps == before.get(name):
                self._refused[name] = stamps
                await self._try(name)

    async def _try(self, name: str) -> None:
        self._journal.info("replica.files_changed", replica=name)
        try:
            await self._start(name)
        except RelaydError as error:
            self._journal.warning("replica.not_started", replica=name, message=str(error))


def _stamps(specs: Mapping[str, ReplicaSpec]) -> dict[str, FileStamps]:
    known = {spec: stamps_of(spec) for spec in dict.fromkeys(specs.values())}
    return {name: known[spec] for name, spec in specs.items()}
