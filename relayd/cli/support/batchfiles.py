"""Files of `relayd batch`: what is sent, what failed, and results in the form that is asked for."""

import contextlib
import csv
import io
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from relayd.batch.client.filebatches import INPUT_NAME
from relayd.batch.client.inputs import InputPlan, request_lines
from relayd.batch.client.lines import json_line
from relayd.cli.support.batches import Batches, ServedBatches, is_failure
from relayd.errors import BatchJobError, OutputError
from relayd.ui.batches import BatchRow, batch_row

_FIRST_BYTES = 4096


@dataclass(frozen=True, slots=True)
class PreparedInput:
    """A file that can be uploaded.

    Attributes:
        file: Where it is.
        endpoint: What its requests are for; "" for several.
        count: How many they are.
    """

    file: Path
    endpoint: str
    count: int


@contextlib.contextmanager
def input_of(file: Path, plan: InputPlan, stdin: IO[bytes]) -> Iterator[PreparedInput]:
    """Lend a file of requests made of an input; `-` is standard input.

    Raises:
        UsageError: The input cannot be read, or has faults.
    """
    with tempfile.TemporaryDirectory(prefix="relayd-batch-") as folder:
        source, target = file, Path(folder) / INPUT_NAME
        if str(file) == "-":
            source = _copied(stdin, Path(folder))
        endpoints, count = set[str](), 0
        with target.open("wb") as opened:
            for line in request_lines(source, plan):
                opened.write(line.raw)
                endpoints.add(line.url)
                count += 1
        yield PreparedInput(target, endpoints.pop() if len(endpoints) == 1 else "", count)


def submitted(
    batches: ServedBatches, prepared: PreparedInput, name: str, window: str, metadata: Mapping[str, str]
) -> BatchRow:
    """Upload a file of requests, and return its new batch.

    Raises:
        BatchJobError: A batch of this name is in progress.
    """
    if name:
        running = [row for row in batches.every(1000) if row.name == name and not row.is_over]
        if running:
            raise BatchJobError(
                f"a batch called {name!r} is {running[0].status} ({running[0].id})",
                remedy="Take another --id, or wait for it: `relayd batch watch`.",
            )
    file = batches.api.upload(prepared.file)
    return batch_row(batches.api.create(file, prepared.endpoint, window, {"job_id": name, **metadata}))


def failed_requests(batches: ServedBatches, batch: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield the lines of a batch whose requests failed or were not run.

    Raises:
        BatchJobError: It has not ended, or was refused as a whole.
    """
    row = batch_row(batch)
    if not row.is_over:
        raise BatchJobError(
            f"batch {row.id} has not ended: it is {row.status}", remedy="Wait, or cancel it first."
        )
    if row.faults:
        raise BatchJobError(
            f"batch {row.id} was refused: {row.faults[0]}", remedy="Mend its file, and submit that."
        )
    failed = set[str]()
    if batch.get("error_file_id"):
        failed = {str(line.get("custom_id")) for line in batches.api.lines(str(batch["error_file_id"]))}
    if failed:
        for line in batches.api.lines(str(batch["input_file_id"])):
            if line.get("custom_id") in failed:
                yield json_line(line)


def results_into(batches: Batches, name: str, target: IO[bytes], form: str, *, failed_only: bool) -> int:
    """Write results, and return how many.

    Args:
        batches: Where the batch is.
        name: Its id or name.
        target: Where they go.
        form: `jsonl`, `json` or `csv`.
        failed_only: Whether only those of failed requests are meant.
    """
    if form == "jsonl":
        return batches.results(name, target, failed_only=failed_only)
    with tempfile.TemporaryFile() as spool:
        count = batches.results(name, spool, failed_only=failed_only)
        spool.seek(0)
        target.writelines(_as_csv(spool) if form == "csv" else _as_array(spool))
    return count


def save_results(batches: Batches, name: str, output: Path, form: str, *, failed_only: bool) -> int:
    """Write results to a file that appears when it is whole, and return how many.

    Raises:
        OutputError: It cannot be written.
    """
    try:
        descriptor, made = tempfile.mkstemp(prefix=f".{output.name}.", dir=output.parent)
        part = Path(made)
        try:
            with os.fdopen(descriptor, "wb") as opened:
                count = results_into(batches, name, opened, form, failed_only=failed_only)
                opened.flush()
                os.fsync(opened.fileno())
            part.replace(output)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{output} cannot be written: {error.strerror}") from error
    return count


def text_of(line: Mapping[str, Any]) -> str:
    """Return the text of a result, in the form of any provider; "" where it has none."""
    if "result" in line:
        body = (line["result"] or {}).get("message") or {}
    else:
        body = (line.get("response") or {}).get("body") or {}
    try:
        if "choices" in body:
            choice = body["choices"][0]
            return str(choice["text"] if "text" in choice else choice["message"]["content"] or "")
        blocks = body.get("content") or [
            part for one in body.get("output") or () for part in one.get("content") or ()
        ]
        return "".join(str(one.get("text") or "") for one in blocks)
    except (LookupError, TypeError, AttributeError):
        return ""


def error_of(line: Mapping[str, Any]) -> str:
    """Return why a request failed; "" where it did not."""
    if not is_failure(line):
        return ""
    found: Any = (
        line.get("error")
        or (line.get("result") or {}).get("error")
        or ((line.get("response") or {}).get("body") or {}).get("error")
        or (line.get("result") or {}).get("type")
        or "failed"
    )
    while isinstance(found, dict):
        found = found.get("error") or found.get("message") or found.get("code") or "failed"
    return str(found)


def _as_csv(lines: Iterable[bytes]) -> Iterator[bytes]:
    yield _csv_line("custom_id", "status", "text", "error")
    for line in map(json.loads, lines):
        response, result = line.get("response") or {}, line.get("result") or {}
        status = response.get("status_code") or result.get("type") or ""
        yield _csv_line(str(line.get("custom_id")), str(status), text_of(line), error_of(line))


def _csv_line(*cells: str) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().encode()


def _as_array(lines: Iterable[bytes]) -> Iterator[bytes]:
    before = b"[\n"
    for line in lines:
        yield before + b"  " + line.rstrip()
        before = b",\n"
    yield b"\n]\n" if before != b"[\n" else b"[]\n"


def _copied(stdin: IO[bytes], folder: Path) -> Path:
    """Return a file with what standard input has: JSON lines if it begins so, else a text."""
    first = stdin.read(_FIRST_BYTES)
    name = "stdin.jsonl" if first.lstrip().startswith(b"{") else "stdin.txt"
    path = folder / name
    with path.open("wb") as file:
        piece = first
        while piece:
            file.write(piece)
            piece = stdin.read(1 << 18)
    return path
