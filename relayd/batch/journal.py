"""Which results of a batch count, whatever ended the daemon in between (journal)?

A result is written behind the others of its file, and forced to disk; then a record of it is written behind
the others of the journal, and forced to disk. Only what has a record counts: whatever stands behind it in a
file of results is cut off when the batch is opened again, and its line runs again. So each line has exactly
one result, and a line is repeated only if it was being answered, or its answer being written, as the daemon
ended.

A record is a line: the CRC-32 of its JSON, a space, and the JSON of
`[number, file, end, outcome, prompt, cached, completion, reasoning, milliseconds]`, where `end` is the length
of the file with this result. The first line names format and batch.

Everything here blocks, and is done by one thread at a time.
"""

import os
import zlib
from collections.abc import Iterator, Sequence
from enum import IntEnum
from pathlib import Path

import msgspec

from relayd.batch.place import BatchPaths, written
from relayd.errors import StateError
from relayd.files import sync_folder
from relayd.store.batches import LineCounts, LineUsage

FORMAT = 1


class LineOutcome(IntEnum):
    """How a line has ended."""

    COMPLETED = 0
    FAILED = 1
    CANCELLED = 2
    EXPIRED = 3


class LineResult(msgspec.Struct, frozen=True):
    """The end of one line.

    Attributes:
        number: Which one.
        outcome: How it ended.
        text: What is written, without the end of the line.
        usage: Of the line.
        is_error: It belongs into the file of errors.
    """

    number: int
    outcome: LineOutcome
    text: bytes
    usage: LineUsage = LineUsage()
    is_error: bool = False


class _JournalHead(msgspec.Struct, frozen=True):
    format: int
    batch: str


_Record = tuple[int, int, int, int, int, int, int, int, int]
_record = msgspec.json.Decoder(_Record)


class LineJournal:
    """The results of one batch that count.

    Attributes:
        done: A bit for each number of a line that has ended.
        ends: The lengths of both files of results.
        usage: Of all lines that have ended.
    """

    def __init__(self, paths: BatchPaths, last: int) -> None:
        self.done = bytearray(last // 8 + 1)
        self.ends = [0, 0]
        self.usage = LineUsage()
        self._outcomes = [0] * len(LineOutcome)
        self._paths = (paths.output, paths.errors)
        self._journal = paths.journal
        self._length = 0

    def __repr__(self) -> str:
        return f"<LineJournal {self._journal.parent.name}: {sum(self._outcomes)} lines>"

    def counts(self, total: int) -> LineCounts:
        """Return how many lines have come to which end."""
        return LineCounts(total, *self._outcomes)

    def has(self, number: int) -> bool:
        """Return whether a line has ended."""
        return bool(self.done[number >> 3] & 1 << (number & 7))

    @classmethod
    def open(cls, batch: str, paths: BatchPaths, last: int) -> "LineJournal":
        """Return the journal of a batch, and cut off what does not count.

        Args:
            batch: Its id.
            paths: Its files.
            last: The largest number of a line.

        Raises:
            StateError: A file cannot be used, or the journal has another format.
        """
        journal = cls(paths, last)
        with written(paths.journal):
            if not paths.journal.exists():
                journal._begin(batch)
            else:
                journal._recall(batch)
            journal._cut()
        return journal

    def append(self, results: Sequence[LineResult]) -> None:
        """Have results count, on disk when this returns; where that fails none of them does.

        Raises:
            StorageFullError: The disk is full.
            StateError: A file cannot be written.
        """
        ends, records, texts = [*self.ends], bytearray(), (bytearray(), bytearray())
        for one in results:
            file, usage = int(one.is_error), one.usage
            texts[file].extend(one.text)
            texts[file].extend(b"\n")
            ends[file] += len(one.text) + 1
            record = (
                one.number, file, ends[file], int(one.outcome),
                usage.prompt, usage.cached, usage.completion, usage.reasoning, usage.milliseconds,
            )  # fmt: skip
            records += _line_of(msgspec.json.encode(record))
        try:
            with written(self._journal):
                for path, text, end in zip(self._paths, texts, self.ends, strict=True):
                    if text:
                        _append(path, text, end)
                _append(self._journal, records, self._length)
        except BaseException:
            self._cut_quietly()
            raise
        self._length += len(records)
        self.ends = ends
        for one in results:
            self._note(one.number, one.outcome, one.usage)

    def _note(self, number: int, outcome: int, usage: LineUsage) -> None:
        self.done[number >> 3] |= 1 << (number & 7)
        self._outcomes[outcome] += 1
        self.usage = self.usage.plus(usage)

    def _begin(self, batch: str) -> None:
        head = _line_of(msgspec.json.encode(_JournalHead(FORMAT, batch)))
        for path in self._paths:
            path.touch(0o600)
        _append(self._journal, head, 0)
        sync_folder(self._journal.parent)
        self._length = len(head)

    def _recall(self, batch: str) -> None:
        """Read the records, up to the first that is not whole or whose result is not there."""
        sizes = [path.stat().st_size if path.exists() else 0 for path in self._paths]
        is_first = True
        for text, end in _lines_in(self._journal):
            if is_first:
                self._check_head(text, batch)
                is_first = False
            else:
                try:
                    number, file, length, outcome, *usage = _record.decode(text)
                except msgspec.MsgspecError:
                    break
                if not self._is_next(number, file, length, outcome, sizes):
                    break
                self.ends[file] = length
                self._note(number, outcome, LineUsage(*usage))
            self._length = end
        if is_first:
            self._begin(batch)

    def _is_next(self, number: int, file: int, length: int, outcome: int, sizes: Sequence[int]) -> bool:
        is_known = 0 < number < len(self.done) * 8 and file in (0, 1) and 0 <= outcome < len(LineOutcome)
        return is_known and not self.has(number) and self.ends[file] < length <= sizes[file]

    def _check_head(self, text: bytes, batch: str) -> None:
        try:
            head = msgspec.json.decode(text, type=_JournalHead)
        except msgspec.MsgspecError as error:
            raise StateError(f"{self._journal} cannot be read: {error}") from error
        if head != _JournalHead(FORMAT, batch):
            raise StateError(
                f"{self._journal} has format {head.format} of batch {head.batch}",
                remedy="Start the relayd that wrote it.",
            )

    def _cut(self) -> None:
        for path, end in zip((*self._paths, self._journal), (*self.ends, self._length), strict=True):
            if not path.exists():
                path.touch(0o600)
            if path.stat().st_size > end:
                os.truncate(path, end)

    def _cut_quietly(self) -> None:
        """Take back what a failed write has left; what stays is cut off at the next start."""
        try:
            self._cut()
        except OSError:
            return


def _line_of(text: bytes) -> bytes:
    return b"%08x %b\n" % (zlib.crc32(text), text)


def _lines_in(path: Path) -> Iterator[tuple[bytes, int]]:
    """Yield the JSON of each whole line and where it ends, up to the first that is not whole."""
    end = 0
    with path.open("rb") as file:
        for line in file:
            crc, _, text = line[:-1].partition(b" ")
            if not line.endswith(b"\n") or crc != b"%08x" % zlib.crc32(text):
                return
            end += len(line)
            yield text, end


def _append(path: Path, data: bytes | bytearray, at: int) -> None:
    """Write data at the end of a file, which is at a place, and force it to disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        view, position = memoryview(data), at
        while view:
            count = os.pwrite(descriptor, view, position)
            view, position = view[count:], position + count
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
