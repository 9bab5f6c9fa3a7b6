"""Prompts that replicas had read, on disk over their ends (slot files).

llama-server writes and reads the files; what is known of them is one document beside. A file counts once it
is whole, on disk and entered there, and is compared with its digest before a replica gets it: one that is cut
short ends the engine.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from relayd.clock import Clock
from relayd.errors import StateError
from relayd.files import private_folder, sync_folder
from relayd.store.kept import SCHEMA, KeptFile

_PART, _WHOLE = ".part", ".slot"
_CHUNK_BYTES = 1 << 20

_ABANDONED_SECONDS = 600.0
"""After so long a file that was begun is what a daemon left that was killed: writing takes seconds."""


class SlotFile(msgspec.Struct, frozen=True):
    """One prompt on disk.

    Attributes:
        name: Of its file.
        key: What may read it: a replica, its files, engine and flags, as one digest.
        tokens: How long it is.
        bytes: What the file takes.
        digest: Of its bytes.
        used_at: When it was written, or read last (seconds since 1970).
    """

    name: str
    key: str
    tokens: int
    bytes: int
    digest: str
    used_at: float


class _Index(msgspec.Struct, frozen=True):
    files: tuple[SlotFile, ...] = ()
    fit: Mapping[str, bool] = {}
    schema: int = SCHEMA


class SlotFiles:
    """The slot files of all replicas, within a bound. Everything here blocks.

    Args:
        folder: Where they are.
        most_bytes: What they may take together; those that were used longest ago go first.
        clock: Time.
    """

    def __init__(self, folder: Path, most_bytes: int, clock: Clock) -> None:
        self.folder = folder
        self._most_bytes = most_bytes
        self._clock = clock
        self._document = KeptFile(folder / "slots.json", _Index)
        self._index: _Index | None = None

    def __repr__(self) -> str:
        found = self._index or _Index()
        return f"<SlotFiles {len(found.files)} files, {sum(one.bytes for one in found.files)} bytes>"

    def fits(self, key: str) -> bool | None:
        """Return whether what is restored has been shown to be what was kept; None while it was not tried."""
        return self._read().fit.get(key)

    def judge(self, key: str, *, fit: bool) -> None:
        """Take note of that."""
        index = self._read()
        self._write(msgspec.structs.replace(index, fit={**index.fit, key: fit}))

    def part(self, key: str, slot: int) -> str:
        """Return the name under which a slot is to be written; it counts for nothing before `put`."""
        private_folder(self.folder)
        return f"{key}-{slot}{_PART}"

    def put(self, key: str, parts: Sequence[tuple[str, int]]) -> None:
        """Enter files that were written whole, in the place of earlier ones of the same key.

        Args:
            key: Whose they are.
            parts: Their names, and how many tokens each has.

        Raises:
            OSError: The disk refuses.
            StateError: It refuses the document.
        """
        index, now = self._read(), self._clock.wall()
        entered = []
        for name, tokens in parts:
            path = self.folder / name
            path.chmod(0o600)
            digest, size = _digest(path, sync=True)
            whole = f"{key}-{digest[:16]}{_WHOLE}"
            path.replace(self.folder / whole)
            entered.append(SlotFile(whole, key, tokens, size, digest, now))
        sync_folder(self.folder)
        others = [one for one in index.files if one.key != key]
        self._write(msgspec.structs.replace(index, files=self._bounded([*others, *entered])))

    def find(self, key: str) -> list[SlotFile]:
        """Return the files of a key, those with the longest prompts first."""
        found = (one for one in self._read().files if one.key == key)
        return sorted(found, key=lambda one: -one.tokens)

    def is_sound(self, file: SlotFile) -> bool:
        """Return whether a file has all of the bytes that it was entered with."""
        path = self.folder / file.name
        try:
            return path.stat().st_size == file.bytes and _digest(path) == (file.digest, file.bytes)
        except OSError:
            return False

    def used(self, files: Sequence[SlotFile], lost: Sequence[SlotFile]) -> None:
        """Take note of files that were read now, and forget others."""
        index, now = self._read(), self._clock.wall()
        kept = [
            msgspec.structs.replace(one, used_at=now) if one in files else one
            for one in index.files
            if one not in lost
        ]
        self._write(msgspec.structs.replace(index, files=tuple(kept)))

    def clear(self) -> None:
        """Remove all of them."""
        if self.folder.is_dir():
            self._write(_Index())

    def clean(self, key: str) -> None:
        """Remove what a key has begun and not entered."""
        for path in self.folder.glob(f"{key}-*{_PART}"):
            path.unlink(missing_ok=True)

    def _bounded(self, files: Sequence[SlotFile]) -> tuple[SlotFile, ...]:
        """Return the files that were used last and take no more than they may."""
        left, kept = self._most_bytes, list[SlotFile]()
        for one in sorted(files, key=lambda one: -one.used_at):
            left -= one.bytes
            if left >= 0:
                kept.append(one)
        return tuple(kept)

    def _read(self) -> _Index:
        if self._index is None:
            self._index = self._document.read() or _Index()
        return self._index

    def _write(self, index: _Index) -> None:
        """Write the document, and remove every file that is not in it, nor about to be."""
        private_folder(self.folder)
        self._document.write(index)
        self._index, known = index, {one.name for one in index.files}
        for path in self.folder.glob(f"*{_WHOLE}"):
            if path.name not in known:
                path.unlink(missing_ok=True)
        oldest = self._clock.wall() - _ABANDONED_SECONDS
        for path in self.folder.glob(f"*{_PART}"):
            with suppress(OSError):
                if path.stat().st_mtime < oldest:
                    path.unlink()


def remove_slot_files(folder: Path, clock: Clock) -> None:
    """Remove what earlier daemons have kept, where nothing is to be kept any more. Blocks."""
    with suppress(StateError, OSError):
        SlotFiles(folder, 0, clock).clear()


def _digest(path: Path, *, sync: bool = False) -> tuple[str, int]:
    found, size = hashlib.blake2b(digest_size=32), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            found.update(chunk)
            size += len(chunk)
        if sync:
            os.fsync(file.fileno())
    return found.hexdigest(), size
