"""The folder of a batch client: `JOB.json` and `JOB_results.json`, as Relay writes and reads them."""

import contextlib
import fcntl
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from relayd.errors import BatchJobError, StateError
from relayd.files import expanded, write_atomic

_RESULTS = "_results"
_NEW = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,128}")
_PRIVATE = 0o600


class Workspace:
    """Jobs and results in a folder, each file replaced as a whole.

    Args:
        directory: The folder; it is made.

    Raises:
        StateError: It cannot be made.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = expanded(directory)  # type: ignore[arg-type]  # a PathLike of text
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StateError(f"{directory} cannot be used as a folder: {error.strerror}") from error

    def __repr__(self) -> str:
        return f"<Workspace {self.directory}>"

    def names(self) -> list[str]:
        """Return the ids of all jobs, sorted.

        Raises:
            StateError: The folder cannot be read.
        """
        try:
            found = [path for path in self.directory.iterdir() if path.suffix == ".json" and path.is_file()]
        except OSError as error:
            raise StateError(f"{self.directory} cannot be read: {error.strerror}") from error
        return sorted(path.stem for path in found if not path.stem.endswith(_RESULTS))

    def job(self, job: str) -> dict[str, Any] | None:
        """Return what is kept of a job; None where there is none, or its file makes no sense."""
        found = _read(self._file(job))
        return found if isinstance(found, dict) else None

    def known(self, job: str) -> dict[str, Any]:
        """Return what is kept of a job.

        Raises:
            BatchJobError: There is none, or its file makes no sense.
        """
        found = self.job(job)
        if found is not None and found.get("provider"):
            return found
        if self._file(job).exists():
            raise BatchJobError(
                f"{self._file(job)} is not the file of a job",
                remedy="Move it out of the folder, or repair it.",
            )
        raise BatchJobError(
            f"job {job} is not in {self.directory}", remedy=f"There are: {', '.join(self.names()) or 'none'}."
        )

    def save(self, job: str, document: dict[str, Any]) -> None:
        """Write what is known of a job.

        Raises:
            StateError: The folder cannot be written.
        """
        _write(self._file(job), document)

    def results(self, job: str) -> list[dict[str, Any]] | None:
        """Return the results that are kept; None where there are none, or their file makes no sense."""
        found = _read(self._file(job + _RESULTS))
        return found if isinstance(found, list) else None

    def has_results(self, job: str) -> bool:
        """Return whether results are kept."""
        return self._file(job + _RESULTS).exists()

    def save_results(self, job: str, results: list[dict[str, Any]]) -> None:
        """Write results.

        Raises:
            StateError: The folder cannot be written.
        """
        _write(self._file(job + _RESULTS), results)

    def drop_results(self, job: str) -> None:
        """Remove the results of an earlier job of this id."""
        self._file(job + _RESULTS).unlink(missing_ok=True)

    @contextlib.contextmanager
    def submitting(self, job: str) -> Iterator[None]:
        """Keep the id of a new job from other processes while the block runs.

        Raises:
            BatchJobError: Another one submits it, or it is not an id for a new job.
        """
        if not _NEW.fullmatch(job) or job.endswith(_RESULTS):
            raise BatchJobError(
                f"{job!r} is not an id for a job",
                remedy="Take letters, digits, `-`, `_` and `.`, at most 128, and no `_results` at the end.",
            )
        path = self.directory / f".{job}.lock"
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, _PRIVATE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
            path.unlink(missing_ok=True)
        except BlockingIOError as error:
            raise BatchJobError(f"job {job} is being submitted by another process") from error
        finally:
            os.close(descriptor)

    def _file(self, name: str) -> Path:
        """Return the file of a name, which Relay may have given: anything but a path.

        Raises:
            BatchJobError: It leads out of the folder.
        """
        if not name or name.startswith(".") or any(sign in name for sign in ("/", "\\", "\0")):
            raise BatchJobError(f"{name!r} is not the id of a job")
        return self.directory / f"{name}.json"


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def _write(path: Path, document: object) -> None:
    """Replace a file; it stays readable for whom it was."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        mode = _PRIVATE
    write_atomic(path, json.dumps(document, indent=2, ensure_ascii=False).encode(), mode=mode)
