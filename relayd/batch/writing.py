"""How do results get to disk, also one that is full for a while?

Results are gathered for a moment and written together, as each write waits for the disk. While nothing can be
written no line is begun, results stay in memory, and the write is tried again every few seconds.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from relayd.batch.journal import LineResult
from relayd.batch.running import RunningBatch
from relayd.errors import StateError, StorageFullError
from relayd.journal import Journal

P = ParamSpec("P")
T = TypeVar("T")

COMMIT_SECONDS = 0.05
FULL_SECONDS = 5.0
"""How often a full disk is tried again."""


class ResultWriter:
    """Writes the results of all batches.

    Args:
        on_written: Called with each batch of which results are on disk.
        on_resumed: Called when writing is possible again.

    Attributes:
        why_paused: Why nothing can be written; empty while it can.
        is_held: Nothing may be written: the daemon ends, or another one takes over.
    """

    def __init__(self, on_written: Callable[[RunningBatch], None], on_resumed: Callable[[], None]) -> None:
        self.why_paused = ""
        self.is_held = False
        self._on_written = on_written
        self._on_resumed = on_resumed
        self._disk = ThreadPoolExecutor(1, "batches")
        self._results: list[tuple[RunningBatch, LineResult]] = []
        self._turn = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<ResultWriter {len(self._results)} unwritten {self.why_paused}>"

    def add(self, batch: RunningBatch, result: LineResult) -> None:
        """Have a result written soon."""
        batch.unwritten += 1
        self._results.append((batch, result))

    async def run(self) -> None:
        """Write results, without end."""
        while True:
            await asyncio.sleep(COMMIT_SECONDS)
            if self._results and not self.is_held:
                await self.insist(self.commit)

    async def commit(self) -> None:
        """Write the results that are here; those that cannot be written stay.

        Raises:
            StorageFullError: The disk is full.
            StateError: A file cannot be written.
        """
        async with self._turn:
            found, self._results = self._results, []
            by_batch: dict[str, tuple[RunningBatch, list[LineResult]]] = {}
            for batch, result in found:
                by_batch.setdefault(batch.row.id, (batch, []))[1].append(result)
            while by_batch:
                name, (batch, results) = next(iter(by_batch.items()))
                try:
                    await self.on_disk(batch.journal.append, results)
                except (StorageFullError, StateError):
                    left = [(one, each) for one, every in by_batch.values() for each in every]
                    self._results = left + self._results
                    raise
                del by_batch[name]
                batch.unwritten -= len(results)
                self._on_written(batch)

    async def insist(self, write: Callable[[], Awaitable[None]]) -> None:
        """Write, as often as it takes."""
        while not self.is_held:
            try:
                await write()
            except (StorageFullError, StateError) as error:
                if not self.why_paused:
                    Journal("batch").error("batch.paused", message=str(error).replace("\n", " "))
                self.why_paused = error.message
                await asyncio.sleep(FULL_SECONDS)
            else:
                break
        if self.why_paused and not self.is_held:
            self.why_paused = ""
            Journal("batch").info("batch.resumed")
            self._on_resumed()

    async def hold(self) -> None:
        """Write what is here, if that is possible, and nothing from then on."""
        self.is_held = True
        try:
            await self.commit()
        except (StorageFullError, StateError) as error:
            Journal("batch").error("batch.paused", message=str(error).replace("\n", " "))
        self._results.clear()
        await self.on_disk(lambda: None)  # what was begun has ended then

    def on_disk(self, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> "asyncio.Future[T]":
        """Return what work in the thread of the writer gives."""
        return asyncio.get_running_loop().run_in_executor(self._disk, lambda: work(*args, **named))
