"""How does an answer look in Anthropic's form: its messages, and the events of a stream?

The engine's own events are close (b11434). What differs from Anthropic's is mended: it begins a block before
it has ended the one before, sends the signature of reasoning after the text, leaves the beginning out when
the first token makes no text, and gives `end_turn` where a stop sequence ended the answer.
"""

import msgspec

from relayd.dialects.chat_answer import AnswerCost
from relayd.dialects.events import EventSplitter, data_of, named_event
from relayd.dialects.jsonends import lacking
from relayd.errors import UpstreamError

REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
"""Why a chat answer ended, in Anthropic's words."""

_KINDS = {"text_delta": "text", "thinking_delta": "thinking"}
_EMPTY: dict[str, dict[str, object]] = {
    "text": {"type": "text", "text": ""},
    "thinking": {"type": "thinking", "thinking": "", "signature": ""},
}

_DELTA = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"%b"'
"""How the engine begins an event with more of a block."""

_encode = msgspec.json.Encoder().encode


class MessageNames(msgspec.Struct, frozen=True):
    """What an answer is called.

    Attributes:
        id: Its own id.
        model: The model as it was asked for.
        one_call: Whether no more than one tool may be called; further calls are left out.
    """

    id: str
    model: str
    one_call: bool = False


def tool_use_id(engine_id: object) -> str:
    """Return the id of a tool call, of Anthropic's kind."""
    name = engine_id if isinstance(engine_id, str) else ""
    return name if name.startswith("toolu_") else f"toolu_{name}"


def error_type(status: int) -> str:
    """Return the type of an error with this HTTP status."""
    return _ERRORS.get(status) or ("invalid_request_error" if status < 500 else "api_error")


_ERRORS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    529: "overloaded_error",
}


def error_event(kind: str, message: str) -> bytes:
    """Return the event that ends a stream which cannot be finished."""
    return named_event("error", _encode({"type": "error", "error": {"type": kind, "message": message}}))


class MessageWriter:
    """Writes a stream of Anthropic's events, one block after the other.

    Args:
        names: What the answer is called.
    """

    def __init__(self, names: MessageNames) -> None:
        self._names = names
        self._written: list[bytes] = []
        self._open = ""
        self._calls = 0
        self.index = -1

    def __repr__(self) -> str:
        return f"<MessageWriter {self._names.id} block={self.index} {self._open or 'none'} open>"

    def begin(self, usage: object = None) -> None:
        """Write that the message begins."""
        message = {
            "id": self._names.id,
            "type": "message",
            "role": "assistant",
            "model": self._names.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage or {"input_tokens": 0, "output_tokens": 0},
        }
        self._write("message_start", message=message)

    def think(self, text: str) -> None:
        """Write more of the reasoning."""
        self.delta("thinking", {"type": "thinking_delta", "thinking": text})

    def say(self, text: str) -> None:
        """Write more of the text."""
        self.delta("text", {"type": "text_delta", "text": text})

    def call(self, call_id: str, name: str) -> None:
        """Begin a call of a tool."""
        self._calls += 1
        if self._is_left_out():
            self.stop()
            return
        block = {"type": "tool_use", "id": tool_use_id(call_id), "name": name, "input": {}}
        self._start("tool_use", block)

    def argue(self, text: str) -> None:
        """Write more of the JSON of the last call's arguments."""
        if self._is_left_out():
            return
        delta = {"type": "input_json_delta", "partial_json": text}
        self._write("content_block_delta", index=self.index, delta=delta)

    def _is_left_out(self) -> bool:
        """Return whether the last call is one too many."""
        return self._names.one_call and self._calls > 1

    def delta(self, kind: str, delta: object) -> None:
        """Write more of a block of this kind, which begins with it unless it is open."""
        if self._open != kind:
            self._start(kind, _EMPTY[kind])
        self._write("content_block_delta", index=self.index, delta=delta)

    def finish(self, reason: str, counts: AnswerCost) -> None:
        """Write the end of the message."""
        usage = {
            "input_tokens": counts.prompt - counts.cached,
            "cache_read_input_tokens": counts.cached,
            "output_tokens": counts.completion,
        }
        self.end(REASONS.get(reason, "end_turn"), None, usage)

    def end(self, reason: object, sequence: object, usage: object) -> None:
        """Write why the message ended, and that it did."""
        self.stop()
        delta = {"stop_reason": reason, "stop_sequence": sequence}
        self._write("message_delta", delta=delta, usage=usage)
        self._write("message_stop")

    def fail(self, kind: str, message: str) -> None:
        """Write that the engine gave up, and why."""
        known = kind if kind in {"overloaded_error", "invalid_request_error"} else "api_error"
        self._written.append(error_event(known, message))

    def take(self) -> bytes:
        """Return what was written since the last time."""
        written = b"".join(self._written)
        self._written.clear()
        return written

    def stop(self) -> None:
        """End the open block; one of reasoning with a signature, which nothing here could make."""
        if not self._open:
            return
        if self._open == "thinking":
            delta = {"type": "signature_delta", "signature": ""}
            self._write("content_block_delta", index=self.index, delta=delta)
        self._write("content_block_stop", index=self.index)
        self._open = ""

    def is_open(self, kind: str) -> bool:
        """Return whether a block of this kind is open."""
        return self._open == kind

    def pass_on(self, event: bytes) -> None:
        """Write an event as it came."""
        self._written.append(event + b"\n\n")

    def _start(self, kind: str, block: object) -> None:
        self.stop()
        self.index += 1
        self._open = kind
        self._write("content_block_start", index=self.index, content_block=block)

    def _write(self, kind: str, **members: object) -> None:
        self._written.append(named_event(kind, _encode({"type": kind, **members})))


class _EngineDelta(msgspec.Struct, frozen=True, gc=False):
    type: str = ""
    partial_json: str = ""
    stop_reason: str | None = None
    stop_sequence: str | None = None


class _StreamError(msgspec.Struct, frozen=True, gc=False):
    type: str = "api_error"
    message: str = ""


class _EngineEvent(msgspec.Struct, gc=False):
    type: str = ""
    index: int = 0
    message: dict[str, object] = {}
    content_block: dict[str, object] = {}
    delta: _EngineDelta = _EngineDelta()
    usage: dict[str, object] = {}
    error: _StreamError = _StreamError()


class _WholeDelta(msgspec.Struct, gc=False):
    delta: dict[str, object]


_event = msgspec.json.Decoder(_EngineEvent)
_failure = msgspec.json.Decoder(_StreamError)
"""The engine's own error of this API is not within an `error` (`format_error` in server-context.cpp)."""
_whole_delta = msgspec.json.Decoder(_WholeDelta)


class MessageEvents:
    """Mends the engine's own stream of Anthropic's events.

    Most events are more text of the block that is open: those pass as they came.

    Args:
        names: What the answer is called.
    """

    media_type = "text/event-stream"

    def __init__(self, names: MessageNames) -> None:
        self._writer = MessageWriter(names)
        self._events = EventSplitter()
        self._passing = b"\n"
        self._arguing: list[bytes] | None = None
        self._begun = False
        self._over = False

    def __repr__(self) -> str:
        return f"<MessageEvents over={self._over} {self._writer!r}>"

    def feed(self, payload: bytes) -> bytes:
        """Take the next bytes and return what can be written."""
        for event in self._events.feed(payload):
            if event.startswith((self._passing, b":")):
                self._writer.pass_on(event)
                if self._arguing is not None:
                    self._arguing.append(event)
            elif not self._over and (data := data_of(event)):
                self._read(event, data)
        return self._writer.take()

    def end(self) -> bytes:
        """Return the last bytes.

        Raises:
            UpstreamError: The stream ended before its last event.
        """
        if not self._over:
            raise UpstreamError("The replica closed an event stream before its last event.")
        return self._writer.take()

    def _read(self, raw: bytes, data: bytes) -> None:
        writer = self._writer
        try:
            if raw.startswith(b"event: error\n") and (failure := _failure.decode(data)).message:
                self._over = True
                writer.fail(failure.type, failure.message)
                return
            event = _event.decode(data)
        except msgspec.DecodeError as error:
            raise UpstreamError("The replica sent an event that cannot be read.") from error
        if event.type == "error" or (event.error.message and not event.type):
            self._over = True
            writer.fail(event.error.type, event.error.message)
            return
        if not self._begun:
            self._begun = True
            writer.begin(event.message.get("usage"))
        if self._arguing is not None and event.type in ("content_block_start", "message_delta"):
            self._complete()
        match event.type:
            case "content_block_start" if event.content_block.get("type") == "tool_use":
                block = event.content_block
                writer.call(str(block.get("id") or ""), str(block.get("name") or ""))
                self._pass_from_now_on(event.index)
                self._arguing = []
            case "content_block_delta":
                self._delta(event, data)
            case "message_delta":
                delta = event.delta
                reason = "stop_sequence" if delta.stop_sequence is not None else delta.stop_reason
                writer.end(reason, delta.stop_sequence, event.usage)
                self._over = True
            case "ping":
                writer.pass_on(raw)

    def _complete(self) -> None:
        """Write what the input of the last call lacks to be JSON: `max_tokens` may have cut it."""
        passed, self._arguing = self._arguing or [], None
        pieces = [_event.decode(data_of(one)).delta.partial_json for one in passed if one[:1] != b":"]
        if pieces and (ending := lacking(pieces)):
            self._writer.argue(ending)

    def _delta(self, event: _EngineEvent, data: bytes) -> None:
        if event.delta.type == "input_json_delta":
            if self._arguing is not None:
                self._arguing.append(b"data: " + data)
            self._writer.argue(event.delta.partial_json)
        elif kind := _KINDS.get(event.delta.type):
            self._writer.delta(kind, _whole_delta.decode(data).delta)
            self._pass_from_now_on(event.index)

    def _pass_from_now_on(self, engine_index: int) -> None:
        """Let more of the block that has begun pass, where the engine counts it alike."""
        self._passing = b"\n"
        if engine_index == self._writer.index:
            kinds = (name for name, block in _KINDS.items() if self._writer.is_open(block))
            self._passing = _DELTA % (engine_index, next(kinds, "input_json_delta").encode())
