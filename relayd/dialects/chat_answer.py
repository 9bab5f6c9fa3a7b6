"""What does the engine's answer to a chat request say, in pieces that any API can be written from?

The engine writes reasoning first, then text, then tool calls one after another; a piece never goes back
to one before it.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec

from relayd.dialects.collected import CollectedAnswer
from relayd.dialects.events import EventSplitter, data_of
from relayd.dialects.jsonends import lacking
from relayd.errors import UpstreamError

_DONE = b"[DONE]"


class AnswerCost(msgspec.Struct, frozen=True):
    """What an answer cost, in tokens.

    Attributes:
        prompt: Of the prompt, those from the cache included.
        cached: Of the prompt, read from the cache.
        completion: Written, reasoning included.
    """

    prompt: int = 0
    cached: int = 0
    completion: int = 0


class AnswerWriter(Protocol):
    """Writes an answer in the form of one API, piece by piece."""

    def begin(self) -> None:
        """Write what comes before the first piece."""
        ...

    def think(self, text: str) -> None:
        """Write more of the reasoning."""
        ...

    def say(self, text: str) -> None:
        """Write more of the text."""
        ...

    def call(self, call_id: str, name: str) -> None:
        """Begin a call of a tool."""
        ...

    def argue(self, text: str) -> None:
        """Write more of the JSON of the last call's arguments."""
        ...

    def finish(self, reason: str, counts: AnswerCost) -> None:
        """Write the end.

        Args:
            reason: `stop`, `length` or `tool_calls`.
            counts: What it cost.
        """
        ...

    def fail(self, kind: str, message: str) -> None:
        """Write that the engine gave up, and why."""
        ...

    def take(self) -> bytes:
        """Return what was written since the last time."""
        ...


class _CalledFunction(msgspec.Struct, frozen=True, gc=False):
    name: str | None = None
    arguments: str | None = None


_NO_FUNCTION = _CalledFunction()


class _MadeCall(msgspec.Struct, gc=False):
    id: str | None = None
    function: _CalledFunction = _NO_FUNCTION


class _ChatPiece(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_MadeCall] | None = None


class _AnswerChoice(msgspec.Struct, gc=False):
    delta: _ChatPiece | None = None
    message: _ChatPiece | None = None
    finish_reason: str | None = None


class _PromptDetails(msgspec.Struct, gc=False):
    cached_tokens: int = 0


class _ChatUsage(msgspec.Struct, gc=False):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _PromptDetails | None = None

    def counts(self) -> AnswerCost:
        details = self.prompt_tokens_details
        return AnswerCost(self.prompt_tokens, details.cached_tokens if details else 0, self.completion_tokens)


class EngineFailure(msgspec.Struct, gc=False):
    """An error inside of a stream."""

    type: str = "server_error"
    message: str = ""


class _ChatAnswer(msgspec.Struct, gc=False):
    choices: list[_AnswerChoice] = []
    usage: _ChatUsage | None = None
    error: EngineFailure | None = None
    timings: msgspec.Raw = msgspec.Raw()
    prompt_progress: msgspec.Raw = msgspec.Raw()


TakeFigures = Callable[[msgspec.Raw, msgspec.Raw], None]
"""Takes `timings` and `prompt_progress` of an event, empty where it has none, before what else it holds."""

_answer = msgspec.json.Decoder(_ChatAnswer)


class ChatEvents:
    """Rewrites a streamed answer, which asks for its usage at the end.

    Args:
        writer: Writes it in another form.
        take_figures: Takes what the engine measured; None where the form has no place for it.
    """

    media_type = "text/event-stream"

    def __init__(self, writer: AnswerWriter, take_figures: TakeFigures | None = None) -> None:
        self._writer = writer
        self._take_figures = take_figures
        self._events = EventSplitter()
        self._begun = False
        self._reason = ""
        self._counts = AnswerCost()
        self._over = False
        self._call: list[str] = []

    def __repr__(self) -> str:
        return f"<ChatEvents begun={self._begun} over={self._over}>"

    def feed(self, payload: bytes) -> bytes:
        """Take the next bytes and return what can be written."""
        comments = b""
        for event in self._events.feed(payload):
            if event.startswith(b":"):
                comments += event + b"\n\n"
            elif data := data_of(event):
                self._read(data)
        return comments + self._writer.take()

    def end(self) -> bytes:
        """Return the last bytes.

        Raises:
            UpstreamError: The stream ended before its last event.
        """
        if not self._over:
            raise UpstreamError("The replica closed an event stream before its last event.")
        return self._writer.take()

    def _read(self, data: bytes) -> None:
        if self._over:
            return
        if not self._begun:
            self._begun = True
            self._writer.begin()
        if data == _DONE:
            self._over = True
            complete_call(self._writer, self._call)
            self._writer.finish(self._reason or "stop", self._counts)
            return
        try:
            answer = _answer.decode(data)
        except msgspec.DecodeError as error:
            raise UpstreamError("The replica sent an event that cannot be read.") from error
        if answer.error is not None:
            self._over = True
            self._writer.fail(answer.error.type, answer.error.message)
            return
        if answer.usage is not None:
            self._counts = answer.usage.counts()
        if self._take_figures is not None:
            self._take_figures(answer.timings, answer.prompt_progress)
        for choice in answer.choices:
            if choice.delta is not None:
                write_message(self._writer, choice.delta, self._call)
            self._reason = choice.finish_reason or self._reason


class ChatWhole(CollectedAnswer):
    """Rewrites an answer that comes as a whole.

    Args:
        writer: Makes it in another form.
    """

    def __init__(self, writer: AnswerWriter) -> None:
        super().__init__()
        self._writer = writer

    def end(self) -> bytes:
        """Return the whole answer.

        Raises:
            UpstreamError: The engine's own is not what it should be.
        """
        try:
            answer = _answer.decode(self.collected())
        except msgspec.DecodeError as error:
            raise UpstreamError("The replica's answer is not a chat completion.") from error
        self._writer.begin()
        for choice in answer.choices:
            if choice.message is not None:
                begun = list[str]()
                write_message(self._writer, choice.message, begun)
                complete_call(self._writer, begun)
            counts = answer.usage.counts() if answer.usage else AnswerCost()
            self._writer.finish(choice.finish_reason or "stop", counts)
        return self._writer.take()


def write_message(writer: AnswerWriter, message: _ChatPiece, begun: list[str]) -> None:
    """Write what a message, or a piece of one, holds.

    Args:
        writer: Writes it.
        message: The piece.
        begun: The arguments of the last call, as far as they have come.
    """
    if message.reasoning_content:
        writer.think(message.reasoning_content)
    if message.content:
        writer.say(message.content)
    for call in message.tool_calls or ():
        if call.function.name:
            complete_call(writer, begun)
            writer.call(call.id or "", call.function.name)
        if call.function.arguments:
            begun.append(call.function.arguments)
            writer.argue(call.function.arguments)


def complete_call(writer: AnswerWriter, begun: list[str]) -> None:
    """Write what the arguments of the last call lack to be JSON: `max_tokens` may have cut them."""
    if begun:
        if ending := lacking(begun):
            writer.argue(ending)
        begun.clear()
