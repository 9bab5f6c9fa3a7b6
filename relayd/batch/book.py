"""Which files and batches are there, and what may become of them (book)?

All rows are in memory; a change is written to the database first. A batch in the making or at work is carried
out by `runner`, which changes its row through `change`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol, TypeVar

import msgspec

from relayd.batch.owner import BatchOwner
from relayd.batch.place import BatchFolder, Receiving
from relayd.clock import Clock
from relayd.errors import ConflictError, FileLimitError, NotFoundError, RequestError
from relayd.journal import Journal
from relayd.store.batches import (
    BatchFile,
    BatchKind,
    BatchState,
    BatchTable,
    FileTable,
    StoredBatch,
)
from relayd.store.database import Database
from relayd.units import Bytes, show_bytes

T = TypeVar("T")
Row = TypeVar("Row", BatchFile, StoredBatch)

DAY_SECONDS = 86_400.0

UPLOAD, RESULT = "batch", "batch_output"
"""The purposes of files."""


class RowStore(Protocol):
    """The database."""

    def run(self, work: Callable[[Database], T]) -> Awaitable[T]:
        """Return what work with it gives; raises StateError."""
        ...

    def read(self, work: Callable[[Database], T], otherwise: T) -> Awaitable[T]:
        """Return what a look into it gives, or something else where there is none yet; raises StateError."""
        ...


class BatchLimits(msgspec.Struct, frozen=True):
    """What batches may take.

    Attributes:
        file_bytes: Of one upload.
        key_bytes: Of all files of one key.
        lines: Of one batch.
        line_bytes: Of one line.
        keep_seconds: How long uploads, and the results of a batch, are kept.
    """

    file_bytes: Bytes
    key_bytes: Bytes
    lines: int
    line_bytes: int
    keep_seconds: float


class BatchBook:
    """Every file and every batch.

    Args:
        folder: Where they are.
        rows: Where their rows are.
        clock: Time.
        limits: What they may take.

    Attributes:
        files: By id, the oldest first.
        batches: By id, the oldest first.
        on_made: Called with each batch that was made, or is to be cancelled.
        size_of: Returns how many bytes of a result count now; None where nothing is being written.
    """

    def __init__(self, folder: BatchFolder, rows: RowStore, clock: Clock, limits: BatchLimits) -> None:
        self.folder = folder
        self.clock = clock
        self.limits = limits
        self.files: dict[str, BatchFile] = {}
        self.batches: dict[str, StoredBatch] = {}
        self._cancelled: set[str] = set()  # also while their rows are being written
        self.on_made: Callable[[StoredBatch], None] = lambda _: None
        self.size_of: Callable[[BatchFile], int | None] = lambda _: None
        self._rows = rows
        self._arriving: dict[str, int] = {}
        self._journal = Journal("batch")

    def __repr__(self) -> str:
        return f"<BatchBook {len(self.files)} files, {len(self.batches)} batches>"

    async def open(self) -> None:
        """Read what is there.

        Raises:
            StateError: The database or the folder cannot be used.
        """
        nothing: tuple[list[BatchFile], list[StoredBatch]] = ([], [])
        files, batches = await self._rows.read(_every, nothing)
        self.files = {one.id: one for one in files}
        self.batches = {one.id: one for one in batches}
        await asyncio.to_thread(self.folder.open)

    # Files

    def file(self, owner: BatchOwner, file: str) -> BatchFile:
        """Return a file as it is now.

        Raises:
            NotFoundError: There is none of that id that may be seen.
        """
        found = self.files.get(file)
        if found is None or not owner.may_see(found):
            raise NotFoundError(f"There is no file {file[:100]!r}.", remedy="GET /v1/files lists them.")
        return self._sized(found)

    def listed_files(self, owner: BatchOwner) -> list[BatchFile]:
        """Return the files that may be seen, the oldest first; results without a line are left out."""
        seen = [self._sized(one) for one in self.files.values() if owner.may_see(one)]
        return [one for one in seen if one.purpose != RESULT or one.size]

    def check_upload(self, key: str, size: int) -> None:
        """Refuse an upload that is too large, or one too many for its key.

        Raises:
            FileLimitError: It is.
        """
        limits = self.limits
        if size > limits.file_bytes:
            raise FileLimitError(
                f"The file is larger than {show_bytes(limits.file_bytes)}.",
                remedy="Split it, or raise batches.max_file_mib.",
            )
        held = sum(one.size for one in self.files.values() if one.key == key) + self._arriving.get(key, 0)
        if held + size > limits.key_bytes:
            raise FileLimitError(
                f"The files of this key take {show_bytes(held)}; with this one they would take more than "
                f"{show_bytes(limits.key_bytes)}.",
                remedy="Delete some, or raise batches.key_files_mib.",
            )

    async def keep(self, receiving: Receiving, file: BatchFile) -> BatchFile:
        """Keep an upload that has arrived; it is on disk when this returns.

        Raises:
            FileLimitError: It is too large.
            StateError: It cannot be written.
        """
        self.check_upload(file.key, receiving.size)
        self._arriving[file.key] = self._arriving.get(file.key, 0) + receiving.size
        try:
            await asyncio.to_thread(receiving.keep)
            file = msgspec.structs.replace(file, size=receiving.size)
            await self._rows.run(lambda database: FileTable(database).put(file))
        except BaseException:
            await asyncio.to_thread(self.folder.remove_upload, file.id)
            raise
        finally:
            self._arriving[file.key] -= receiving.size
        self.files[file.id] = file
        return file

    async def delete_file(self, owner: BatchOwner, file: str) -> None:
        """Remove a file.

        Raises:
            NotFoundError: There is none.
            ConflictError: It is the result of a batch that is not over.
            StateError: It cannot be removed.
        """
        found = self.file(owner, file)
        batch = self.batches.get(found.batch)
        if batch is not None and not batch.state.is_over:
            raise ConflictError(
                f"{file} is being written by {batch.id}, which is {batch.state.value}.",
                remedy="Cancel the batch first, or wait for its end.",
            )
        await self._rows.run(lambda database: FileTable(database).remove((file,)))
        self.files.pop(file, None)
        if batch is None:
            await asyncio.to_thread(self.folder.remove_upload, file)
        elif not self._has_results(batch):
            await asyncio.to_thread(self.folder.remove_batch, batch.id)

    def _has_results(self, batch: StoredBatch) -> bool:
        return any(one in self.files for one in (batch.output_file, batch.error_file))

    def _sized(self, file: BatchFile) -> BatchFile:
        size = self.size_of(file) if file.batch else None
        return file if size is None else msgspec.structs.replace(file, size=size)

    # Batches

    def batch(self, owner: BatchOwner, batch: str, kind: BatchKind | None = None) -> StoredBatch:
        """Return a batch.

        Raises:
            NotFoundError: There is none of that id and kind that may be seen.
        """
        found = self.batches.get(batch)
        if found is None or not owner.may_see(found) or kind not in (None, found.kind):
            raise NotFoundError(
                f"There is no batch {batch[:100]!r}.", remedy="`relayd batch list` lists them."
            )
        return found

    def listed_batches(self, owner: BatchOwner, kind: BatchKind | None = None) -> list[StoredBatch]:
        """Return the batches that may be seen, the oldest first."""
        return [one for one in self.batches.values() if owner.may_see(one) and kind in (None, one.kind)]

    async def add(self, batch: StoredBatch, upload: str) -> StoredBatch:
        """Make a batch of an upload; it is on disk when this returns, and run from then on.

        Raises:
            NotFoundError: The upload is gone.
            StateError: It cannot be written.
        """
        try:
            await asyncio.to_thread(self.folder.begin, batch.id, upload)
            await self._rows.run(lambda database: BatchTable(database).put(batch))
        except FileNotFoundError as error:
            raise NotFoundError(f"The file {upload} is gone.") from error
        except BaseException:
            await asyncio.to_thread(self.folder.remove_batch, batch.id)
            raise
        self.batches[batch.id] = batch
        self._journal.info("batch.created", batch=batch.id, key=batch.key or "-", file=upload)
        self.on_made(batch)
        return batch

    async def change(self, batch: StoredBatch, files: Iterable[BatchFile] = ()) -> None:
        """Replace the row of a batch, and write files of it; one that was cancelled meanwhile stays so.

        Raises:
            StateError: It cannot be written.
        """
        files = [*files]
        if batch.id in self._cancelled and batch.state is BatchState.IN_PROGRESS:
            batch = batch.entering(BatchState.CANCELLING, self.clock.wall())
        row = batch

        def write(database: Database) -> None:
            FileTable(database).put_all(files)
            BatchTable(database).put(row)

        await self._rows.run(write)
        self.batches[batch.id] = batch
        if batch.state.is_over:
            self._cancelled.discard(batch.id)
        self.files.update({one.id: one for one in files})

    async def cancel(self, batch: StoredBatch) -> StoredBatch:
        """Begin to cancel a batch; one that is being cancelled stays so.

        Raises:
            ConflictError: It is over.
            StateError: It cannot be written.
        """
        if batch.state.is_over or batch.state is BatchState.FINALIZING:
            raise ConflictError(f"The batch {batch.id} is {batch.state.value}, and cannot be cancelled.")
        if batch.state is BatchState.CANCELLING:
            return batch
        self._cancelled.add(batch.id)
        batch = batch.entering(BatchState.CANCELLING, self.clock.wall())
        await self.change(batch)
        self.on_made(batch)
        return batch

    async def delete(self, batch: StoredBatch) -> None:
        """Remove a batch that is over, with its results.

        Raises:
            ConflictError: It is not over.
            StateError: It cannot be removed.
        """
        if not batch.state.is_over:
            raise ConflictError(
                f"The batch {batch.id} is {batch.state.value}.",
                remedy="Cancel it, and delete it when it has ended.",
            )
        await self._remove([batch], [])

    async def collect_garbage(self, keep_seconds: float | None = None) -> tuple[int, int]:
        """Remove batches and files whose time is over, and return how many of each.

        Args:
            keep_seconds: How long ended batches and uploads are kept; None for the configured time.

        Raises:
            StateError: They cannot be removed.
        """
        now = self.clock.wall()
        keep = self.limits.keep_seconds if keep_seconds is None else keep_seconds
        batches = [one for one in self.batches.values() if self._is_old(one, keep, now, keep_seconds is None)]
        gone = {one.id for one in batches}
        used = {
            one.input_file for one in self.batches.values() if one.id not in gone and not one.state.is_over
        }
        files = [
            one
            for one in self.files.values()
            if not one.batch and one.id not in used and _is_file_old(one, keep, now, keep_seconds is None)
        ]
        results = [one for one in self.files.values() if one.batch in gone]
        await self._remove(batches, files)
        count = len(files) + len(results)
        if keep_seconds is not None:
            count += await asyncio.to_thread(self.folder.remove_orphans, {*self.files}, {*self.batches})
        if batches or count:
            self._journal.info("batch.collected", batches=len(batches), files=count)
        return len(batches), count

    def _is_old(self, batch: StoredBatch, keep: float, now: float, follows_owner: bool) -> bool:
        if (ended := batch.ended) is None:
            return False
        own = batch.output_seconds
        if follows_owner and own is not None:
            return batch.created + own <= now
        return ended + keep <= now

    async def _remove(self, batches: list[StoredBatch], files: list[BatchFile]) -> None:
        gone = {one.id for one in batches}
        ids = [one.id for one in self.files.values() if one.batch in gone] + [one.id for one in files]
        if not gone and not ids:
            return

        def write(database: Database) -> None:
            FileTable(database).remove(ids)
            BatchTable(database).remove([*gone])

        await self._rows.run(write)
        for name in ids:
            self.files.pop(name, None)
        for name in gone:
            self.batches.pop(name, None)
        await asyncio.to_thread(self._unlink, gone, [one.id for one in files])

    def _unlink(self, batches: Iterable[str], uploads: Iterable[str]) -> None:
        for batch in batches:
            self.folder.remove_batch(batch)
        for upload in uploads:
            self.folder.remove_upload(upload)


def _is_file_old(file: BatchFile, keep: float, now: float, follows_owner: bool) -> bool:
    if follows_owner and file.expires is not None:
        return file.expires <= now
    return file.created + keep <= now


def _every(database: Database) -> tuple[list[BatchFile], list[StoredBatch]]:
    return FileTable(database).every(), BatchTable(database).every()


def page(rows: list[Row], *, after: str | None, before: str | None, limit: int) -> tuple[list[Row], bool]:
    """Return a page of rows, the newest first, and whether there are more.

    Args:
        rows: All, the oldest first.
        after: Those behind this id in the list.
        before: Those right in front of it.
        limit: How many.

    Raises:
        RequestError: There is no row of such an id.
    """
    rows = rows.copy()
    rows.reverse()
    if after is not None:
        rows = rows[_place_of(rows, after, "after") + 1 :]
    elif before is not None:
        rows = rows[: _place_of(rows, before, "before")]
        return rows[-limit:], len(rows) > limit
    return rows[:limit], len(rows) > limit


def _place_of(rows: list[Row], name: str, param: str) -> int:
    for place, row in enumerate(rows):
        if row.id == name:
            return place
    raise RequestError(f"There is no {name[:100]!r} to list from.", param=param)
