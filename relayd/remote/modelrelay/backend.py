"""What does the server behind a worker serve, and how is a request posted to it (local backend)?

Any server with OpenAI's API: Ollama, vLLM, LM Studio, llama-server, another relayd.
"""

import codecs
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from relayd.errors import UsageError
from relayd.remote.modelrelay.messages import LONGEST_MESSAGE, MOST_HEADERS
from relayd.secret import Secret

ALLOWED_PATHS = frozenset({
    "/completion", "/completions", "/embedding", "/embeddings", "/infill", "/rerank", "/reranking",
    "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/messages", "/v1/messages/count_tokens",
    "/v1/rerank", "/v1/reranking", "/v1/responses",
})  # fmt: skip
"""What a hub may have posted: inference only. A backend has other paths, which remove models for example."""

DEFAULT_SLOTS = 1
"""Where a backend does not state how many requests it works on at once; the stock worker's default too."""

_ASK_SECONDS = 5.0
_CONNECT_SECONDS = 5.0
_LONGEST_LIST = 4 * 1024 * 1024

_NOT_SENT = frozenset({
    "accept-encoding", "authorization", "connection", "content-length", "cookie", "expect", "host",
    "keep-alive", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade", "x-api-key",
})  # fmt: skip
_NOT_RETURNED = frozenset({"connection", "content-encoding", "content-length", "host", "transfer-encoding"})


class _BackendModel(msgspec.Struct):
    id: str


class _BackendModels(msgspec.Struct):
    data: list[_BackendModel]


class _BackendProps(msgspec.Struct):
    total_slots: int


def parse_backend(text: str) -> URL:
    """Return the base URL of a backend; `/v1` at its end is dropped, as paths begin with it.

    Raises:
        UsageError: It is not an http or https URL.
    """
    url = URL(text if "://" in text else f"http://{text}")
    if url.scheme not in {"http", "https"} or not url.host or url.query_string or url.user:
        raise UsageError(
            f"{text!r} is not the URL of a backend.", remedy="Name one, as http://127.0.0.1:11434 for Ollama."
        )
    path = url.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return url.with_path(path)


@dataclass(frozen=True, slots=True)
class BackendAnswer:
    """An answer that has begun; its body is still to be read.

    Attributes:
        status: Of HTTP.
        headers: By lower-case name.
    """

    status: int
    headers: Mapping[str, str]
    _response: aiohttp.ClientResponse

    @property
    def is_stream(self) -> bool:
        """Whether its body is server-sent events."""
        return self._response.content_type == "text/event-stream"

    async def texts(self) -> AsyncIterator[str]:
        """Yield the body as it comes, whole characters only; bytes that are not UTF-8 become U+FFFD.

        Raises:
            OSError: The backend broke off.
        """
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        chunks = self._response.content.iter_any()
        while True:
            try:
                data = await anext(chunks, b"")
            except aiohttp.ClientError as error:
                raise ConnectionError(str(error) or type(error).__name__) from error
            if text := decoder.decode(data, final=not data):
                yield text
            if not data:
                return

    async def text(self) -> str:
        """Return the whole body.

        Raises:
            OSError: The backend broke off, or the body is longer than a message may be.
        """
        pieces: list[str] = []
        length = 0
        async for piece in self.texts():
            length += len(piece)
            if length > LONGEST_MESSAGE // 2:
                raise OSError(f"the answer is longer than {LONGEST_MESSAGE // 2} characters")
            pieces.append(piece)
        return "".join(pieces)

    def close(self) -> None:
        """Break it off, unless all of it was read: the backend then stops."""
        self._response.close()


class Backend:
    """One server, and the connections to it.

    Args:
        url: Its base.
        key: What it asks for; empty is none.
    """

    def __init__(self, url: URL, key: Secret) -> None:
        self.url = url
        self._key = key
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
            auto_decompress=True,
            trust_env=False,
            max_line_size=64 * 1024,
            max_field_size=64 * 1024,
        )

    def __repr__(self) -> str:
        return f"<Backend {self.url}>"

    async def models(self) -> tuple[str, ...]:
        """Return the models that it lists, in its order.

        Raises:
            OSError: It cannot be reached, or its list cannot be read.
        """
        body = await self._read("/v1/models")
        try:
            listing = msgspec.json.decode(body, type=_BackendModels)
        except msgspec.DecodeError as error:
            raise ConnectionError(f"its list of models is not valid: {error}") from None
        return tuple(one.id for one in listing.data)

    async def slots(self) -> int:
        """Return how many requests it works on at once, where it is a llama-server; else `DEFAULT_SLOTS`."""
        try:
            found = msgspec.json.decode(await self._read("/props"), type=_BackendProps).total_slots
        except (OSError, msgspec.DecodeError):
            return DEFAULT_SLOTS
        return max(found, 1)

    async def post(self, path: str, headers: Mapping[str, str], body: str) -> BackendAnswer:
        """Send a request, and return its answer once that has begun.

        Raises:
            OSError: It cannot be reached, or hung up.
        """
        fields = {name: value for name, value in headers.items() if name.lower() not in _NOT_SENT}
        fields.setdefault("content-type", "application/json")
        try:
            response = await self._session.post(
                self._at(path),
                data=body.encode(),
                headers=fields | self._credentials(),
                allow_redirects=False,
            )
        except (aiohttp.ClientError, ValueError) as error:
            raise ConnectionError(str(error) or type(error).__name__) from error
        passing = {
            name.lower(): value
            for name, value in list(response.headers.items())[:MOST_HEADERS]
            if name.lower() not in _NOT_RETURNED
        }
        return BackendAnswer(response.status, passing, response)

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def _read(self, path: str) -> bytes:
        timeout = aiohttp.ClientTimeout(total=_ASK_SECONDS)
        try:
            async with self._session.get(
                self._at(path), headers=self._credentials(), timeout=timeout, allow_redirects=False
            ) as response:
                if response.status != 200:
                    raise ConnectionError(f"{path} answered {response.status}")
                return await response.content.read(_LONGEST_LIST)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ConnectionError(str(error) or f"no answer in {_ASK_SECONDS:g} s") from error

    def _at(self, path: str) -> URL:
        return self.url.with_path(self.url.path.rstrip("/") + path)

    def _credentials(self) -> dict[str, Any]:
        return {"Authorization": f"Bearer {self._key.reveal()}"} if self._key else {}
