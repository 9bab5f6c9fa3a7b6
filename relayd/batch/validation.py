"""May the lines of a new batch be run, and in which order (validation)?"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from relayd.batch.book import BatchBook
from relayd.batch.reading import CheckedLines, LineReading, LineRules
from relayd.errors import ModelNotFoundError, StateError, StorageFullError
from relayd.store.batches import BatchKind, BatchState, LineCounts, LineFault, StoredBatch

FindModel = Callable[[str, str], object]
"""Returns the model that a key means by a name, empty for none; raises ModelNotFoundError."""


class BatchValidation:
    """Reads new batches, one after the other.

    Args:
        book: Every batch.
        find: Finds the models that lines name.
    """

    def __init__(self, book: BatchBook, find: FindModel) -> None:
        self._book = book
        self._find = find
        self._turn = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<BatchValidation {'reading' if self._turn.locked() else 'idle'}>"

    async def of(self, row: StoredBatch) -> StoredBatch:
        """Return a batch that was read, in its next state; its index of lines is on disk then.

        Raises:
            StateError: Its files cannot be read or written.
        """
        paths, limits = self._book.folder.of(row.id), self._book.limits
        rules = LineRules(row.endpoint, limits.lines, limits.line_bytes)
        async with self._turn:
            try:
                checked = await _read(paths.input, rules)
            except OSError as error:
                raise StateError(f"{paths.input} cannot be read: {error.strerror}") from error
            faults = checked.faults
            if row.kind is BatchKind.OPENAI:  # a message batch has its faults by request
                faults = faults or self._unknown(row, checked)
            now = self._book.clock.wall()
            row = self._book.batches.get(row.id, row)
            if row.state is not BatchState.VALIDATING:  # it was cancelled meanwhile
                return row
            if faults or checked.index is None:
                failed = msgspec.structs.replace(row, faults=tuple(faults))
                return failed.entering(BatchState.FAILED, now)
            try:
                await asyncio.to_thread(checked.index.write, paths.lines)
            except StorageFullError as error:
                raise StateError(error.message) from error
            row = msgspec.structs.replace(
                row, counts=LineCounts(len(checked.index)), models=tuple(one for one in checked.named if one)
            )
            return row.entering(BatchState.IN_PROGRESS, now)

    def _unknown(self, row: StoredBatch, checked: CheckedLines) -> list[LineFault]:
        """Return the faults of lines whose model is not here, or not for this key."""
        faults = []
        for name, number in checked.named.items():
            try:
                self._find(row.key, name)
            except ModelNotFoundError as error:
                faults.append(LineFault("model_not_found", str(error).replace("\n", " "), number, "model"))
        return faults


async def _read(path: Path, rules: LineRules) -> CheckedLines:
    """Read a file in small steps, each in a thread."""
    file = await asyncio.to_thread(path.open, "rb")
    try:
        reading = LineReading(file, rules)
        while await asyncio.to_thread(reading.step):
            pass
        return await asyncio.to_thread(reading.finish)
    finally:
        file.close()
