"""Pulling an ordered model: fetched whole, verified and recorded, or removed."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from relayd.clock import Clock
from relayd.errors import FetchError, HashMismatchError, ModelFileError, NoSpaceError, StateError, UsageError
from relayd.fetch import fetch
from relayd.gguf import read_metadata
from relayd.models.bring import settle, take_out
from relayd.models.embedded import SUFFIXES
from relayd.models.hub import Hub
from relayd.models.order import Order, Piece
from relayd.models.shelf import ModelRecord, ModelShelf, StoredFile, size_of
from relayd.models.verify import digest_of
from relayd.units import show_bytes

SILENCE_SECONDS = 30.0
"""Longest pause while bytes arrive: a CDN that gets a file from its origin first may take this long."""


class PullProgress(Protocol):
    """Receives the progress of a pull; shows bars, prints a line now and then, or nothing."""

    def say(self, text: str) -> None:
        """Show one line that stays."""
        ...

    def at(self, name: str, done: int, total: int | None) -> None:
        """Show how many bytes of a file are here, and of how many; may be called often."""
        ...


class Neighbour(Protocol):
    """Brings files from other machines of this network, before the internet is asked."""

    def bring(self, sha256: str, size: int, part: Path, at: Callable[[int], None]) -> str:
        """Have the bytes of a file collect in `part`; return where from, empty where not all could be had."""
        ...


@dataclass(frozen=True, slots=True)
class Puller:
    """Everything a pull needs from outside.

    Attributes:
        hub: Whose cache and token are used.
        shelf: Where other files go, and records.
        clock: Dates the record.
        progress: Receives messages and progress.
        too_large: Returns why a model of so many bytes cannot run on this machine, or "".
        silence_seconds: Longest pause while bytes arrive.
        neighbour: Brings files that another machine has; None where there is no such machine.
    """

    hub: Hub
    shelf: ModelShelf
    clock: Clock
    progress: PullProgress
    too_large: Callable[[int], str]
    silence_seconds: float = SILENCE_SECONDS
    neighbour: Neighbour | None = None

    def pull(self, order: Order, *, force: bool = False) -> ModelRecord:
        """Fetch what is missing of an order, and return the record of it.

        Args:
            order: What to do.
            force: Whether a model too large for the memory of this machine is fetched all the same.

        Raises:
            UsageError: It is too large for the memory of this machine, or its repository is closed.
            NoSpaceError: It is too large for the disk.
            FetchError: It did not arrive; what did is kept for the next time.
            ModelFileError: The downloaded file is not a model.
            StateError: A folder cannot be written.
        """
        if not force and not all(piece.is_here for piece in order.pieces):
            self._check_memory(order.bytes)
        _check_space(order)
        before = self.shelf.record_of(order.record.source)
        if before and before.whole and not order.published:
            return before  # nothing newer is known of an address than what came from it
        if before is None or not before.whole:
            self._write(order.record, before, finished=False)
        with self._nothing_left_of(order, before):
            for piece in order.pieces:
                self._get(piece, force=force)
        for repository, paths in order.published:
            self.hub.publish(repository, paths)
        record = order.record if order.published else self._settled(order)
        record = self._write(record, before, finished=True)
        for piece in order.pieces:
            if piece.kept.arrives:
                piece.kept.arrival.unlink(missing_ok=True)  # the llamafile around the model
        return record

    def _write(self, record: ModelRecord, before: ModelRecord | None, *, finished: bool) -> ModelRecord:
        """Keep a record; files of an earlier commit stay on it, so that they can be removed with it."""
        now = {kept.path for kept in record.files}
        older = (
            tuple(kept for kept in (*before.files, *before.older) if kept.path not in now) if before else ()
        )
        record = msgspec.structs.replace(record, finished=finished, at=self.clock.wall(), older=older)
        self.shelf.write(record)
        return record

    @contextlib.contextmanager
    def _nothing_left_of(self, order: Order, before: ModelRecord | None) -> Iterator[None]:
        """Take the record away again if the block ends early and no byte came, now or earlier."""
        whole = False
        try:
            yield
            whole = True
        finally:
            if not whole and not any(kept.here_bytes for kept in (*order.record.files, *_files_of(before))):
                self.shelf.remove(order.record)

    def _check_memory(self, size: int) -> None:
        if reason := self.too_large(size):
            raise UsageError(reason, remedy="Choose a smaller one, or fetch it all the same with --force.")

    def _get(self, piece: Piece, *, force: bool) -> None:
        """Fetch one file to where it arrives, as long as every attempt brings more of it."""
        arrival = piece.kept.arrival
        with self.shelf.locked(piece.lock):
            if piece.is_here:
                return
            try:
                arrival.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StateError(f"{arrival.parent} cannot be made: {error.strerror}") from error
            arrived = self._brought(piece)
            while not arrived:
                before = size_of(piece.kept.part)
                try:
                    self._fetch(piece, force=force)
                    arrived = True
                except (HashMismatchError, NoSpaceError):
                    raise
                except UsageError:
                    if not before:
                        piece.kept.part.unlink(
                            missing_ok=True
                        )  # refused by the size that it turned out to have
                    raise
                except FetchError as error:
                    if size_of(piece.kept.part) <= before:
                        raise (self.hub.explained(error, piece.repo) if piece.repo else error) from error

    def _brought(self, piece: Piece) -> bool:
        """Return whether another machine had a file, and what it gave is that file."""
        if self.neighbour is None or not piece.sha256 or not piece.bytes:
            return False
        name, size, part = Path(piece.kept.path).name, piece.bytes, piece.kept.part
        etag = part.with_name(f"{part.name}.etag")
        if not part.exists():
            etag.write_text(f'"{piece.sha256}"')  # the hub's: a download goes on where the other machine left
        source = self.neighbour.bring(
            piece.sha256, size, part, lambda done: self.progress.at(name, done, size)
        )
        if not source:
            return False
        if digest_of(part) != piece.sha256:
            part.unlink()
            self.progress.say(f"What came from {source} is not {name}: it is downloaded instead.")
            return False
        etag.unlink(missing_ok=True)
        part.replace(piece.kept.arrival)
        self.progress.say(f"{name} came from {source}.")
        return True

    def _fetch(self, piece: Piece, *, force: bool) -> None:
        name = piece.kept.arrival.name if not piece.sha256 else Path(piece.kept.path).name

        def told(done: int, total: int | None) -> None:
            if not piece.sha256 and not force:
                self._check_memory(total or done)
            self.progress.at(name, done, total)

        fetch(
            piece.url,
            piece.kept.arrival,
            sha256=piece.sha256,
            max_bytes=piece.bytes if piece.sha256 else None,
            headers=self.hub.headers if piece.repo else None,
            progress=told,
            timeout_seconds=self.silence_seconds,
        )

    def _settled(self, order: Order) -> ModelRecord:
        """Move files from where they arrived to where they belong, the first part last."""
        first = order.record.parts[0]
        if first.arrival.name.endswith(SUFFIXES):
            taken = take_out(first.arrival, first, self.progress.at)
            return msgspec.structs.replace(order.record, parts=taken[:1], companions=taken[1:])
        arrived = [piece for piece in order.pieces if piece.kept.arrival.exists()]
        if len(arrived) == len(
            order.pieces
        ):  # else they were checked before, and moving them was interrupted
            self._check_model(order)
        for piece in reversed(arrived):
            settle(piece.kept.arrival, Path(piece.kept.data))
        return msgspec.structs.replace(order.record, parts=tuple(map(_as_kept, order.pieces)))

    def _check_model(self, order: Order) -> None:
        """Remove what arrived, and its record, unless it is a model."""
        try:
            read_metadata(order.record.parts[0].arrival)
        except ModelFileError as error:
            self.shelf.remove(order.record)
            raise ModelFileError(
                f"{order.record.source} did not send a valid model: {error.message}",
                remedy="Check the address.",
            ) from error


def _files_of(record: ModelRecord | None) -> tuple[StoredFile, ...]:
    return record.files if record else ()


def _as_kept(piece: Piece) -> StoredFile:
    """Return what is known of a file in our folder now that it is there."""
    path = Path(piece.kept.data)
    digest = piece.sha256 or digest_of(path)
    return StoredFile(path=str(path), data=str(path), bytes=size_of(path), sha256=digest)


def _check_space(order: Order) -> None:
    """Refuse what the disk cannot hold, before the first byte."""
    needed: dict[Path, int] = {}
    for piece in order.pieces:
        folder = _nearest(piece.kept.arrival.parent)
        needed[folder] = needed.get(folder, 0) + piece.missing_bytes
    for folder, size in needed.items():
        free = shutil.disk_usage(folder).free
        if size > free:
            raise NoSpaceError(
                f"{order.record.name} needs {show_bytes(size)} more, the disk of {folder} has "
                f"{show_bytes(free)} free",
                remedy="Free some space, or choose a smaller quantization.",
            )


def _nearest(folder: Path) -> Path:
    """Return the first folder up from one that exists."""
    return next(one for one in (folder, *folder.parents) if one.exists())
