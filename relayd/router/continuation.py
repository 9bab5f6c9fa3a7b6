"""Can another replica continue an answer that broke off, and by which request (continuation)?

The request is the one that the first replica got, rewritten and with model and template arguments, and the
text so far behind it: as the beginning of the assistant's message, or behind the prompt. Where the ids of the
tokens are known they are given instead of the text, so that no token at the joint is read in another way.

What cannot be continued soundly is refused, by the name of what prevents it.
"""

import re
from collections.abc import Callable, Mapping
from enum import Enum

import msgspec

from relayd.router.collect import Collector
from relayd.router.headers import Call

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_encode = msgspec.json.Encoder().encode

_LIMITS = ("max_tokens", "max_completion_tokens", "n_predict")
"""Members that llama-server reads as the limit of an answer."""

_TRUE, _FALSE = msgspec.Raw(b"true"), msgspec.Raw(b"false")
_UNSET = frozenset({b"false", b"null", b"0", b"[]", b"{}", b'""'})

_PREDICTED = re.compile(rb'"tokens_predicted":([0-9]{1,9})')
_REPLACEMENT = "\ufffd"


class AnswerForm(Enum):
    """How llama-server writes a stream."""

    CHAT = "chat"
    TEXT = "text"
    NATIVE = "native"
    MESSAGES = "messages"


FORMS: Mapping[str, AnswerForm] = {
    "/v1/chat/completions": AnswerForm.CHAT,
    "/chat/completions": AnswerForm.CHAT,
    "/v1/completions": AnswerForm.TEXT,
    "/completions": AnswerForm.NATIVE,
    "/completion": AnswerForm.NATIVE,
    "/v1/messages": AnswerForm.MESSAGES,
}
"""Paths whose answers can be continued; what `/infill` writes stands between two given texts."""


class Broken(msgspec.Struct, frozen=True, gc=False):
    """What came of an answer before it broke off.

    Attributes:
        text: Its text.
        reasoning: Its reasoning.
        pieces: Events with text: as many tokens, or fewer than there were.
        has_called: A call of a tool has begun.
        has_ended: Why it ended was reported; only what follows that is missing.
        tokens: The ids of the tokens, as far as they are known.
        tail: The last bytes, for the engine's own count.
    """

    text: str = ""
    reasoning: str = ""
    pieces: int = 0
    has_called: bool = False
    has_ended: bool = False
    tokens: tuple[int, ...] = ()
    tail: bytes = b""

    @classmethod
    def of(cls, collected: Collector, tail: bytes = b"") -> "Broken":
        """Return what was collected of an answer until it broke off."""
        return cls(
            collected.text,
            collected.reasoning,
            collected.pieces,
            collected.has_called,
            collected.has_ended,
            collected.tokens,
            tail,
        )

    @property
    def generated(self) -> int:
        """Tokens that were generated; in a stream that does not count them, those that came with text."""
        counts = _PREDICTED.findall(self.tail)
        return int(counts[-1]) if counts else self.pieces

    @property
    def is_empty(self) -> bool:
        """Whether nothing was generated: the request begins anew then."""
        return not (self.text or self.reasoning or self.has_called or self.has_ended)

    @property
    def has_all_ids(self) -> bool:
        """Whether the ids of all tokens are known: of a character of several tokens only the last one is."""
        return bool(self.tokens) and len(self.tokens) == self.generated


def hindrance(call: Call, broken: Broken, *, width: int = 1) -> str:
    """Return what prevents an answer from being continued, as a word for logs; empty when nothing does.

    Args:
        call: The request as it was sent.
        broken: What came of its answer.
        width: Slots that it takes.
    """
    form = FORMS.get(call.path)
    if form is None or not call.stream:
        return "path"
    if width != 1:
        return "several_answers"
    if broken.is_empty:
        return ""
    if broken.has_ended:
        return "ended"
    if broken.has_called:
        return "tool_call"
    if (broken.text or broken.reasoning).endswith(_REPLACEMENT):
        return "cut_character"
    members = _MEMBERS.decode(call.body)
    found = (name for name, prevents in _HINDRANCES.items() if prevents(members, broken))
    return next(found, "") or _of_form(form, members)


def _is_set(members: Mapping[str, msgspec.Raw], *names: str) -> bool:
    return any(bytes(members[name]) not in _UNSET for name in names if name in members)


def _follows_a_format(members: Mapping[str, msgspec.Raw], _broken: Broken) -> bool:
    """Return whether a grammar governs the text: it would begin anew in the middle."""
    if _is_set(members, "grammar", "json_schema", "output_format"):
        return True
    if _is_set(members, "response_format"):
        return _kind_of(members["response_format"]) != "text"
    config = _object_of(members.get("output_config"))
    return bool(config.get("format"))


def _forces_a_call(members: Mapping[str, msgspec.Raw], _broken: Broken) -> bool:
    choice = members.get("tool_choice")
    if choice is None or not _is_set(members, "tools"):
        return False
    kind = msgspec.json.decode(choice)
    kind = kind.get("type") if isinstance(kind, dict) else kind
    return kind not in (None, "auto", "none")


def _reasons_within_a_budget(members: Mapping[str, msgspec.Raw], broken: Broken) -> bool:
    """Return whether reasoning is limited that is not over: the limit would begin anew."""
    names = ("thinking_budget_tokens", "reasoning_budget_tokens")
    limits = [msgspec.json.decode(members[name]) for name in names if name in members]
    thinking = _object_of(members.get("thinking"))
    limits.append(thinking.get("budget_tokens"))
    is_limited = any(isinstance(limit, int | float) and limit > 0 for limit in limits)
    return is_limited and bool(broken.reasoning) and not broken.text


_Hinders = Callable[[Mapping[str, msgspec.Raw], Broken], bool]
_HINDRANCES: Mapping[str, _Hinders] = {
    "grammar": _follows_a_format,
    "tool_choice": _forces_a_call,
    "logprobs": lambda members, _: _is_set(members, "logprobs", "top_logprobs", "n_probs"),
    "several_answers": lambda members, _: any(_count(members.get(name)) > 1 for name in ("n", "n_cmpl")),
    "token_ids": lambda members, _: _is_set(members, "return_tokens"),
    "response_fields": lambda members, _: _is_set(members, "response_fields", "verbose"),
    "reasoning_budget": _reasons_within_a_budget,
    "lines": lambda members, _: _is_set(members, "n_indent"),
}
"""What prevents a continuation -> whether a request has it."""


def _of_form(form: AnswerForm, members: Mapping[str, msgspec.Raw]) -> str:
    """Return what prevents a prompt or a conversation from being written on."""
    if form in (AnswerForm.TEXT, AnswerForm.NATIVE):
        prompt = bytes(members.get("prompt", b"null"))
        return "" if prompt[:1] == b'"' or _is_one_prompt(prompt) else "prompt"
    messages = _ITEMS.decode(members["messages"]) if "messages" in members else []
    if not messages:
        return "messages"
    last = _object_of(messages[-1])
    if last.get("role") != "assistant":
        adds = members.get("add_generation_prompt")
        return "template" if adds is not None and bytes(adds) == b"false" else ""
    content = last.get("content")
    if last.get("tool_calls") or not isinstance(content, str | None):
        return "last_message"
    return ""


def _is_one_prompt(prompt: bytes) -> bool:
    """Return whether a list holds token ids, texts among them: the engine reads that as one prompt."""
    if not prompt.startswith(b"["):
        return False
    items = msgspec.json.decode(prompt)
    return any(isinstance(item, int) for item in items) and all(isinstance(item, int | str) for item in items)


def continued(call: Call, broken: Broken) -> Call:
    """Return the request that has another replica write on; `hindrance` found nothing against it.

    Args:
        call: The request as it was sent.
        broken: What came of its answer.
    """
    if broken.is_empty:
        return call
    members = dict(_MEMBERS.decode(call.body))
    form = FORMS[call.path]
    if form is AnswerForm.CHAT:
        _continue_chat(members, broken, _ITEMS.decode(members["messages"]))
    elif form is AnswerForm.MESSAGES:
        members["messages"] = _continued_messages(_ITEMS.decode(members["messages"]), broken)
    else:
        members["prompt"] = _continued_prompt(members["prompt"], form, broken)
    members.pop("echo", None)
    for name in _LIMITS:
        if (most := _count(members.get(name))) >= 0 and name in members:
            members[name] = msgspec.Raw(b"%d" % max(0, int(most) - broken.generated))
    return msgspec.structs.replace(call, body=_encode(members))


def is_spent(call: Call, broken: Broken) -> bool:
    """Return whether an answer has as many tokens as it may have: only its end is missing.

    The engine generates one more even if none is allowed (b11434), which is not part of the answer.
    """
    members = _MEMBERS.decode(call.body)
    limits = [_count(members[name]) for name in _LIMITS if name in members]
    return any(0 <= limit <= broken.generated for limit in limits)


def _continue_chat(members: dict[str, msgspec.Raw], broken: Broken, messages: list[msgspec.Raw]) -> None:
    last = _object_of(messages[-1])
    given: dict[str, object] = {"role": "assistant", "content": broken.text}
    reasoning = broken.reasoning
    if last.get("role") == "assistant":
        messages = messages[:-1]
        given = {**last, "content": f"{last.get('content') or ''}{_without_echo(last, members, broken)}"}
        reasoning = f"{last.get('reasoning_content') or ''}{reasoning}"
    if reasoning:
        given["reasoning_content"] = reasoning
    members["messages"] = msgspec.Raw(_encode([*messages, given]))
    members["continue_final_message"] = _TRUE
    members["add_generation_prompt"] = _FALSE


def _without_echo(last: Mapping[str, object], members: Mapping[str, msgspec.Raw], broken: Broken) -> str:
    """Return the text that was generated, without the given one that the engine wrote in front of it."""
    given = last.get("content")
    continues = bytes(members.get("continue_final_message", b"false")) == b"true"
    echoes = not continues or bytes(members.get("echo", b"false")) == b"true"
    return broken.text.removeprefix(given) if echoes and isinstance(given, str) else broken.text


def _continued_messages(messages: list[msgspec.Raw], broken: Broken) -> msgspec.Raw:
    """Return a conversation in Anthropic's form; the engine repeats a given beginning in its stream."""
    last = _object_of(messages[-1])
    text = broken.text
    if last.get("role") == "assistant":
        given, messages = str(last.get("content") or ""), messages[:-1]
        text = text if text.startswith(given) else given + text
    content: list[dict[str, object]] = []
    if broken.reasoning:
        content.append({"type": "thinking", "thinking": broken.reasoning, "signature": ""})
    if text:
        content.append({"type": "text", "text": text})
    return msgspec.Raw(_encode([*messages, {"role": "assistant", "content": content}]))


def _continued_prompt(prompt: msgspec.Raw, form: AnswerForm, broken: Broken) -> msgspec.Raw:
    """Return a prompt with what was generated behind it: by ids where all of them are known."""
    before = msgspec.json.decode(prompt)
    by_ids = form is AnswerForm.NATIVE and broken.has_all_ids
    if isinstance(before, str) and not by_ids:
        return msgspec.Raw(_encode(before + broken.text))
    pieces = [before] if isinstance(before, str) else before
    return msgspec.Raw(_encode([*pieces, *(broken.tokens if by_ids else (broken.text,))]))


def _count(raw: msgspec.Raw | None) -> float:
    """Return a number; -1 where there is none."""
    found = None if raw is None else msgspec.json.decode(raw)
    return found if isinstance(found, int | float) and not isinstance(found, bool) else -1


def _object_of(raw: msgspec.Raw | None) -> dict[str, object]:
    found = None if raw is None else msgspec.json.decode(raw)
    return found if isinstance(found, dict) else {}


def _kind_of(raw: msgspec.Raw) -> object:
    return _object_of(raw).get("type")
