"""What does a plain answer of OpenAI's or llama.cpp's form hold, and where in a stream is that (collectors)?

Members come in the order in which the engine writes them, so that an answer looks like one of its own.
"""

from abc import abstractmethod

import msgspec

from relayd.router.collect import Collector

_ABSENT, _NULL = msgspec.Raw(), msgspec.Raw(b"null")
_encode = msgspec.json.Encoder().encode


class _EventOrigin(msgspec.Struct, gc=False):
    """What every event of one answer repeats."""

    id: msgspec.Raw = _NULL
    created: msgspec.Raw = _NULL
    model: msgspec.Raw = _NULL
    system_fingerprint: msgspec.Raw = _NULL


class _FunctionPart(msgspec.Struct, gc=False):
    name: str = ""
    arguments: str = ""


class _CallPart(msgspec.Struct, gc=False):
    index: int = 0
    id: str = ""
    function: _FunctionPart | None = None


class _ChoiceDelta(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_CallPart] | None = None


class _ChoicePart(msgspec.Struct, gc=False):
    delta: _ChoiceDelta | None = None
    text: str = ""
    finish_reason: str | None = None


class _ChoiceEvent(msgspec.Struct, gc=False):
    choices: list[_ChoicePart] = []
    usage: msgspec.Raw = _ABSENT
    timings: msgspec.Raw = _ABSENT
    error: msgspec.Raw = _ABSENT
    verbose: msgspec.Raw = msgspec.field(default=_ABSENT, name="__verbose")


_origin = msgspec.json.Decoder(_EventOrigin)
_choice_events = msgspec.json.Decoder(list[_ChoiceEvent])


class _ChoiceCollector(Collector):
    """An answer with one choice, as OpenAI writes it."""

    kind: str

    def __init__(self) -> None:
        super().__init__()
        self._reason: str | None = None
        self._origin: _EventOrigin | None = None
        self._usage = self._timings = self._verbose = _ABSENT

    @property
    def has_ended(self) -> bool:
        """Whether an event has stated why the answer ended."""
        return self._reason is not None

    def _read(self, events: list[bytes]) -> None:
        if events and self._origin is None:
            self._origin = _origin.decode(events[0])
        for number, event in enumerate(_choice_events.decode(b"[%b]" % b",".join(events))):
            for part in event.choices:
                self._add(part)
                self._reason = part.finish_reason or self._reason
            if event.usage:
                self._usage = event.usage
            if event.timings:
                self._timings = event.timings
            if event.error:
                self._failed(events[number])
            if event.verbose:
                self._verbose = event.verbose

    def _whole(self) -> bytes:
        origin = self._origin or _EventOrigin()
        answer = {
            "choices": [self._choice()],
            "created": origin.created,
            "model": origin.model,
            "system_fingerprint": origin.system_fingerprint,
            "object": self.kind,
            "usage": self._usage,
            "id": origin.id,
            "__verbose": _as_plain(self._verbose, self.text) if self._verbose else _ABSENT,
            "timings": self._timings,
        }
        return _encode({name: value for name, value in answer.items() if value})

    @abstractmethod
    def _add(self, part: _ChoicePart) -> None:
        """Add an event's part of the choice."""

    @abstractmethod
    def _choice(self) -> dict[str, object]:
        """Return the choice."""


class ChatCollector(_ChoiceCollector):
    """An answer of `/v1/chat/completions`, which has to be asked for its usage."""

    kind = "chat.completion"

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[tuple[_CallPart, list[str]]] = []

    @property
    def has_called(self) -> bool:
        """Whether a call of a tool has begun."""
        return bool(self._calls)

    def _add(self, part: _ChoicePart) -> None:
        if (delta := part.delta) is None:
            return
        if delta.content:
            self._texts.append(delta.content)
        if delta.reasoning_content:
            self._thoughts.append(delta.reasoning_content)
        for call in delta.tool_calls or ():
            if call.index >= len(self._calls):
                self._calls.append((call, []))
            if call.function is not None:
                self._calls[call.index][1].append(call.function.arguments)

    def _choice(self) -> dict[str, object]:
        message: dict[str, object] = {"role": "assistant", "content": self.text}
        if reasoning := self.reasoning:
            message["reasoning_content"] = reasoning
        if self._calls:
            message["tool_calls"] = [_made(call, arguments) for call, arguments in self._calls]
        return {"finish_reason": self._reason, "index": 0, "message": message}


def _made(begun: _CallPart, arguments: list[str]) -> dict[str, object]:
    function = {"name": begun.function.name if begun.function else "", "arguments": "".join(arguments)}
    call: dict[str, object] = {"type": "function", "function": function}
    return {**call, "id": begun.id} if begun.id else call


class TextCollector(_ChoiceCollector):
    """An answer of `/v1/completions`."""

    kind = "text_completion"

    def _add(self, part: _ChoicePart) -> None:
        self._texts.append(part.text)

    def _choice(self) -> dict[str, object]:
        return {"text": self.text, "index": 0, "logprobs": None, "finish_reason": self._reason}


class _NativeEvent(msgspec.Struct, gc=False):
    content: str = ""
    tokens: list[int] = []
    stop: bool = False
    prompt_progress: msgspec.Raw = _ABSENT
    error: msgspec.Raw = _ABSENT


_native_events = msgspec.json.Decoder(list[_NativeEvent])
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class NativeCollector(Collector):
    """An answer of llama.cpp's own `/completion` and `/infill`."""

    def __init__(self) -> None:
        super().__init__()
        self._tokens: list[int] = []
        self._last = b""

    @property
    def tokens(self) -> tuple[int, ...]:
        """The ids of what was read; of a character that takes several tokens, only the last one is there."""
        return tuple(self._tokens)

    def _read(self, events: list[bytes]) -> None:
        for number, event in enumerate(_native_events.decode(b"[%b]" % b",".join(events))):
            if event.error:
                self._failed(events[number])
            elif not event.prompt_progress:
                self._texts.append(event.content)
                self._tokens += event.tokens
            if event.stop:
                self.is_over, self._last = True, events[number]

    def _whole(self) -> bytes:
        return _encode(_as_plain(self._last, self.text))


def _as_plain(last: bytes | msgspec.Raw, text: str) -> dict[str, object]:
    """Return the last event of llama.cpp's own form as a plain answer has it."""
    answer: dict[str, object] = dict(_members.decode(last))
    answer["content"] = text
    settings = answer.get("generation_settings")
    if isinstance(settings, msgspec.Raw):
        plain = bytes(settings).replace(b'"stream":true', b'"stream":false', 1)
        answer["generation_settings"] = msgspec.Raw(plain)
    return answer
