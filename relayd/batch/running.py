"""What is known of a batch while its lines are run?"""

import asyncio
import os
from collections import deque

import msgspec

from relayd.batch.journal import LineJournal, LineOutcome, LineResult
from relayd.batch.lines import BatchLine, LineIndex
from relayd.batch.lineup import Lineup, TakenLine
from relayd.batch.place import BatchPaths
from relayd.batch.reading import GivenLine
from relayd.batch.results import not_run
from relayd.store.batches import BatchState, StoredBatch

_RATE_SECONDS = 120.0
_line = msgspec.json.Decoder(GivenLine)

_AT_ONCE = 500
"""Results of lines that were not run are written so many at a time."""


class BatchRate(msgspec.Struct, frozen=True):
    """How fast a batch is, over the last two minutes.

    Attributes:
        lines: Lines a second.
        tokens: Tokens of prompts and answers a second.
        seconds_left: Until its last line is answered; None while that is not known.
    """

    lines: float = 0.0
    tokens: float = 0.0
    seconds_left: float | None = None


class Tried(msgspec.Struct):
    """How often a line was refused for a reason that may pass, and since when (monotonic seconds)."""

    times: int
    since: float


class RunningBatch:
    """A batch at work.

    Args:
        row: As the database has it.
        paths: Its files.
        index: Its lines.
        journal: Of those that are done.

    Attributes:
        row: As the database has it.
        lineups: Model, as the lines name it -> what is still to be answered.
        open: The tasks of the lines that are being answered, by their numbers.
        unwritten: How many results are not on disk yet.
        tried: Line -> how often it was refused so far.
        ending: It ends before all of its lines were answered, in this state; None unless it does.
        is_finishing: Its last results are being written.
    """

    def __init__(self, row: StoredBatch, paths: BatchPaths, index: LineIndex, journal: LineJournal) -> None:
        self.row = row
        self.index = index
        self.journal = journal
        self.open: dict[int, asyncio.Task[None]] = {}
        self.unwritten = 0
        self.tried: dict[int, Tried] = {}
        self.ending: BatchState | None = None
        self.is_finishing = False
        self._input = os.open(paths.input, os.O_RDONLY | os.O_CLOEXEC)
        self._samples: deque[tuple[float, int, int]] = deque()
        self.lineups = {name: Lineup(places) for name, places in self._pending().items()}

    def __repr__(self) -> str:
        return f"<RunningBatch {self.row.id} open={len(self.open)} of {len(self.index)}>"

    @classmethod
    def read(cls, row: StoredBatch, paths: BatchPaths) -> "RunningBatch":
        """Return a batch as its files have it. Blocks.

        Raises:
            StateError: They cannot be read.
        """
        index = LineIndex.read(paths.lines)
        return cls(row, paths, index, LineJournal.open(row.id, paths, index.last))

    def close(self) -> None:
        """Read nothing more."""
        os.close(self._input)

    def request_id(self, number: int) -> str:
        """Return the id of the request of a line."""
        return f"batch_req_{self.row.id.rpartition('_')[2][:20]}{number:08x}"

    def given(self, line: BatchLine) -> GivenLine:
        """Return a line as its owner wrote it. Blocks."""
        return _line.decode(os.pread(self._input, line.size, line.start))

    def live(self) -> StoredBatch:
        """Return the row with what has happened since."""
        counts = self.journal.counts(len(self.index))
        return msgspec.structs.replace(self.row, counts=counts, usage=self.journal.usage)

    @property
    def is_answered(self) -> bool:
        """Whether every line has its result on disk."""
        return self.journal.counts(0).done >= len(self.index)

    def opened(self, number: int, task: asyncio.Task[None]) -> None:
        """Take note of the task that has a line answered."""
        self.open[number] = task

    def put_back(self, model: str, taken: TakenLine) -> None:
        """Have a line run again."""
        self.lineups[model].put_back(taken)

    def settle_rest(self) -> None:
        """Write the results of all lines that were not run. Blocks.

        Raises:
            StorageFullError: The disk is full; a second call goes on.
            StateError: A file cannot be written.
        """
        outcome = LineOutcome.EXPIRED if self.ending is BatchState.EXPIRED else LineOutcome.CANCELLED
        results: list[LineResult] = []
        for line in self.index:
            if self.journal.has(line.number):
                continue
            name = self.given(line).custom_id
            results.append(not_run(self.row.kind, line.number, name, self.request_id(line.number), outcome))
            if len(results) >= _AT_ONCE:
                self.journal.append(results)
                results = []
        if results:
            self.journal.append(results)

    def sample(self, now: float) -> None:
        """Take note of how far it is (monotonic seconds)."""
        usage = self.journal.usage
        self._samples.append((now, self.journal.counts(0).done, usage.prompt + usage.completion))
        while len(self._samples) > 2 and self._samples[0][0] < now - _RATE_SECONDS:
            self._samples.popleft()

    def rate(self) -> BatchRate:
        """Return how fast it is."""
        if len(self._samples) < 2:
            return BatchRate()
        (began, lines, tokens), (ended, lines_now, tokens_now) = self._samples[0], self._samples[-1]
        seconds = max(ended - began, 1e-3)
        rate = (lines_now - lines) / seconds
        left = (len(self.index) - lines_now) / rate if rate else None
        return BatchRate(rate, (tokens_now - tokens) / seconds, left)

    def _pending(self) -> dict[str, list[int]]:
        """Return the places of lines that are still to be answered, by model."""
        found: dict[str, list[int]] = {}
        for place, line in enumerate(self.index):
            if not self.journal.has(line.number):
                found.setdefault(self.index.models[line.model], []).append(place)
        return found
