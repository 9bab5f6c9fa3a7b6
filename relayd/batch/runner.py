"""Which lines of all batches are with replicas now, and what becomes of each (runner)?

Lines are requests of the class `background`: the scheduler gives them the slots that are free otherwise, and
takes them back. The runner keeps a few more of them waiting than there are slots, so that none stays idle,
and that the scheduler can choose among them by what replicas have in their caches.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, NamedTuple

from relayd.batch.book import BatchBook
from relayd.batch.lineup import TakenLine
from relayd.batch.patience import LinePatience
from relayd.batch.results import LineAnswer, answered
from relayd.batch.running import BatchRate, RunningBatch
from relayd.batch.validation import BatchValidation
from relayd.batch.writing import ResultWriter
from relayd.errors import StateError
from relayd.journal import Journal
from relayd.store.batches import BatchFile, BatchState, StoredBatch

MOST_OPEN = 512
"""Lines that are with the scheduler at most."""

_LOOK_SECONDS = 0.5


class LineRoom(NamedTuple):
    """Where lines for a model can be now.

    Attributes:
        slots: Of its replicas that serve.
        replicas: How many these are.
    """

    slots: int = 0
    replicas: int = 0


AskDoor = Callable[[str, bytes, str, str], Awaitable[LineAnswer]]
"""Returns what a door answers to a path and a body, under a request id, with the rights of a key."""


class BatchRunner:
    """Runs batches.

    Args:
        book: Every batch.
        ask: Has a line answered.
        room_of: Returns where lines of a key that name a model can be now.
        validation: Reads new batches.

    Attributes:
        running: The batches at work, by id, the oldest first.
        is_held: Nothing is begun: the daemon ends, or another one takes over.
    """

    def __init__(
        self,
        book: BatchBook,
        ask: AskDoor,
        room_of: Callable[[str, str], LineRoom],
        validation: BatchValidation,
    ) -> None:
        self.running: dict[str, RunningBatch] = {}
        self.is_held = True
        self._book = book
        self._ask = ask
        self._room_of = room_of
        self._validation = validation
        self._wake = asyncio.Event()
        self._writer = ResultWriter(self._settle, self._wake.set)
        self._patience = LinePatience()
        self._tasks: set[asyncio.Task[None]] = set()
        book.on_made = self.follow
        book.size_of = self._size_of

    def __repr__(self) -> str:
        lines = sum(len(one.open) for one in self.running.values())
        return f"<BatchRunner running={len(self.running)} lines={lines} {self._writer!r}>"

    @property
    def why_paused(self) -> str:
        """Why nothing is begun although it could be; empty unless it is paused."""
        return self._writer.why_paused

    def begin(self) -> None:
        """Go on with every batch that is not over."""
        self.is_held = self._writer.is_held = False
        for row in self._book.batches.values():
            self.follow(row)

    async def hold(self) -> None:
        """Leave off: lines that are being answered run again later; results that are here are written."""
        self.is_held = True
        tasks = [*self._tasks, *(task for one in self.running.values() for task in one.open.values())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._writer.hold()
        for batch in self.running.values():
            batch.close()
        self.running.clear()

    def follow(self, row: StoredBatch) -> None:
        """Begin, go on with or end a batch, by its state."""
        if self.is_held or row.state.is_over:
            return
        if (batch := self.running.get(row.id)) is not None:
            batch.row = row
            if row.state is BatchState.CANCELLING:
                self._end_early(batch, BatchState.CANCELLED)
            return
        if not any(task.get_name() == row.id for task in self._tasks):
            self._aside(self._enter(row), row.id)

    def live(self, row: StoredBatch) -> StoredBatch:
        """Return a batch with what has happened since its row was written."""
        batch = self.running.get(row.id)
        return row if batch is None else batch.live()

    def rate(self, row: StoredBatch) -> BatchRate:
        """Return how fast a batch is."""
        batch = self.running.get(row.id)
        return BatchRate() if batch is None else batch.rate()

    async def run(self) -> None:
        """Keep lines with replicas and write their results, without end."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_looking())
            group.create_task(self._writer.run())

    # What becomes of a batch

    async def _enter(self, row: StoredBatch) -> None:
        """Read a batch, for the first time or again, and have its lines run."""
        row = self._book.batches[row.id]
        try:
            if row.state is BatchState.VALIDATING:
                row = await self._validation.of(row)
                await self._persist(row, self._results_of(row))
            if row.state.is_over:
                self._tell_over(row)
                return
            paths = self._book.folder.of(row.id)
            row = self._book.batches[row.id]  # it may have been cancelled meanwhile
            if row.state is BatchState.CANCELLING and not paths.lines.exists():
                row = row.entering(BatchState.CANCELLED, self._now)
                await self._persist(row, ())
                self._tell_over(row)
                return
            batch = await self._writer.on_disk(RunningBatch.read, row, paths)
        except StateError as error:
            Journal("batch").error("batch.unreadable", batch=row.id, message=error.message)
            return
        self.running[row.id] = batch
        batch.sample(self._monotonic)
        counts = batch.live().counts
        Journal("batch").info("batch.begins", batch=row.id, lines=counts.total, done=counts.done)
        if row.state is BatchState.CANCELLING:
            self._end_early(batch, BatchState.CANCELLED)
        self._settle(batch)
        self._wake.set()

    def _end_early(self, batch: RunningBatch, state: BatchState) -> None:
        """Run no more lines of a batch."""
        if batch.ending is None and not batch.is_finishing:
            batch.ending = state
            for task in batch.open.values():
                task.cancel()
            self._settle(batch)

    def _settle(self, batch: RunningBatch) -> None:
        """End a batch of which nothing is left to do."""
        if self.is_held or batch.is_finishing or batch.open or batch.unwritten:
            return
        if batch.ending is not None or batch.is_answered:
            batch.is_finishing = True
            self._aside(self._finish(batch), batch.row.id)

    async def _finish(self, batch: RunningBatch) -> None:
        """Write what is missing in the files of a batch, and its last state."""
        if batch.ending is None:
            await self._persist(batch.live().entering(BatchState.FINALIZING, self._now), ())
        else:
            await self._writer.insist(lambda: self._writer.on_disk(batch.settle_rest))
        row = batch.live().entering(batch.ending or BatchState.COMPLETED, self._now)
        await self._persist(row, self._results_of(row))
        self.running.pop(row.id, None)
        batch.close()
        self._tell_over(row)

    def _tell_over(self, row: StoredBatch) -> None:
        counts = row.counts
        Journal("batch").info(
            "batch.over",
            batch=row.id,
            state=row.state.value,
            completed=counts.completed,
            failed=counts.failed,
            not_run=counts.cancelled + counts.expired,
            faults=len(row.faults),
        )

    def _results_of(self, row: StoredBatch) -> list[BatchFile]:
        """Return the files of a batch's results, as large as they are."""
        files = []
        for name, kind in ((row.output_file, "output"), (row.error_file, "errors")):
            if name and not row.faults:
                known = self._book.files.get(name)
                size = self._size_of(known) if known is not None else 0
                files.append(
                    BatchFile(
                        id=name,
                        key=row.key,
                        name=f"{row.id}_{kind}.jsonl",
                        purpose="batch_output",
                        size=size or 0,
                        created=row.created,
                        batch=row.id,
                    )
                )
        return files

    def _size_of(self, file: BatchFile) -> int | None:
        """Return how many bytes of a result count; None where its batch is not at work."""
        batch = self.running.get(file.batch)
        return None if batch is None else batch.journal.ends[file.id == batch.row.error_file]

    # Lines

    async def _keep_looking(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            if self.is_held:
                continue
            now, wall = self._monotonic, self._now
            for batch in [*self.running.values()]:
                batch.sample(now)
                if batch.row.expires <= wall:
                    self._end_early(batch, BatchState.EXPIRED)
            if not self.why_paused:
                self._feed(now)

    def _feed(self, now: float) -> None:
        """Begin lines, as long as a slot may be free for them soon."""
        open_lines: Counter[str] = Counter()
        by_key: Counter[str] = Counter()
        for batch in self.running.values():
            by_key[batch.row.key] += len(batch.open)
        total = by_key.total()
        for batch in self.running.values():
            for task in batch.open.values():
                open_lines[task.get_name()] += 1
        for batch, model in self._waiting(now, by_key):
            key = batch.row.key
            room = self._room_of(key, model)
            most = 2 * room.slots or 2
            while total < MOST_OPEN and open_lines[model] < most:
                taken = batch.lineups[model].take(room.replicas or 1)
                if taken is None:
                    break
                self._start(batch, model, taken)
                open_lines[model] += 1
                total += 1

    def _waiting(self, now: float, by_key: Counter[str]) -> Iterator[tuple[RunningBatch, str]]:
        """Yield batches and models with lines to begin: those of the key with the fewest open lines first."""
        batches = [one for one in self.running.values() if one.ending is None and not one.is_finishing]
        batches.sort(key=lambda one: by_key[one.row.key])
        for batch in batches:
            for model, lineup in batch.lineups.items():
                if len(lineup) and not self._patience.is_paused(batch.row.key, model, now):
                    yield batch, model

    def _start(self, batch: RunningBatch, model: str, taken: TakenLine) -> None:
        number = batch.index[taken.place].number
        task = asyncio.create_task(self._serve(batch, model, taken), name=model)
        batch.opened(number, task)
        task.add_done_callback(lambda _: self._left(batch, number))

    def _left(self, batch: RunningBatch, number: int) -> None:
        batch.open.pop(number, None)
        self._settle(batch)
        self._wake.set()

    async def _serve(self, batch: RunningBatch, model: str, taken: TakenLine) -> None:
        """Have a line answered."""
        line = batch.index[taken.place]
        try:
            given = await asyncio.to_thread(batch.given, line)
            answer = await self._ask(
                batch.index.urls[line.url], bytes(given.body), batch.request_id(line.number), batch.row.key
            )
        except asyncio.CancelledError:
            batch.put_back(model, taken)
            raise
        if self._patience.goes_again(batch, model, line.number, answer, self._monotonic):
            batch.put_back(model, taken)
            return
        batch.lineups[model].answered(taken)
        self._patience.served(batch.row.key, model)
        batch.tried.pop(line.number, None)
        self._writer.add(batch, answered(batch.row.kind, line.number, given.custom_id, answer))

    async def _persist(self, row: StoredBatch, files: Sequence[BatchFile]) -> None:
        await self._writer.insist(lambda: self._book.change(row, files))
        if (batch := self.running.get(row.id)) is not None:
            batch.row = row

    def _aside(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            Journal("batch").error("batch.failed", message=repr(error))

    @property
    def _now(self) -> float:
        return self._book.clock.wall()

    @property
    def _monotonic(self) -> float:
        return self._book.clock.monotonic()
