"""The same answer in every form: what is asked for, and what of it is the same each time."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Form:
    """One way to ask.

    Attributes:
        path: Where.
        body: Makes the request of a prompt and a number of tokens.
        stream: Whether the answer comes in events or lines.
        text: Reads the text of the answer.
        ends: What marks its end, which comes once.
    """

    path: str
    body: Callable[[str, int], Body]
    stream: bool
    text: Callable[[list[Body]], str]
    ends: bytes = b""


def _chat(prompt: str, tokens: int) -> Body:
    return {"messages": [{"role": "user", "content": prompt}], "max_tokens": tokens, "ignore_eos": True}


def _prompt(prompt: str, tokens: int) -> Body:
    return {"prompt": prompt, "max_tokens": tokens, "ignore_eos": True}


def _native(prompt: str, tokens: int) -> Body:
    return {"prompt": prompt, "n_predict": tokens, "ignore_eos": True}


def _message(prompt: str, tokens: int) -> Body:
    return {"messages": [{"role": "user", "content": prompt}], "max_tokens": tokens}


def _input(prompt: str, tokens: int) -> Body:
    return {"input": prompt, "max_output_tokens": tokens}


def _ollama(prompt: str, tokens: int) -> Body:
    options = {"num_predict": tokens, "temperature": 0}
    return {"messages": [{"role": "user", "content": prompt}], "options": options}


def _of_choices(events: list[Body]) -> str:
    parts = [choice for event in events for choice in event.get("choices", ())]
    return "".join((one.get("delta") or one.get("message") or {}).get("content") or "" for one in parts)


def _of_texts(events: list[Body]) -> str:
    return "".join(choice["text"] for event in events for choice in event.get("choices", ()))


def _of_contents(events: list[Body]) -> str:
    return "".join(event.get("content", "") for event in events)


def _of_messages(events: list[Body]) -> str:
    deltas = [one["delta"].get("text", "") for one in events if one.get("type") == "content_block_delta"]
    wholes = [block.get("text", "") for one in events if one["type"] == "message" for block in one["content"]]
    return "".join(deltas + wholes)


def _of_responses(events: list[Body]) -> str:
    deltas = [one["delta"] for one in events if one.get("type") == "response.output_text.delta"]
    items = [item for one in events for item in one.get("output", ())]
    return "".join(deltas + [part["text"] for item in items for part in item.get("content", ())])


def _of_lines(events: list[Body]) -> str:
    return "".join(one["message"]["content"] for one in events)


_CUT_RESPONSE = b"event: response.incomplete"
"""How a response ends that has all the tokens that it may have."""

FORMS: Mapping[str, Form] = {
    "chat": Form("/v1/chat/completions", _chat, stream=True, text=_of_choices, ends=b"data: [DONE]"),
    "chat, plain": Form("/v1/chat/completions", _chat, stream=False, text=_of_choices),
    "completions": Form("/v1/completions", _prompt, stream=True, text=_of_texts, ends=b"data: [DONE]"),
    "completions, plain": Form("/v1/completions", _prompt, stream=False, text=_of_texts),
    "native": Form("/completion", _native, stream=True, text=_of_contents, ends=b'"stop":true'),
    "native, plain": Form("/completion", _native, stream=False, text=_of_contents),
    "messages": Form("/v1/messages", _message, stream=True, text=_of_messages, ends=b"event: message_stop"),
    "messages, plain": Form("/v1/messages", _message, stream=False, text=_of_messages),
    "responses": Form("/v1/responses", _input, stream=True, text=_of_responses, ends=_CUT_RESPONSE),
    "responses, plain": Form("/v1/responses", _input, stream=False, text=_of_responses),
    "ollama": Form("/api/chat", _ollama, stream=True, text=_of_lines, ends=b'"done":true'),
    "ollama, plain": Form("/api/chat", _ollama, stream=False, text=_of_lines, ends=b'"done":true'),
}


def events_of(raw: bytes) -> list[Body]:
    """Return what an answer holds: of its events, of its lines, or as a whole."""
    lines = [line.removeprefix(b"data: ") for line in raw.split(b"\n")]
    return [json.loads(line) for line in lines if line.startswith(b"{")]
