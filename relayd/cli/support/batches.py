"""The batches that `relayd batch` works with: those of a server, or of a Relay workspace."""

import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from relayd.batch.client.access import address_of
from relayd.batch.client.filebatches import FileBatches, bearer
from relayd.batch.client.lines import json_line
from relayd.batch.client.relay import RelayClient
from relayd.batch.client.values import has_ended, normalized
from relayd.batch.client.wire import BatchAddress, Wire
from relayd.cli.support.control import daemon_client
from relayd.cli.support.output import print_event
from relayd.errors import BatchJobError, BatchServerError, NoDaemonError, UsageError
from relayd.secret import Secret
from relayd.ui.batches import BatchRow, batch_row, folder_row, progress_text

LOOK_SECONDS = 1.0
"""How often a batch is looked at while it is watched."""

_LINE_SHARE = 0.1
_SEARCHED = 1000


class Batches(Protocol):
    """Batches that can be listed, watched, cancelled and read."""

    def every(self, most: int) -> list[BatchRow]:
        """Return the newest batches."""
        ...

    def find(self, name: str) -> BatchRow:
        """Return the batch of an id or a name, asking how it stands."""
        ...

    def document(self, name: str) -> Mapping[str, Any]:
        """Return a batch as its server, or the folder, has it."""
        ...

    def cancel(self, name: str) -> BatchRow:
        """Cancel a batch."""
        ...

    def results(self, name: str, target: IO[bytes], *, failed_only: bool) -> int:
        """Write results as JSON lines, and return how many."""
        ...


class ServedBatches:
    """The batches of a server.

    Args:
        api: Of the server.
    """

    def __init__(self, api: FileBatches) -> None:
        self.api = api

    def __repr__(self) -> str:
        return f"<ServedBatches of {self.api!r}>"

    def every(self, most: int) -> list[BatchRow]:
        """Return the newest batches."""
        return list(map(batch_row, self.api.every(most)))

    def find(self, name: str) -> BatchRow:
        """Return the batch of an id or a name."""
        return batch_row(self.document(name))

    def document(self, name: str) -> dict[str, Any]:
        """Return the batch of an id, of a name that its owner gave it, or of the beginning of an id.

        Raises:
            BatchJobError: There is none, or several begin so.
        """
        if name.startswith("batch") and "/" not in name:
            try:
                return self.api.get(name)
            except BatchServerError as error:
                if error.status not in (400, 404):
                    raise
        known = list(self.api.every(_SEARCHED))
        named = [one for one in known if (one.get("metadata") or {}).get("job_id") == name]
        begun = [one for one in known if str(one["id"]).startswith(name)]
        if named or len(begun) == 1:
            return self.api.get(str((named or begun)[0]["id"]))
        if begun:
            raise BatchJobError(f"{len(begun)} batches begin with {name!r}", remedy="Write more of the id.")
        raise BatchJobError(
            f"there is no batch {name!r}", remedy="`relayd batch list` shows those there are."
        )

    def cancel(self, name: str) -> BatchRow:
        """Cancel a batch.

        Raises:
            BatchJobError: It has ended.
        """
        found = self.find(name)
        if found.is_over:
            raise BatchJobError(f"batch {name} has ended: {found.status}")
        return batch_row(self.api.cancel(found.id))

    def results(self, name: str, target: IO[bytes], *, failed_only: bool) -> int:
        """Write results as JSON lines, and return how many.

        Raises:
            BatchJobError: It has none.
        """
        found = self.document(name)
        names = ("error_file_id",) if failed_only else ("output_file_id", "error_file_id")
        files = [str(found[one]) for one in names if found.get(one)]
        if not files and not failed_only:
            row = batch_row(found)
            why = "; ".join(row.faults) or f"it is {row.status}"
            raise BatchJobError(f"batch {name} has no results: {why}")
        count = 0
        for file in files:
            for line in self.api.lines(file):
                target.write(json_line(line))
                count += 1
        return count


class FolderBatches:
    """The jobs of a Relay workspace.

    Args:
        client: Of the folder.
    """

    def __init__(self, client: RelayClient) -> None:
        self._client = client

    def __repr__(self) -> str:
        return f"<FolderBatches of {self._client!r}>"

    def every(self, most: int) -> list[BatchRow]:
        """Return the newest jobs; no server is asked."""
        jobs = self._client.get_all_jobs()[:most]
        return [folder_row(job, normalized(str(job.get("status", "unknown")))) for job in jobs]

    def find(self, name: str) -> BatchRow:
        """Return a job, after its server was asked how it stands, unless it has ended."""
        document = self.document(name)
        if not has_ended(str(document.get("status", ""))):
            self._client.monitor_batch(name)
            document = self.document(name)
        return folder_row(document, normalized(str(document.get("status", "unknown"))))

    def document(self, name: str) -> dict[str, Any]:
        """Return a job as its file has it.

        Raises:
            BatchJobError: There is none.
        """
        found = self._client.get_job(name)
        if found is None:
            known = ", ".join(self._client.list_jobs()) or "none"
            raise BatchJobError(
                f"job {name} is not in {self._client.directory}", remedy=f"There are: {known}."
            )
        return {**found, "has_results": self._client.has_results(name)}

    def cancel(self, name: str) -> BatchRow:
        """Cancel a job.

        Raises:
            BatchJobError: It has ended.
        """
        if not self._client.cancel_batch(name):
            raise BatchJobError(f"job {name} has ended: {self.document(name).get('status')}")
        return self.find(name)

    def results(self, name: str, target: IO[bytes], *, failed_only: bool) -> int:
        """Write results as JSON lines, and return how many."""
        count = 0
        for line in self._client.retrieve_batch_results(name):
            if not failed_only or is_failure(line):
                target.write(json_line(line))
                count += 1
        return count


def opened(directory: Path | None) -> Batches:
    """Return the batches of a folder, or of the server that is meant.

    Raises:
        UsageError: There is no such folder.
        NoDaemonError: No daemon runs.
    """
    if directory is None:
        return served()
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a folder", remedy="Name the folder that RelayClient was given.")
    return FolderBatches(RelayClient(directory))


def served() -> ServedBatches:
    """Return the batches of the running daemon, or of the server that RELAYD_BASE_URL names.

    Raises:
        NoDaemonError: No daemon runs.
    """
    if os.environ.get("RELAYD_BASE_URL"):
        address = address_of("relayd", os.environ)
    else:
        client = daemon_client()
        report, given = client.status(), client.configuration()
        base = report.url.replace("//0.0.0.0", "//127.0.0.1").replace("//[::]", "//[::1]")
        address = BatchAddress(f"{base}/v1", Secret(given.key), given.certificate)
    return ServedBatches(FileBatches(Wire(address, bearer(address))))


def slots_of(model: str) -> int:
    """Return the slots of a replica of a model of the running daemon; 0 where that is not known."""
    try:
        report = daemon_client().status()
    except NoDaemonError:
        return 0
    return max(
        (replica.slots for one in report.models if one.name == model for replica in one.replicas), default=0
    )


def watched(batches: Batches, name: str, *, as_json: bool, quiet: bool = False) -> BatchRow:
    """Show how a batch gets on until it has ended, and return it.

    On a terminal a line moves; elsewhere one is printed for each state and each tenth; as JSON one for each
    change.
    """
    row = batches.find(name)
    slots = slots_of(row.model) if row.model else 0
    rows = _until_over(batches, name, row)
    if as_json:
        return _printed(rows, lambda one: print_event(shown_json(one)))
    if quiet:
        return _printed(rows, lambda _: None)
    if not Console(stderr=True).is_terminal:
        return _printed(_tenths(rows), lambda one: print(progress_text(one, slots, 200), file=sys.stderr))
    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:
        return _printed(
            rows,
            lambda one: live.update(
                Text(progress_text(one, slots, shutil.get_terminal_size().columns - 1)), refresh=True
            ),
        )


def shown_json(row: BatchRow) -> dict[str, Any]:
    """Return a batch as `--json` prints it."""
    names = [name for name in BatchRow.__dataclass_fields__ if name != "notes"]
    return {name: getattr(row, name) for name in names} | {"notes": dict(row.notes)}


def is_failure(line: Mapping[str, Any]) -> bool:
    """Return whether a result is that of a failed request, in the form of any provider."""
    if "result" in line:
        return (line["result"] or {}).get("type") != "succeeded"
    status = (line.get("response") or {}).get("status_code")
    return bool(line.get("error")) or not (isinstance(status, int) and 200 <= status < 300)


def _until_over(batches: Batches, name: str, row: BatchRow) -> Iterator[BatchRow]:
    """Yield a batch now and whenever it has changed, at the latest as it has ended."""
    pause = threading.Event()
    yield row
    while not row.is_over:
        pause.wait(LOOK_SECONDS)
        before, row = row, batches.find(name)
        if row != before:
            yield row


def _tenths(rows: Iterator[BatchRow]) -> Iterator[BatchRow]:
    """Yield those of them that are in another state, or a tenth further."""
    shown: BatchRow | None = None
    last: BatchRow | None = None
    for last in rows:
        step = last.done - (shown.done if shown else 0)
        if shown is None or last.status != shown.status or step >= _LINE_SHARE * (last.total or 1):
            shown = last
            yield last
    if last is not None and last is not shown:
        yield last


def _printed(rows: Iterator[BatchRow], print_one: Callable[[BatchRow], object]) -> BatchRow:
    """Print each, and return the last."""
    last: BatchRow | None = None
    for last in rows:
        print_one(last)
    if last is None:
        raise AssertionError("a batch that is watched is shown at least once")
    return last
