"""What does a plain answer of Anthropic's form hold, and where in a stream is that (collector)?"""

import msgspec

from relayd.router.collect import Collector

_ABSENT, _NULL = msgspec.Raw(), msgspec.Raw(b"null")
_encode = msgspec.json.Encoder().encode


class _MessageStart(msgspec.Struct, gc=False):
    id: msgspec.Raw = _NULL
    model: msgspec.Raw = _NULL
    usage: dict[str, int] = {}


class _BlockStart(msgspec.Struct, gc=False):
    type: str = ""
    id: str = ""
    name: str = ""


class _BlockDelta(msgspec.Struct, gc=False):
    type: str = ""
    text: str = ""
    thinking: str = ""
    partial_json: str = ""
    stop_reason: str | None = None
    stop_sequence: str | None = None


class _MessageEvent(msgspec.Struct, gc=False):
    type: str = ""
    index: int = 0
    message: msgspec.Raw = _ABSENT
    content_block: _BlockStart | None = None
    delta: _BlockDelta | None = None
    usage: dict[str, int] = {}
    code: int | None = None


_message_events = msgspec.json.Decoder(list[_MessageEvent])
_message_start = msgspec.json.Decoder(_MessageStart)
_json = msgspec.json.Decoder()


class MessageCollector(Collector):
    """An answer of Anthropic's `/v1/messages`."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: dict[int, tuple[_BlockStart, list[str]]] = {}
        self._start: _MessageStart | None = None
        self._end = _BlockDelta()
        self._completion: dict[str, int] = {}

    @property
    def has_called(self) -> bool:
        """Whether a call of a tool has begun."""
        return bool(self._calls)

    @property
    def has_ended(self) -> bool:
        """Whether an event has stated why the answer ended."""
        return self.is_over or self._end.stop_reason is not None

    def _read(self, events: list[bytes]) -> None:
        for number, event in enumerate(_message_events.decode(b"[%b]" % b",".join(events))):
            match event.type:
                case "content_block_delta" if event.delta:
                    self._add(event.index, event.delta)
                case "content_block_start" if event.content_block and event.content_block.type == "tool_use":
                    self._calls[event.index] = event.content_block, []
                case "message_start" if event.message and self._start is None:
                    self._start = _message_start.decode(event.message)
                case "message_delta" if event.delta:
                    self._end, self._completion = event.delta, event.usage
                case "message_stop":
                    self.is_over = True
                case _ if event.code is not None:
                    self._failed(events[number])

    def _add(self, index: int, delta: _BlockDelta) -> None:
        if delta.text:
            self._texts.append(delta.text)
        elif delta.thinking:
            self._thoughts.append(delta.thinking)
        elif delta.partial_json and index in self._calls:
            self._calls[index][1].append(delta.partial_json)

    def _whole(self) -> bytes:
        start = self._start or _MessageStart()
        return _encode(
            {
                "id": start.id,
                "type": "message",
                "role": "assistant",
                "content": self._blocks(),
                "model": start.model,
                "stop_reason": self._end.stop_reason,
                "stop_sequence": self._end.stop_sequence,
                "usage": {"cache_read_input_tokens": 0, "input_tokens": 0, **start.usage, **self._completion},
            }
        )

    def _blocks(self) -> list[dict[str, object]]:
        blocks: list[dict[str, object]] = []
        if thoughts := self.reasoning:
            blocks.append({"type": "thinking", "thinking": thoughts, "signature": ""})
        if text := self.text:
            blocks.append({"type": "text", "text": text})
        for block, parts in self._calls.values():
            made = _input("".join(parts))
            blocks.append({"type": "tool_use", "id": block.id, "name": block.name, "input": made})
        return blocks


def _input(arguments: str) -> object:
    """Return the arguments of a call; nothing of what was cut off before its end."""
    try:
        _json.decode(arguments)
    except msgspec.DecodeError:
        return {}
    return msgspec.Raw(arguments.encode())
