"""How does the stream of a second replica go on where that of the first broke off?

One id, one role, one end; the given text that the engine repeats is taken out, and what the answer cost adds
up. What goes in and comes out are events of the engine, freed of their HTTP framing.
"""

import re
from abc import ABC, abstractmethod
from typing import Any

import msgspec

from relayd.errors import UpstreamError
from relayd.router.continuation import FORMS, AnswerForm, Broken, is_spent
from relayd.router.headers import Call

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode

_ID = re.compile(rb'"id":"([^"\\]{1,200})"')
_DATA, _DONE = b"data: ", b"[DONE]"
_PROGRESS = b'"prompt_progress"'


class RejoinedStream(ABC):
    """The stream of a replica that continues an answer.

    Args:
        broken: What came before.
        is_spent: The answer has all the tokens that it may have: what still comes of text is not part of it.
        count: How often the answer was continued, this time included.
    """

    def __init__(self, broken: Broken, *, is_spent: bool, count: int) -> None:
        self._broken = broken
        self._is_spent = is_spent
        self._count = count
        self._begun = b""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} behind={self._broken.generated} begun={len(self._begun)}>"

    def feed(self, payload: bytes) -> bytes:
        """Take the next bytes and return what goes on to the client.

        Raises:
            UpstreamError: An event cannot be read, or the answer does not begin with what was given.
        """
        *events, self._begun = (self._begun + payload).split(b"\n\n")
        try:
            return b"".join(map(self._passed, events))
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError) as error:
            raise UpstreamError("The replica sent an event that cannot be read.") from error

    def _passed(self, event: bytes) -> bytes:
        at = event.find(_DATA)
        if at < 0:
            return event + b"\n\n"
        before, data = event[: at + len(_DATA)], event[at + len(_DATA) :]
        if data != _DONE:
            data = b"" if _PROGRESS in data else self._rewritten(data)
        return b"%b%b\n\n" % (before, data) if data else b""

    @abstractmethod
    def _rewritten(self, data: bytes) -> bytes:
        """Return what an event carries as the client gets it; empty leaves the event out."""

    @property
    def _extra(self) -> int:
        """Tokens of the answer that the second replica knows as part of its prompt."""
        return self._broken.generated - self._is_spent

    def _add_up_timings(self, timings: dict[str, Any]) -> None:
        from_cache = min(int(timings.get("cache_n", 0)), self._broken.generated)
        timings["cache_n"] = timings.get("cache_n", 0) - from_cache
        timings["prompt_n"] = max(0, timings.get("prompt_n", 0) - (self._broken.generated - from_cache))
        timings["predicted_n"] = timings.get("predicted_n", 0) + self._extra

    def _add_up_usage(self, usage: dict[str, Any]) -> None:
        prompt = max(0, usage.get("prompt_tokens", 0) - self._broken.generated)
        completion = usage.get("completion_tokens", 0) + self._extra
        usage |= {"prompt_tokens": prompt, "completion_tokens": completion}
        usage["total_tokens"] = prompt + completion
        details = usage.get("prompt_tokens_details")
        if isinstance(details, dict):
            details["cached_tokens"] = min(prompt, details.get("cached_tokens", 0))
        usage["continued"] = self._count


class RejoinedChoices(RejoinedStream):
    """A stream of OpenAI's form: chats and completions.

    Args:
        first: The first bytes of the answer, which name its id.
    """

    def __init__(self, broken: Broken, *, is_spent: bool, count: int, first: bytes) -> None:
        super().__init__(broken, is_spent=is_spent, count=count)
        self._has_role = b'"role":' in first
        self._old_id = found[0] if (found := _ID.search(first)) else b""
        self._new_id = b""

    def _rewritten(self, data: bytes) -> bytes:
        if data.startswith(b'{"error"'):
            return data
        if self._old_id:  # quotes in a text are escaped, so it never matches there
            self._new_id = self._new_id or (found[0] if (found := _ID.search(data)) else b"")
            data = data.replace(self._new_id, self._old_id, 1) if self._new_id else data
        is_plain = b'"usage":{' not in data and b'"timings":{' not in data and b'"role":' not in data
        if is_plain and not self._is_spent:
            return data
        return self._with_sums(_decode(data))

    def _with_sums(self, event: dict[str, Any]) -> bytes:
        for choice in event.get("choices", ()):
            if choice.get("finish_reason") is None and self._is_empty(choice):
                return b""
        if event.get("usage"):
            self._add_up_usage(event["usage"])
        if event.get("timings"):
            self._add_up_timings(event["timings"])
        return _encode(event)

    def _is_empty(self, choice: dict[str, Any]) -> bool:
        """Return whether nothing new is left of a part: without its role, and without what is not wanted."""
        if "delta" not in choice:
            return self._is_spent
        delta = choice["delta"]
        if self._has_role:
            delta.pop("role", None)
        return self._is_spent or not any(value is not None for value in delta.values())


class RejoinedNative(RejoinedStream):
    """A stream of llama.cpp's own form."""

    def _rewritten(self, data: bytes) -> bytes:
        if data.startswith(b'{"error"'):
            return data
        event, broken = _decode(data), self._broken
        is_last = event.get("stop")
        if self._is_spent and not is_last:
            return b""
        event["tokens_predicted"] = event.get("tokens_predicted", 0) + self._extra
        event["tokens_evaluated"] = max(0, event.get("tokens_evaluated", 0) - broken.generated)
        if event.get("timings"):
            self._add_up_timings(event["timings"])
        if is_last:
            self._end(event)
        return _encode(event)

    def _end(self, event: dict[str, Any]) -> None:
        event["continued"] = self._count
        if isinstance(prompt := event.get("prompt"), str):
            event["prompt"] = prompt.removesuffix(self._broken.text)
        settings = event.get("generation_settings") or {}
        for name in ("n_predict", "max_tokens"):
            if settings.get(name, -1) >= 0:
                settings[name] += self._broken.generated


class RejoinedMessage(RejoinedStream):
    """A stream of Anthropic's form, in which the engine repeats what it was given (b11434).

    Its blocks need no numbers of their own: the translation behind it counts them anew.
    """

    def __init__(self, broken: Broken, *, is_spent: bool, count: int, first: bytes) -> None:
        super().__init__(broken, is_spent=is_spent, count=count)
        self._has_start = b"message_start" in first
        self._echo = broken.text or broken.reasoning
        self._kind = "text" if broken.text else "thinking"

    def _rewritten(self, data: bytes) -> bytes:
        event = _decode(data)
        match event.get("type"):
            case "message_start" if self._has_start:
                return b""
            case "content_block_delta":
                return self._without_echo(event)
            case "message_delta":
                usage = event.setdefault("usage", {})
                usage["output_tokens"] = usage.get("output_tokens", 0) + self._extra
                usage["continued"] = self._count
                return _encode(event)
        return data

    def _without_echo(self, event: dict[str, Any]) -> bytes:
        delta = event["delta"]
        name = str(delta.get("type", "")).removesuffix("_delta")
        if name not in ("text", "thinking"):
            return _encode(event)
        if self._echo:
            if name != self._kind:
                return b""  # of the reasoning that is over, repeated in the form of the template
            delta[name] = self._swallowed(delta[name])
        return b"" if self._is_spent or not delta[name] else _encode(event)

    def _swallowed(self, text: str) -> str:
        """Return what is new of a text that begins with the given one."""
        echo = self._echo
        if text.startswith(echo):
            self._echo = ""
            return text[len(echo) :]
        if echo.startswith(text):
            self._echo = echo[len(text) :]
            return ""
        raise UpstreamError("The replica does not continue the answer that it was given.")


def rejoin(call: Call, broken: Broken, *, count: int, first: bytes) -> RejoinedStream:
    """Return how the stream of the replica that continues the answer to a request is passed on.

    Args:
        call: The request, as the first replica got it.
        broken: What came of the answer before.
        count: How often it has been continued, this time included.
        first: Its first bytes.
    """
    spent = is_spent(call, broken)
    return rejoined(FORMS[call.path], broken, is_spent=spent, count=count, first=first)


def rejoined(
    form: AnswerForm, broken: Broken, *, is_spent: bool = False, count: int = 1, first: bytes = b""
) -> RejoinedStream:
    """Return how the stream of a second replica is passed on."""
    if form is AnswerForm.NATIVE:
        return RejoinedNative(broken, is_spent=is_spent, count=count)
    if form is AnswerForm.MESSAGES:
        return RejoinedMessage(broken, is_spent=is_spent, count=count, first=first)
    return RejoinedChoices(broken, is_spent=is_spent, count=count, first=first)
