"""A conversation with a model, through relayd or with a replica itself (chat client).

It is an ordinary client of the chat API, with the standard library only.
"""

import http.client
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from relayd.errors import NoDaemonError, RequestError, UpstreamError
from relayd.secret import Secret

Message = dict[str, str]
"""`role` and `content`, as in OpenAI's chat API."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer, and what it took.

    Attributes:
        text: The answer.
        replica: Which process gave it.
        queue_seconds: How long the request waited in relayd for a slot.
        first_token_seconds: From sending the request to the first token.
        seconds: From sending the request to the end.
        prompt_tokens: Tokens of the prompt that were read, those from the cache excluded.
        cached_tokens: Tokens of the prompt that the replica had cached.
        prompt_per_second: How fast the prompt was read, in tokens a second; 0 if not reported.
        tokens: Tokens of the answer.
        per_second: How fast the answer was written, in tokens a second; 0 if not reported.
    """

    text: str
    replica: str
    queue_seconds: float
    first_token_seconds: float
    seconds: float
    prompt_tokens: int
    cached_tokens: int
    prompt_per_second: float
    tokens: int
    per_second: float


class Conversation:
    """A client of one chat API.

    Args:
        connect: Makes a connection that is not open yet.
        key: The API key; empty for none.
    """

    def __init__(self, connect: Callable[[], http.client.HTTPConnection], key: Secret) -> None:
        self._connect = connect
        self._key = key

    def __repr__(self) -> str:
        return f"<Conversation {'with' if self._key else 'without'} a key>"

    def ask(
        self,
        model: str,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        on_text: Callable[[str], None] = lambda _: None,
        **options: object,
    ) -> Turn:
        """Have a model answer, and return the answer once it is complete.

        Args:
            model: Its name.
            messages: The conversation so far.
            max_tokens: The longest answer; None for the model's own end.
            on_text: Called with every piece of the answer as it comes.
            options: Further members of the request.

        Raises:
            NoDaemonError: The connection was refused.
            RequestError: The request was refused; with the server's message.
            UpstreamError: The answer broke off.
        """
        body = {"model": model, "messages": list(messages), "stream": True, **options}
        if max_tokens is not None:
            body["max_tokens"] = max_tokens
        started = time.monotonic()
        connection = self._connect()
        try:
            response = self._post(connection, body)
            return _read(response, started, on_text)
        except (ConnectionRefusedError, FileNotFoundError) as error:
            raise NoDaemonError("the connection was refused: no server listens there") from error
        except (OSError, http.client.HTTPException) as error:
            raise UpstreamError(f"the answer broke off: {error!r}") from error
        finally:
            connection.close()

    def _post(self, connection: http.client.HTTPConnection, body: dict[str, Any]) -> http.client.HTTPResponse:
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key.reveal()}"
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        response = connection.getresponse()
        if response.status != 200:
            raise _refusal(response)
        return response


def _read(response: http.client.HTTPResponse, started: float, on_text: Callable[[str], None]) -> Turn:
    pieces: list[str] = []
    first: float | None = None
    timings: dict[str, float] = {}
    for event in _events(response):
        timings = event.get("timings") or timings
        for choice in event.get("choices", []):
            delta = choice.get("delta", {})
            piece = delta.get("reasoning_content") or delta.get("content") or ""
            if piece:
                first = first or time.monotonic()
                pieces.append(piece)
                on_text(piece)
    ended = time.monotonic()
    return Turn(
        text="".join(pieces),
        replica=response.headers.get("X-Relayd-Replica", ""),
        queue_seconds=float(response.headers.get("X-Relayd-Queue-Ms", 0)) / 1000,
        first_token_seconds=(first or ended) - started,
        seconds=ended - started,
        prompt_tokens=int(timings.get("prompt_n", 0)),
        cached_tokens=int(timings.get("cache_n", 0)),
        prompt_per_second=timings.get("prompt_per_second", 0.0),
        tokens=int(timings.get("predicted_n", len(pieces))),
        per_second=timings.get("predicted_per_second", 0.0),
    )


def _events(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    """Yield every event of a stream up to its `[DONE]`.

    Raises:
        UpstreamError: The stream ends with an error, or without an end.
    """
    for line in response:
        if not line.startswith(b"data: "):
            continue
        data = line.removeprefix(b"data: ").strip()
        if data == b"[DONE]":
            return
        event = json.loads(data)
        if "error" in event:
            raise UpstreamError(str(event["error"].get("message", event["error"])))
        yield event
    raise UpstreamError("the answer ended before its last event")


def _refusal(response: http.client.HTTPResponse) -> RequestError:
    body = response.read()
    try:
        error = json.loads(body)["error"]
        message, code = str(error["message"]), error.get("code")
    except (ValueError, KeyError, TypeError):
        message, code = f"the server answered {response.status}", None
    refusal = RequestError(message)
    if code:
        refusal.code = str(code)  # type: ignore[misc]  # the server's own code, for --json
    return refusal
