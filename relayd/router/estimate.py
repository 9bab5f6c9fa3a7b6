"""What did a request take whose answer does not name all of its tokens (estimate)?

Limits and quotas of tokens count it: else a client that leaves before the last event, or asks for a hundred
choices at once, would pay for next to nothing.
"""

from typing import Any

import msgspec

from relayd.router.headers import Call
from relayd.router.prefill import PromptProgress
from relayd.router.usage import Tap, read_usage, total
from relayd.scheduler.exchange import Usage

_JSON = "application/json"

BYTES_A_TOKEN = 4
"""Bytes of a body for each token of its prompt: English text, JSON around it included."""

_UNSEEN_TOKENS = 2048
"""What may have been read of a long prompt before the first word of its progress: a batch of the engine's."""


def estimated(call: Call, progress: PromptProgress | None, events: int) -> Usage:
    """Return what a request took, at least about.

    Args:
        call: What the replica got.
        progress: How far it has read the prompt, as it reported last; None when it did not.
        events: Events of the answer that came: one a token.
    """
    if progress is not None:
        read = progress.total if events else progress.processed
        return Usage(read, min(progress.cached, read), events)
    tokens = len(call.body) // BYTES_A_TOKEN if call.content_type == _JSON else 0  # audio
    return Usage(tokens if events or not call.hides_progress else min(tokens, _UNSEEN_TOKENS), 0, events)


class _PlainMessage(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: msgspec.Raw = msgspec.Raw(b"")


class _PlainChoice(msgspec.Struct):
    text: str | None = None
    message: _PlainMessage | None = None

    @property
    def size(self) -> int:
        """Characters that were written."""
        said = self.message or _PlainMessage()
        return sum(len(part or "") for part in (self.text, said.content, said.reasoning_content)) + len(
            said.tool_calls
        )


class _PlainChoices(msgspec.Struct):
    choices: list[_PlainChoice] = []


class _SeveralAsked(msgspec.Struct):
    prompt: Any = ""
    n: int | None = 1


_choices = msgspec.json.Decoder(_PlainChoices)
_asked = msgspec.json.Decoder(_SeveralAsked)
_each = msgspec.json.Decoder(list[msgspec.Raw])


class SeveralTap(Tap):
    """Reads a plain answer to several prompts, or with several choices.

    llama.cpp's own form is a list, in which each states what it took. OpenAI's states that of the first one
    only (b11434), so that the others are reckoned by how long they are.

    Args:
        call: What the replica got.
    """

    __slots__ = ("_call", "_whole")

    def __init__(self, call: Call) -> None:
        super().__init__()
        self._call = call
        self._whole: list[bytes] = []

    def add(self, raw: bytes) -> None:
        """Take the next piece."""
        super().add(raw)
        self._whole.append(raw)

    def usage(self) -> Usage | None:
        """Return what all of them took together; None when the bytes name no tokens."""
        whole = b"".join(self._whole)
        try:
            if whole.startswith(b"["):
                found = [read_usage(bytes(one)) for one in _each.decode(whole)]
                return total([one for one in found if one is not None])
            first = super().usage()
            return first and _of_all(first, _asked.decode(self._call.body), _choices.decode(whole).choices)
        except msgspec.DecodeError:
            return super().usage()


def _of_all(first: Usage, asked: _SeveralAsked, choices: list[_PlainChoice]) -> Usage:
    """Return what all choices took by what the first one did."""
    sizes = [one.size for one in choices]
    written = _in_proportion(first.completion_tokens, sizes)
    prompts = asked.prompt if isinstance(asked.prompt, list) else [asked.prompt]
    if prompts and isinstance(prompts[0], int):
        prompts = [""]
    read = _in_proportion(first.prompt_tokens, [_prompt_size(one) for one in prompts])
    read *= max(1, len(choices) // max(1, len(prompts)))
    return Usage(read, min(first.cached_tokens, read), written, first.prompt_ms, first.completion_ms)


def _in_proportion(first: int, sizes: list[int]) -> int:
    """Return the sum of figures that grow with these sizes, the first of which is known."""
    if not sizes or not sizes[0]:
        return max(first, first * len(sizes), first + sum(sizes) // BYTES_A_TOKEN)
    return round(first * sum(sizes) / sizes[0])


def _prompt_size(prompt: object) -> int:
    if isinstance(prompt, dict):
        prompt = prompt.get("prompt_string", "")
    return len(prompt) if isinstance(prompt, str | list) else 0
