"""Batches of Together: chat completions, and an upload by way of an address that its API names."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from relayd.batch.client.filebatches import INPUT_NAME, FileBatches, written
from relayd.batch.client.lines import CHAT, batch_line, json_line
from relayd.batch.client.values import BatchRequest, Standing
from relayd.batch.client.wire import Wire, pieces
from relayd.errors import BatchServerError

PURPOSE = "batch-api"
"""What Together calls files of batches."""

_FILE_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


class TogetherProvider:
    """Batches of Together, or of a server with the same API.

    Args:
        wire: Its base address ends with `/v1`.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._api = FileBatches(wire)

    def __repr__(self) -> str:
        return f"<TogetherProvider over {self._wire!r}>"

    def submit(self, requests: Sequence[BatchRequest], window: str, metadata: Mapping[str, str]) -> Standing:  # noqa: ARG002 - as Provider has it
        """Upload the requests, and return their batch; its API takes no metadata.

        Args:
            requests: What is asked.
            window: How long it may take; sent where it is not the usual one, as not every version takes it.
            metadata: Not sent.
        """
        with written(json_line(batch_line(one, CHAT)) for one in requests) as file:
            uploaded = self._uploaded(file)
        asked = {"input_file_id": uploaded, "endpoint": CHAT}
        if window != "24h":
            asked["completion_window"] = window
        return _standing(self._wire.call("POST", "/batches", asked, repeatable=False))

    def monitor(self, batch: str) -> Standing:
        """Return how a batch stands; its API does not count requests."""
        return _standing(self._api.get(batch))

    def results(self, standing: Standing) -> list[dict[str, Any]]:
        """Return the results of a batch, those of failed requests among them."""
        return [line for file in standing.results for line in self._api.lines(file)]

    def cancel(self, batch: str) -> Standing:
        """Cancel a batch."""
        return _standing(self._api.cancel(batch))

    def _uploaded(self, file: Path) -> str:
        """Return the id of a file: announced, sent to the address in the answer, and declared complete.

        Raises:
            BatchServerError: The answer names no file, or no address that may be sent to.
        """
        form = urlencode({"purpose": PURPOSE, "file_name": INPUT_NAME, "file_type": "jsonl"}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        reply = self._wire.send("POST", "/files", lambda: [form], headers)
        found = {name.lower(): value for name, value in reply.headers.items()}
        if reply.status == 200:
            return str(self._wire.document(reply, "/files").get("id"))
        name, target = found.get("x-together-file-id", ""), found.get("location", "")
        if not _FILE_ID.fullmatch(name) or not self._may_receive(target):
            raise BatchServerError(
                f"the server answered the upload with {reply.status} and names no file and address for it",
                status=reply.status,
            )
        size = {"Content-Length": str(file.stat().st_size), "Content-Type": "application/octet-stream"}
        self._wire.send("PUT", target, lambda: pieces(file), size)
        self._wire.call("POST", f"/files/{name}/preprocess", {})
        return name

    def _may_receive(self, target: str) -> bool:
        """Return whether prompts may be sent to an address: encrypted, or on the server itself."""
        return urlsplit(target).scheme == "https" or ("://" in target and self._wire.address.is_own(target))


def _standing(answer: Mapping[str, Any]) -> Standing:
    """Return how a batch stands; a new one is wrapped in `job`."""
    batch = answer.get("job") or answer
    share = batch.get("progress")
    error = batch.get("error")
    return Standing(
        str(batch.get("id") or ""),
        str(batch.get("status") or "unknown").lower(),
        share=float(share) / 100 if isinstance(share, int | float) else None,
        results=tuple(str(batch[name]) for name in ("output_file_id", "error_file_id") if batch.get(name)),
        faults=(str(error),) if error else (),
    )
