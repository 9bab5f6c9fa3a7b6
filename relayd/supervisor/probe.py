"""Is a replica loading, ready, silent, or another process (health and identity probe)?"""

import json
import re
from enum import Enum
from typing import Protocol

from relayd.endpoint import Endpoint
from relayd.supervisor.stall import NO_ANSWER

_COUNTERS = re.compile(r"^llamacpp:(?:n_decode_total|prompt_tokens_total) (\S+)$", re.MULTILINE)

_FIGURES = re.compile(
    r"^llamacpp:(n_decode_total|prompt_tokens_total|prompt_seconds_total) (\S+)$", re.MULTILINE
)


class Fetch(Protocol):
    """Reads one path of a replica, over a connection that no client's request uses."""

    async def __call__(
        self, endpoint: Endpoint, path: str, *, with_key: bool, timeout_seconds: float
    ) -> tuple[int, bytes]:
        """Return status and body.

        Raises:
            OSError: There was no answer in time, or none that is HTTP.
        """
        ...


class ProbeResult(Enum):
    """What one probe of a replica found."""

    SILENT = "silent"
    LOADING = "loading"
    READY = "ready"
    IMPOSTOR = "impostor"


class Prober:
    """Probes one incarnation.

    Args:
        endpoint: Where it answers, and its key.
        fetch: Reads from it.
        timeout_seconds: How long an answer may take.
    """

    def __init__(self, endpoint: Endpoint, fetch: Fetch, *, timeout_seconds: float) -> None:
        self._endpoint = endpoint
        self._fetch = fetch
        self._timeout_seconds = timeout_seconds

    async def health(self) -> ProbeResult:
        """Return whether it answers, and whether it is still loading.

        `/health` needs no key and does not touch the inference thread: it proves that the
        process listens, not who it is.
        """
        status, body = await self._get("/health", with_key=False)
        if status == 200 and body.get("status") == "ok":
            return ProbeResult.READY
        return ProbeResult.SILENT if status is None else ProbeResult.LOADING

    async def identity(self) -> ProbeResult:
        """Return READY only if this process was started with our key.

        `/props` answers 401 without the key and 200 with it; a stranger on our address can
        do one of the two, not both.
        """
        refused, _ = await self._get("/props", with_key=False)
        accepted, _ = await self._get("/props", with_key=True)
        if refused is None or accepted is None:
            return ProbeResult.SILENT
        return ProbeResult.READY if (refused, accepted) == (401, 200) else ProbeResult.IMPOSTOR

    async def counters(self) -> tuple[float, ...] | None:
        """Return what moves while it works: decodes, and prompt tokens read; None if it reports none."""
        status, text = await self._read("/metrics", with_key=True)
        if status is None:
            return NO_ANSWER
        found = [float(value) for value in _COUNTERS.findall(text)]
        return tuple(found) if status == 200 and found else None

    async def decoding(self, batch: int) -> tuple[float | None, float] | None:
        """Return how many decodes it has made, and the seconds that a batch of so many tokens takes it.

        None if it reports none; no decodes if it does not answer. The seconds are 0 where they are not known.
        """
        status, text = await self._read("/metrics", with_key=True)
        if status is None:
            return None, 0.0
        found = {name: float(value) for name, value in _FIGURES.findall(text)}
        if status != 200 or "n_decode_total" not in found:
            return None
        tokens, seconds = found.get("prompt_tokens_total", 0.0), found.get("prompt_seconds_total", 0.0)
        return found["n_decode_total"], batch * seconds / tokens if tokens else 0.0

    async def _get(self, path: str, *, with_key: bool) -> tuple[int | None, dict[str, object]]:
        status, text = await self._read(path, with_key=with_key)
        return status, _parse(text)

    async def _read(self, path: str, *, with_key: bool) -> tuple[int | None, str]:
        """Return status and text; no status when nothing answered."""
        try:
            status, body = await self._fetch(
                self._endpoint, path, with_key=with_key, timeout_seconds=self._timeout_seconds
            )
        except OSError:
            return None, ""
        return status, body.decode("utf-8", "replace")


def _parse(body: str) -> dict[str, object]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
