"""A conversation with a model, through relayd or with a replica itself (chat client).

It is an ordinary client of the chat API, with the standard library only.
"""

import http.client
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from relayd.errors import NoDaemonError, RequestError, UpstreamError
from relayd.secret import Secret

Message = dict[str, Any]
"""`role` and `content`, as in OpenAI's chat API."""

_WAITS = re.compile(rb": relayd position=(\d+) state=([a-z-]+)(?: seconds=([0-9.]+))?")


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
        reasoning: What the model thought before the answer; "" for nothing.
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
    reasoning: str = ""


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
        on_thought: Callable[[str], None] = lambda _: None,
        on_wait: Callable[[str], None] | None = None,
        **options: object,
    ) -> Turn:
        """Have a model answer, and return the answer once it is complete.

        Args:
            model: Its name.
            messages: The conversation so far.
            max_tokens: The longest answer; None for the model's own end.
            on_text: Called with every piece of the answer as it comes.
            on_thought: Called with every piece of what the model thinks before.
            on_wait: Called with what the request waits for, while it does: `loading, about 4 s`.
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
            response = self._post(connection, body, {"X-Relayd-Progress": "1"} if on_wait else {})
            return _read(response, started, on_text, on_thought, on_wait or _ignore)
        except (ConnectionRefusedError, FileNotFoundError) as error:
            raise NoDaemonError("the connection was refused: no server listens there") from error
        except (OSError, http.client.HTTPException) as error:
            raise UpstreamError(f"the answer broke off: {error!r}") from error
        finally:
            connection.close()

    def capabilities(self, model: str) -> frozenset[str]:
        """Return what a model can do, as `/v1/models` lists it; nothing where that cannot be read."""
        connection = self._connect()
        try:
            connection.request("GET", f"/v1/models/{quote(model)}", headers=self._headers())
            listed = json.loads(connection.getresponse().read())
            return frozenset(map(str, listed.get("capabilities") or ()))
        except (OSError, http.client.HTTPException, ValueError, AttributeError, TypeError):
            return frozenset()
        finally:
            connection.close()

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key.reveal()}"} if self._key else {}

    def _post(
        self, connection: http.client.HTTPConnection, body: dict[str, Any], further: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        headers = {"Content-Type": "application/json", **self._headers(), **further}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        response = connection.getresponse()
        if response.status != 200:
            raise _refusal(response)
        return response


def _read(
    response: http.client.HTTPResponse,
    started: float,
    on_text: Callable[[str], None],
    on_thought: Callable[[str], None],
    on_wait: Callable[[str], None],
) -> Turn:
    pieces, thoughts = list[str](), list[str]()
    first: float | None = None
    timings: dict[str, float] = {}
    for event in _events(response, on_wait):
        timings = event.get("timings") or timings
        for choice in event.get("choices", []):
            delta = choice.get("delta", {})
            for member, kept, show in (
                ("reasoning_content", thoughts, on_thought),
                ("content", pieces, on_text),
            ):
                if piece := delta.get(member):
                    first = first or time.monotonic()
                    kept.append(piece)
                    show(piece)
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
        tokens=int(timings.get("predicted_n", len(pieces) + len(thoughts))),
        per_second=timings.get("predicted_per_second", 0.0),
        reasoning="".join(thoughts),
    )


def _events(response: http.client.HTTPResponse, on_wait: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Yield every event of a stream up to its `[DONE]`.

    Raises:
        UpstreamError: The stream ends with an error, or without an end.
    """
    for line in response:
        if found := _WAITS.match(line):
            on_wait(_waits_for(found))
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


def _waits_for(comment: re.Match[bytes]) -> str:
    """Return a comment of the stream on a request that waits as people read it: `loading, about 4 s`."""
    position, state, seconds = (part.decode() for part in comment.groups(b""))
    words = {"queued": f"{position} in the queue"}.get(state, state.replace("-", " "))
    return f"{words}, about {float(seconds):.0f} s" if seconds and float(seconds) >= 1 else words


def _ignore(_: str) -> None:
    """Show nothing."""


def _refusal(response: http.client.HTTPResponse) -> RequestError:
    body = response.read()
    try:
        error = json.loads(body)["error"]
        message, code = str(error["message"]), error.get("code")
    except (ValueError, KeyError, TypeError):
        message, code = f"the server answered {response.status}", None
    refusal = RequestError(message)
    if code:
        refusal.code = str(code)
    return refusal
