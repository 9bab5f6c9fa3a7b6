"""How is an answer of llama-server written as Ollama writes it: lines of JSON, or one object?

Each line is a write of its own, and what arrives together is one line: some clients (SillyTavern) read each
piece of a stream as one JSON value. The last line holds nothing but figures.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

import msgspec

from relayd.dialects.events import EventSplitter, data_of
from relayd.errors import UpstreamError

NDJSON = "application/x-ndjson"

_NS = 1_000_000_000
_NS_PER_MS = 1_000_000
_DONE = b"[DONE]"

Form = Literal["chat", "generate"]


class TimeSource(Protocol):
    """A clock, in seconds."""

    def monotonic(self) -> float:
        """Return seconds that never step back."""
        ...

    def wall(self) -> float:
        """Return seconds since 1970."""
        ...


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class _CallPiece(msgspec.Struct, gc=False):
    id: str | None = None
    function: _Function | None = None


class _Words(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_CallPiece] | None = None


class _Probabilities(msgspec.Struct, gc=False):
    content: list[dict[str, Any]] | None = None


class _ChosenWords(msgspec.Struct, gc=False):
    delta: _Words | None = None
    message: _Words | None = None
    finish_reason: str | None = None
    logprobs: _Probabilities | None = None


class _CountedTokens(msgspec.Struct, gc=False):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _EngineTimes(msgspec.Struct, gc=False):
    prompt_ms: float = 0
    predicted_ms: float = 0


class _WrittenError(msgspec.Struct, gc=False):
    message: str = ""


class _EnginePiece(msgspec.Struct, gc=False):
    """A piece of a chat completion, or of a completion of llama.cpp's own form."""

    choices: list[_ChosenWords] = []
    usage: _CountedTokens | None = None
    timings: _EngineTimes | None = None
    error: _WrittenError | None = None
    content: str = ""
    stop: bool = False
    stop_type: str = ""
    tokens_evaluated: int = 0
    tokens_predicted: int = 0
    completion_probabilities: list[dict[str, Any]] | None = None


_piece = msgspec.json.Decoder(_EnginePiece)


@dataclass(slots=True)
class _GatheredCall:
    id: str
    name: str
    arguments: str = ""

    def written(self, index: int) -> dict[str, object]:
        return {
            "id": self.id,
            "function": {"index": index, "name": self.name, "arguments": _object(self.arguments)},
        }


@dataclass(slots=True)
class _Gathered:
    """What has arrived and is not written."""

    text: str = ""
    thinking: str = ""
    probabilities: list[dict[str, Any]] | None = None

    def __bool__(self) -> bool:
        return bool(self.text or self.thinking or self.probabilities)


class OllamaLines:
    """One answer, as lines of JSON or as one object.

    Args:
        form: Of which path: a message, or a text.
        model: The model as the client named it.
        clock: Measures and dates.
        stream: It is asked for as lines.
        on_end: Called once the answer is complete.
    """

    def __init__(
        self,
        form: Form,
        model: str,
        clock: TimeSource,
        *,
        stream: bool,
        on_end: Callable[[], object] | None = None,
    ) -> None:
        self.media_type = NDJSON if stream else "application/json"
        self._on_end = on_end
        self._form, self._model, self._clock, self._stream = form, model, clock, stream
        self._began = clock.monotonic()
        self._events = EventSplitter()
        self._whole: list[bytes] = []
        self._gathered = _Gathered()
        self._calls: list[_GatheredCall] = []
        self._end = _Ending()

    def __repr__(self) -> str:
        return f"<OllamaLines {self._form} calls={len(self._calls)} over={self._end.over}>"

    def feed(self, payload: bytes) -> bytes:
        """Take the next bytes and return the lines that they complete."""
        if not self._stream:
            self._whole.append(payload)
            return b""
        waits = False
        for event in self._events.feed(payload):
            if data := data_of(event):
                self._read(data)
            else:
                waits = True
        return self._lines(waits=waits)

    def end(self) -> bytes:
        """Return what is left.

        Raises:
            UpstreamError: The answer is incomplete, or not what it should be.
        """
        if self._stream and not self._end.over:
            raise UpstreamError("The replica closed an event stream before its last event.")
        if self._on_end is not None:
            self._on_end()
        if self._stream:
            return b""
        self._read(b"".join(self._whole))
        self._end.over = True
        return self._written(done=True, calls=self._calls)

    def _read(self, data: bytes) -> None:
        if self._end.over or data == _DONE:
            self._end.over = True
            return
        try:
            piece = _piece.decode(data)
        except msgspec.DecodeError as error:
            raise UpstreamError("The replica's answer cannot be read.") from error
        self._end.note(piece)
        for choice in piece.choices:
            self._take(choice)
        self._gathered.text += piece.content
        self._add_probabilities(piece.completion_probabilities)

    def _take(self, choice: _ChosenWords) -> None:
        words = choice.delta or choice.message or _Words()
        self._gathered.text += words.content or ""
        self._gathered.thinking += words.reasoning_content or ""
        for call in words.tool_calls or ():
            function = call.function or _Function()
            if function.name:
                self._calls.append(_GatheredCall(call.id or f"call_{len(self._calls)}", function.name))
            if function.arguments and self._calls:
                self._calls[-1].arguments += function.arguments
        if choice.logprobs is not None:
            self._add_probabilities(choice.logprobs.content)

    def _add_probabilities(self, tokens: list[dict[str, Any]] | None) -> None:
        if tokens:
            self._gathered.probabilities = (self._gathered.probabilities or []) + [
                _probability(token) for token in tokens
            ]

    def _lines(self, *, waits: bool) -> bytes:
        """Return what is to be written now; `waits` has a line say that the engine is at work."""
        if self._end.failure:
            return msgspec.json.encode({"error": self._end.failure}) + b"\n"
        if not self._end.over:
            return self._written() if self._gathered or waits else b""
        if self._end.is_written:
            return b""
        self._end.is_written = True
        before = self._written(calls=self._calls) if self._gathered or self._calls else b""
        return before + self._written(done=True)

    def _written(self, *, done: bool = False, calls: list[_GatheredCall] | None = None) -> bytes:
        """Return one object with all that is gathered."""
        gathered, self._gathered = self._gathered, _Gathered()
        answer: dict[str, object] = {"model": self._model, "created_at": stamp(self._clock.wall())}
        if self._form == "chat":
            message: dict[str, object] = {"role": "assistant", "content": gathered.text}
            answer["message"] = message
        else:
            message = answer
            answer["response"] = gathered.text
        if gathered.thinking:
            message["thinking"] = gathered.thinking
        if calls:
            message["tool_calls"] = [call.written(index) for index, call in enumerate(calls)]
        if gathered.probabilities:
            answer["logprobs"] = gathered.probabilities
        answer["done"] = done
        if done:
            answer |= self._end.figures(self._clock.monotonic() - self._began)
        return msgspec.json.encode(answer) + (b"\n" if self._stream else b"")


class _Ending:
    """How an answer ends, and what it cost."""

    def __init__(self) -> None:
        self.over = False
        self.is_written = False
        self.failure = ""
        self._reason = "stop"
        self._prompt, self._answer = 0, 0
        self._prompt_ms, self._answer_ms = 0.0, 0.0

    def __repr__(self) -> str:
        return f"<_Ending {self._reason} over={self.over} tokens={self._prompt}+{self._answer}>"

    def note(self, piece: _EnginePiece) -> None:
        """Take what a piece contains of the end."""
        if piece.error is not None:
            self.failure, self.over = piece.error.message or "the engine gave up", True
        if piece.usage is not None:
            self._prompt, self._answer = piece.usage.prompt_tokens, piece.usage.completion_tokens
        if piece.timings is not None:
            self._prompt_ms, self._answer_ms = piece.timings.prompt_ms, piece.timings.predicted_ms
        if any(choice.finish_reason == "length" for choice in piece.choices) or piece.stop_type == "limit":
            self._reason = "length"
        if piece.stop:
            self.over = True
            self._prompt, self._answer = piece.tokens_evaluated, piece.tokens_predicted

    def figures(self, seconds: float) -> dict[str, object]:
        """Return reason, counts and durations in ns: none is 0, as clients divide by them."""
        total = max(1, int(seconds * _NS))
        prompt = max(1, int(self._prompt_ms * _NS_PER_MS))
        answer = max(1, int(self._answer_ms * _NS_PER_MS))
        return {
            "done_reason": self._reason,
            "total_duration": total,
            "load_duration": max(1, total - prompt - answer),
            "prompt_eval_count": max(1, self._prompt),
            "prompt_eval_duration": prompt,
            "eval_count": max(1, self._answer),
            "eval_duration": answer,
        }


def stamp(seconds_since_1970: float) -> str:
    """Return a moment as RFC 3339 has it, in UTC."""
    moment = datetime.fromtimestamp(seconds_since_1970, UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _object(arguments: str) -> object:
    """Return the arguments of a call as an object: clients look for their names."""
    try:
        found = msgspec.json.decode(arguments or "{}")
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _probability(token: dict[str, Any]) -> dict[str, object]:
    likely = token.get("top_logprobs") or ()
    return {
        **{name: token[name] for name in ("token", "logprob", "bytes") if name in token},
        "top_logprobs": [
            {name: one[name] for name in ("token", "logprob", "bytes") if name in one} for one in likely
        ],
    }
