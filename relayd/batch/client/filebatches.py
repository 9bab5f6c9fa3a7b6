"""Batches as files, the API of OpenAI that relayd serves too: files in, batches, files out."""

import contextlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from relayd.batch.client.faults import shown_url
from relayd.batch.client.lines import CHAT, RESPONSES, batch_line, json_line
from relayd.batch.client.values import BatchRequest, Standing
from relayd.batch.client.wire import BatchAddress, Wire
from relayd.errors import BatchServerError

INPUT_NAME = "requests.jsonl"
"""The name of an uploaded file."""

MOST_METADATA_CHARACTERS = 512
"""The longest value of metadata that OpenAI takes."""

_MEMORY_BYTES = 16 << 20
_PAGE = 100


class FileBatches:
    """The calls of `/files` and `/batches`.

    Args:
        wire: Its base address ends with `/v1`.
    """

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    def __repr__(self) -> str:
        return f"<FileBatches over {self.wire!r}>"

    def upload(self, file: Path, name: str = INPUT_NAME) -> str:
        """Return the id of a file of requests, uploaded."""
        return str(self._field(self.wire.upload("/files", {"purpose": "batch"}, name, file), "id"))

    def create(self, file: str, endpoint: str, window: str, metadata: Mapping[str, str]) -> dict[str, Any]:
        """Return a new batch of an uploaded file."""
        asked = {
            "input_file_id": file,
            "endpoint": endpoint,
            "completion_window": window,
            "metadata": {name: text[:MOST_METADATA_CHARACTERS] for name, text in metadata.items() if text},
        }
        return self.wire.call("POST", "/batches", asked, repeatable=False)

    def get(self, batch: str) -> dict[str, Any]:
        """Return a batch."""
        return self.wire.call("GET", f"/batches/{batch}")

    def cancel(self, batch: str) -> dict[str, Any]:
        """Cancel a batch, and return it."""
        return self.wire.call("POST", f"/batches/{batch}/cancel", {})

    def every(self, most: int | None = None) -> Iterator[dict[str, Any]]:
        """Yield batches, the newest first, page by page."""
        after, count = "", 0
        while True:
            page = self.wire.call("GET", f"/batches?limit={_PAGE}{after}")
            for one in page.get("data") or ():
                yield one
                count += 1
                after = f"&after={one['id']}"
                if count == most:
                    return
            if not page.get("has_more"):
                return

    def save(self, file: str, target: IO[bytes]) -> None:
        """Write the content of a file of the server to one that is open for writing."""
        self.wire.read_into(f"/files/{file}/content", target)

    def lines(self, file: str) -> Iterator[dict[str, Any]]:
        """Yield the documents of a file of the server, once all of it is here.

        Raises:
            BatchServerError: It cannot be had, or a line is not a JSON object.
        """
        with tempfile.SpooledTemporaryFile(_MEMORY_BYTES) as spool:
            self.wire.read_into(f"/files/{file}/content", spool)
            spool.seek(0)
            yield from documents(spool, f"file {file} of {shown_url(self.wire.address.base_url)}")

    @staticmethod
    def _field(document: Mapping[str, Any], name: str) -> Any:
        if not document.get(name):
            raise BatchServerError(f"an answer of the server lacks {name!r}")
        return document[name]


class OpenAIProvider:
    """Batches of OpenAI, or of a server with the same API.

    Args:
        wire: Of the server.
        endpoint: What the lines are for.
    """

    def __init__(self, wire: Wire, endpoint: str = RESPONSES) -> None:
        self._api = FileBatches(wire)
        self._endpoint = endpoint

    def __repr__(self) -> str:
        return f"<OpenAIProvider for {self._endpoint} over {self._api!r}>"

    def submit(self, requests: Sequence[BatchRequest], window: str, metadata: Mapping[str, str]) -> Standing:
        """Upload the requests, and return their batch."""
        with written(json_line(batch_line(one, self._endpoint)) for one in requests) as file:
            uploaded = self._api.upload(file)
        return file_standing(self._api.create(uploaded, self._endpoint, window, metadata))

    def monitor(self, batch: str) -> Standing:
        """Return how a batch stands."""
        return file_standing(self._api.get(batch))

    def results(self, standing: Standing) -> list[dict[str, Any]]:
        """Return the results of a batch, those of failed requests among them."""
        return [line for file in standing.results for line in self._api.lines(file)]

    def cancel(self, batch: str) -> Standing:
        """Cancel a batch."""
        return file_standing(self._api.cancel(batch))


@contextlib.contextmanager
def written(pieces: Iterable[bytes]) -> Iterator[Path]:
    """Lend a temporary file of what is given, in the system's folder for such."""
    with tempfile.TemporaryDirectory(prefix="relayd-batch-") as folder:
        path = Path(folder) / INPUT_NAME
        with path.open("wb") as file:
            file.writelines(pieces)
        yield path


def documents(lines: Iterable[bytes], where: str) -> Iterator[dict[str, Any]]:
    """Yield the objects of JSON lines.

    Raises:
        BatchServerError: A line is none.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise BatchServerError(f"line {number} of {where} is not a JSON object")
        yield found


def file_standing(batch: Mapping[str, Any]) -> Standing:
    """Return how a batch stands, as the server writes it."""
    counts = batch.get("request_counts") or {}
    faults = (batch.get("errors") or {}).get("data") or ()
    return Standing(
        str(batch.get("id") or ""),
        str(batch.get("status") or "unknown"),
        counts.get("total"),
        counts.get("completed"),
        counts.get("failed"),
        None,
        tuple(str(batch[name]) for name in ("output_file_id", "error_file_id") if batch.get(name)),
        tuple(map(fault_text, faults)),
    )


def fault_text(fault: Mapping[str, Any]) -> str:
    """Return why a line, or a whole file, was refused."""
    line = f"line {fault['line']}: " if fault.get("line") is not None else ""
    return f"{line}{fault.get('message') or fault.get('code') or 'refused'}"


def chat_provider(address: BatchAddress) -> OpenAIProvider:
    """Return a provider whose lines are chat completions."""
    return OpenAIProvider(Wire(address, bearer(address)), CHAT)


def bearer(address: BatchAddress) -> dict[str, str]:
    """Return the header that shows a key."""
    return {"Authorization": f"Bearer {address.key.reveal()}"} if address.key else {}
