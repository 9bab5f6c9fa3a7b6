"""Where are uploads and batches on disk, and is there room for more (layout, free space)?

    <state>/batches/files/file-…        an upload
    <state>/batches/files/.file-….part  one that still arrives; removed at start
    <state>/batches/batch_…/input       its lines: the upload under a second name, so that either may go first
                          …/lines       where each line stands in it, in the order of running (`lines`)
                          …/output      results, each a line of JSON
                          …/errors      likewise, of the lines that failed
                          …/journal     which of them count (`journal`)

Everything here blocks.
"""

import contextlib
import errno
import os
import shutil
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

from relayd.errors import StateError, StorageFullError
from relayd.files import private_folder, sync_folder
from relayd.units import Bytes, show_bytes

_PART = ".part"
_LOOK_BYTES = 64 * 2**20
"""How often the free space is looked at while a file arrives."""


@dataclass(frozen=True, slots=True)
class BatchPaths:
    """The files of one batch."""

    folder: Path

    @property
    def input(self) -> Path:
        """Its lines."""
        return self.folder / "input"

    @property
    def lines(self) -> Path:
        """Where each of them stands."""
        return self.folder / "lines"

    @property
    def output(self) -> Path:
        """Its results."""
        return self.folder / "output"

    @property
    def errors(self) -> Path:
        """The results of lines that failed."""
        return self.folder / "errors"

    @property
    def journal(self) -> Path:
        """Which results count."""
        return self.folder / "journal"


class BatchFolder:
    """The folder of all uploads and batches.

    Args:
        path: It, made when it is first needed.
        free_bytes: How much of the disk stays free.
    """

    def __init__(self, path: Path, free_bytes: Bytes) -> None:
        self.path = path
        self.free_bytes = free_bytes

    def __repr__(self) -> str:
        return f"<BatchFolder {self.path}>"

    def open(self) -> None:
        """Remove what was left of uploads that never ended.

        Raises:
            StateError: The folder cannot be used.
        """
        if not self.path.exists():
            return
        for part in self._files().glob(f".*{_PART}"):
            with contextlib.suppress(OSError):
                part.unlink()

    def remove_orphans(self, uploads: Container[str], batches: Container[str]) -> int:
        """Remove uploads and batches that no row names, and return how many.

        Args:
            uploads: The uploads that rows name.
            batches: The batches.
        """
        if not self.path.exists():
            return 0
        lost = [one for one in self._files().iterdir() if one.name not in uploads and one.suffix != _PART]
        folders = [one for one in self.path.iterdir() if one.name != "files" and one.name not in batches]
        for file in lost:
            self.remove_upload(file.name)
        for folder in folders:
            self.remove_batch(folder.name)
        return len(lost) + len(folders)

    def of(self, batch: str) -> BatchPaths:
        """Return the files of a batch."""
        return BatchPaths(self.path / batch)

    def upload(self, file: str) -> Path:
        """Return where an upload is."""
        return self.path / "files" / file

    def check_room(self, size: int) -> None:
        """Refuse what would leave too little of the disk.

        Raises:
            StorageFullError: It would.
        """
        private_folder(self.path)
        left = self.free_now() - size
        if left < self.free_bytes:
            raise StorageFullError(
                f"{show_bytes(Bytes(size))} do not fit: {show_bytes(self.free_bytes)} of the disk stay free.",
                remedy="Free some of the disk, or lower batches.free_mib.",
            )

    def free_now(self) -> int:
        """Return how many bytes of the disk are free."""
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def receive(self, file: str) -> "Receiving":
        """Begin to take an upload.

        Raises:
            StateError: It cannot be written.
        """
        return Receiving(self, file, self._files() / f".{file}{_PART}")

    def begin(self, batch: str, upload: str) -> BatchPaths:
        """Make the folder of a batch whose lines are an upload.

        Raises:
            StateError: It cannot be made.
            FileNotFoundError: The upload is gone.
        """
        paths = self.of(batch)
        private_folder(self.path)
        with written(paths.folder):
            private_folder(paths.folder)
            os.link(self.upload(upload), paths.input)
            sync_folder(paths.folder)
            sync_folder(self.path)
        return paths

    def remove_upload(self, file: str) -> None:
        """Remove an upload; one that is gone is removed."""
        with contextlib.suppress(OSError):
            self.upload(file).unlink()

    def remove_batch(self, batch: str) -> None:
        """Remove all files of a batch."""
        shutil.rmtree(self.of(batch).folder, ignore_errors=True)

    def _files(self) -> Path:
        private_folder(self.path)
        return private_folder(self.path / "files")


class Receiving:
    """An upload that arrives; `keep` or `drop` ends it.

    Args:
        folder: Where it goes.
        file: Its id.
        path: Where it is until it is whole.

    Attributes:
        path: Likewise.
        size: Bytes so far.
    """

    def __init__(self, folder: BatchFolder, file: str, path: Path) -> None:
        self.size = 0
        self._folder = folder
        self._file = file
        self.path = path
        self._looked = 0
        with written(path):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._descriptor = os.open(path, flags, 0o600)

    def __repr__(self) -> str:
        return f"<Receiving {self._file} {self.size} bytes>"

    def add(self, data: bytes) -> None:
        """Write the next bytes.

        Raises:
            StorageFullError: There is no room for them.
            StateError: They cannot be written.
        """
        if self.size + len(data) - self._looked >= _LOOK_BYTES:
            self._looked = self.size
            self._folder.check_room(_LOOK_BYTES)
        with written(self.path):
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]
        self.size += len(data)

    def keep(self) -> None:
        """Have it be an upload, on disk when this returns.

        Raises:
            StateError: It cannot be written.
        """
        with written(self.path):
            os.fsync(self._descriptor)
            os.close(self._descriptor)
            self.path.rename(self._folder.upload(self._file))
            sync_folder(self.path.parent)

    def drop(self) -> None:
        """Forget it."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
        with contextlib.suppress(OSError):
            self.path.unlink()


@contextlib.contextmanager
def written(path: Path) -> Iterator[None]:
    """Raise what the system refuses as an error of relayd.

    Raises:
        StorageFullError: The disk is full.
        StateError: Anything else.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if is_full(error):
            raise StorageFullError(
                f"The disk of {path.parent} is full.", remedy="Free some of it: `relayd batch gc`."
            ) from error
        raise StateError(f"{path} cannot be written: {error.strerror}") from error


def is_full(error: OSError) -> bool:
    """Return whether an error means that there is no room on the disk, or none for this user."""
    return error.errno in _FULL


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
