"""Batches of Anthropic's Messages API, which relayd serves too."""

import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from relayd.batch.client.faults import shown_url
from relayd.batch.client.filebatches import documents
from relayd.batch.client.lines import message_params
from relayd.batch.client.values import BatchRequest, Standing
from relayd.batch.client.wire import BatchAddress, Wire

VERSION = "2023-06-01"
"""Of the API."""

_PATH = "/v1/messages/batches"
_MEMORY_BYTES = 16 << 20
_FAILED = ("errored", "expired")


class AnthropicProvider:
    """Batches of Anthropic, or of a server with the same API.

    Args:
        wire: Its base address ends before `/v1`.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def __repr__(self) -> str:
        return f"<AnthropicProvider over {self._wire!r}>"

    def submit(self, requests: Sequence[BatchRequest], window: str, metadata: Mapping[str, str]) -> Standing:  # noqa: ARG002 - as Provider has it
        """Return the batch of requests; its API takes neither a window nor metadata."""
        asked = {"requests": [{"custom_id": one.id, "params": message_params(one)} for one in requests]}
        return _standing(self._wire.call("POST", _PATH, asked, repeatable=False))

    def monitor(self, batch: str) -> Standing:
        """Return how a batch stands."""
        return _standing(self._wire.call("GET", f"{_PATH}/{batch}"))

    def results(self, standing: Standing) -> list[dict[str, Any]]:
        """Return the results of a batch, those of failed requests among them."""
        path = standing.results[0] if standing.results else f"{_PATH}/{standing.id}/results"
        with tempfile.SpooledTemporaryFile(_MEMORY_BYTES) as spool:
            self._wire.read_into(path, spool)
            spool.seek(0)
            return list(documents(spool, f"the results at {shown_url(self._wire.address.url(path))}"))

    def cancel(self, batch: str) -> Standing:
        """Cancel a batch."""
        return _standing(self._wire.call("POST", f"{_PATH}/{batch}/cancel", {}))


def message_headers(address: BatchAddress) -> dict[str, str]:
    """Return the headers that show version and key."""
    key = {"x-api-key": address.key.reveal()} if address.key else {}
    return {"anthropic-version": VERSION, **key}


def _standing(batch: Mapping[str, Any]) -> Standing:
    """Return how a batch stands; one that ended because it was cancelled is cancelled."""
    counts = {name: int(count) for name, count in (batch.get("request_counts") or {}).items()}
    status = str(batch.get("processing_status") or "unknown")
    if status == "ended" and counts.get("canceled") and batch.get("cancel_initiated_at"):
        status = "cancelled"
    return Standing(
        str(batch.get("id") or ""),
        status,
        sum(counts.values()),
        counts.get("succeeded", 0),
        sum(counts.get(name, 0) for name in _FAILED),
        results=(str(batch["results_url"]),) if batch.get("results_url") else (),
    )
