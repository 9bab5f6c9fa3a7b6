"""Is a replica loading, ready, silent, or somebody else?"""

import json
import re
from enum import Enum

import aiohttp

from relayd.endpoint import Endpoint, UnixAddress

_MOST_BYTES = 1 << 20
_COUNTERS = re.compile(r"^llamacpp:(?:n_decode_total|prompt_tokens_total) (\S+)$", re.MULTILINE)


class Answer(Enum):
    """What one look at a replica told."""

    SILENT = "silent"
    LOADING = "loading"
    READY = "ready"
    IMPOSTOR = "impostor"


class Prober:
    """Asks one incarnation how it is, over a connection of its own.

    Args:
        endpoint: Where it answers, and its key.
        timeout_seconds: How long an answer may take.
    """

    def __init__(self, endpoint: Endpoint, *, timeout_seconds: float) -> None:
        self._key = endpoint.key
        address = endpoint.address
        connector: aiohttp.BaseConnector
        if isinstance(address, UnixAddress):
            self._base = "http://localhost"
            connector = aiohttp.UnixConnector(str(address.path), force_close=True)
        else:
            self._base = f"http://{address.host}:{address.port}"
            connector = aiohttp.TCPConnector(force_close=True)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=timeout_seconds),
            trust_env=False,
        )

    async def health(self) -> Answer:
        """Return whether it answers, and whether it is still loading.

        `/health` needs no key and does not touch the inference thread: it proves that the
        process listens, not who it is.
        """
        status, body = await self._get("/health", authorized=False)
        if status == 200 and body.get("status") == "ok":
            return Answer.READY
        return Answer.SILENT if status is None else Answer.LOADING

    async def identity(self) -> Answer:
        """Return READY only if this process was started with our key.

        `/props` answers 401 without the key and 200 with it; a stranger on our address can
        do one of the two, not both.
        """
        refused, _ = await self._get("/props", authorized=False)
        accepted, _ = await self._get("/props", authorized=True)
        if refused is None or accepted is None:
            return Answer.SILENT
        return Answer.READY if (refused, accepted) == (401, 200) else Answer.IMPOSTOR

    async def counters(self) -> tuple[float, ...] | None:
        """Return what moves while it works: decodes, and prompt tokens read; None if it does not tell."""
        status, text = await self._fetch("/metrics", authorized=True)
        found = [float(value) for value in _COUNTERS.findall(text)]
        return tuple(found) if status == 200 and found else None

    async def close(self) -> None:
        """Close the connection."""
        await self._session.close()

    async def _get(self, path: str, *, authorized: bool) -> tuple[int | None, dict[str, object]]:
        status, text = await self._fetch(path, authorized=authorized)
        return status, _parse(text)

    async def _fetch(self, path: str, *, authorized: bool) -> tuple[int | None, str]:
        headers = {"Authorization": f"Bearer {self._key.reveal()}"} if authorized else {}
        try:
            async with self._session.get(
                self._base + path, headers=headers, allow_redirects=False
            ) as response:
                body = await response.content.read(_MOST_BYTES)
                return response.status, body.decode("utf-8", "replace")
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None, ""


def _parse(body: str) -> dict[str, object]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
