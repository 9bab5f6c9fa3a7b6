"""relayd's own folder of models, and the records of what it may remove.

`<data>/models` holds files that came from an address or out of a llamafile; files of the hub are in its
cache. For each model a record beside them lists what belongs to it: only what a record names is removed.
"""

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from relayd.errors import FetchError, StateError
from relayd.files import private_folder, write_atomic
from relayd.lock import Lock
from relayd.models.hubcache import remove_from_cache

Kind = Literal["pulled", "imported", "extracted"]

INCOMING = "incoming"
"""Folder of what is not whole yet, inside the folder of models: nothing in it is ever listed."""


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a model.

    Attributes:
        path: The name it is opened by.
        data: Where its bytes are: another place than `path` in a hub's cache.
        bytes: Its size; 0 while unknown.
        sha256: What its bytes must hash to; "" when unknown.
        ours: Whether relayd made it, and so may remove it.
        arrives: Where it is until it is whole and checked; "" for `data`.
    """

    path: str
    data: str
    bytes: int = 0
    sha256: str = ""
    ours: bool = True
    arrives: str = ""

    @property
    def arrival(self) -> Path:
        """Where it is until it is whole and checked."""
        return Path(self.arrives or self.data)

    @property
    def part(self) -> Path:
        """Where its bytes collect (`relayd.fetch`)."""
        return self.arrival.with_name(f"{self.arrival.name}.part")

    @property
    def here_bytes(self) -> int:
        """How much of it has arrived."""
        return size_of(Path(self.data)) or size_of(self.arrival) or size_of(self.part)


class ModelRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What belongs to one model.

    Attributes:
        name: What it is called here.
        source: Where it is from: `hf:REPO/PATH`, an address, or a file.
        kind: How it came.
        parts: The model, its first part first.
        companions: Projector and draft.
        model: Name of its entry in the catalogue; "" when there is none.
        quant: Its quantization; "" when not known.
        older: Files of an earlier commit, which the configuration may still name.
        finished: Whether all of it is here.
        at: When, in seconds since 1970.
        tags: What a person wrote that it is for.
        named: Whether a person chose its name, which it then keeps.
    """

    name: str
    source: str
    kind: Kind
    parts: tuple[StoredFile, ...]
    companions: tuple[StoredFile, ...] = ()
    model: str = ""
    quant: str = ""
    older: tuple[StoredFile, ...] = ()
    finished: bool = True
    at: float = 0.0
    tags: tuple[str, ...] = ()
    named: bool = False

    @property
    def files(self) -> tuple[StoredFile, ...]:
        """Everything that belongs to it."""
        return (*self.parts, *self.companions)

    @property
    def whole(self) -> bool:
        """Whether every file is there in its full size."""
        return self.finished and all(size_of(Path(kept.path)) == kept.bytes for kept in self.files)


@dataclass(frozen=True, slots=True)
class ModelShelf:
    """The folder of models and its records."""

    root: Path

    @property
    def incoming(self) -> Path:
        """Where files arrive; made if it is missing.

        Raises:
            StateError: It cannot be made.
        """
        self.make()
        return private_folder(self.root / INCOMING)

    def make(self) -> None:
        """Make the folder.

        Raises:
            StateError: It cannot be made.
        """
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StateError(f"the folder {self.root} cannot be made: {error.strerror}") from error

    def records(self) -> list[ModelRecord]:
        """Return every record that makes sense, by name."""
        found = []
        for file in self.root.glob("*.json"):
            with contextlib.suppress(OSError, msgspec.DecodeError):
                found.append(msgspec.json.decode(file.read_bytes(), type=ModelRecord))
        return sorted(found, key=lambda record: record.name)

    def record_of(self, source: str) -> ModelRecord | None:
        """Return the record of a source, if there is one."""
        return next((record for record in self.records() if record.source == source), None)

    def write(self, record: ModelRecord) -> None:
        """Keep a record; one of the same source is replaced.

        Raises:
            StateError: The folder cannot be written.
        """
        self.make()
        write_atomic(self._file(record.source), msgspec.json.format(msgspec.json.encode(record), indent=2))

    def remove(self, record: ModelRecord) -> int:
        """Remove what relayd downloaded for one model, and return the bytes that are free now.

        Files that another record names stay, and so does everything relayd did not make.

        Raises:
            StateError: A file cannot be removed.
        """
        others = [one for one in self.records() if one.source != record.source]
        shared = {kept.data for other in others for kept in (*other.files, *other.older)}
        try:
            gone = [kept for kept in (*record.files, *record.older) if kept.ours and kept.data not in shared]
            freed = sum(map(_remove, gone))
            self._file(record.source).unlink(missing_ok=True)
        except OSError as error:
            raise StateError(f"{error.filename} cannot be removed: {error.strerror}") from error
        return freed

    @contextlib.contextmanager
    def locked(self, path: Path) -> Iterator[None]:
        """Keep others out of one file while it is fetched.

        Raises:
            FetchError: Another process fetches it.
            StateError: The lock cannot be made.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = Lock.try_take(path)
        except OSError as error:
            raise StateError(f"{path} cannot be made: {error.strerror}") from error
        if lock is None:
            raise FetchError(
                "another process fetches this file already", remedy="Wait for it, or stop it first."
            )
        try:
            yield
        finally:
            if path.parent == self.root / INCOMING:  # locks of a hub's cache are shared with huggingface_hub
                path.unlink(missing_ok=True)
            lock.close()

    def _file(self, source: str) -> Path:
        """Return the file of a record, named by a hash: a source may have any characters."""
        return self.root / f"{hashlib.sha256(source.encode()).hexdigest()[:16]}.json"


def size_of(path: Path) -> int:
    """Return the size of a file, 0 when it is not there."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _remove(kept: StoredFile) -> int:
    freed = 0
    data, link = Path(kept.data), Path(kept.path)
    left_over = {kept.arrival, kept.part, kept.part.with_name(f"{kept.part.name}.etag")} - {data}
    for file in left_over if link != data else {*left_over, data}:
        freed += size_of(file)
        file.unlink(missing_ok=True)
    return freed if link == data else freed + remove_from_cache(link, data)
