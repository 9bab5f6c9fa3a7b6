"""Which order of roles does a model's template take, and how is a conversation fitted to it (turns)?

Of upstream's 71 templates 6 refuse a system message behind the first turn, which Claude Code and Codex send
at once, and others refuse two turns of one role, results of tools, or leave them out silently. What a
template cannot hold stays where it is and changes its role: a marked turn of the user. Nothing moves to the
front, which would have the engine read the whole conversation again.

Messages are those of a chat request, decoded. All functions return new ones.
"""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from relayd.dialects.brokencalls import ChangeNotes, Message, text_of

_INSTRUCTING = frozenset({"system", "developer"})
_ID_LENGTH = 9
"""Of the ids that Mistral's templates take: letters and digits."""

_BEGUN = "(The conversation goes on.)"
_NO_RESULT = "(This call was not carried out.)"


class TemplateTraits(msgspec.Struct, frozen=True):
    """What a template takes, and shows to the model.

    Attributes:
        system: A system message at the head.
        second_system: Two of them.
        late_system: One behind the first turn, at the end too.
        developer: Messages of a developer, wherever those of a system are taken.
        repeats: Two turns of the user, or of the assistant, in a row.
        assistant_first: A conversation that the assistant begins.
        only_system: One without any turn of the user.
        tools: Descriptions of tools.
        calls: Calls of tools, and their results.
        user_after_result: A turn of the user behind a result.
        long_ids: Ids of calls of any length.
        parallel_calls: Several calls in one turn.
        lone_results: A result whose call is not there.
        lone_calls: A call whose result is not there.
    """

    system: bool = True
    second_system: bool = True
    late_system: bool = True
    developer: bool = True
    repeats: bool = True
    assistant_first: bool = True
    only_system: bool = True
    tools: bool = True
    calls: bool = True
    user_after_result: bool = True
    long_ids: bool = True
    parallel_calls: bool = True
    lone_results: bool = True
    lone_calls: bool = True

    @property
    def takes_any_order(self) -> bool:
        """Whether it takes system messages, users and assistants wherever they come."""
        return (
            self.system and self.second_system and self.late_system and self.repeats
            and self.assistant_first and self.only_system
        )  # fmt: skip


TAKES_ALL = TemplateTraits()

CAREFUL = TemplateTraits(
    second_system=False, late_system=False, developer=False, repeats=False, assistant_first=False,
    only_system=False, user_after_result=False, long_ids=False, parallel_calls=False, lone_results=False,
    lone_calls=False,
)  # fmt: skip
"""What every template takes that has roles for systems and tools."""

PLAIN = msgspec.structs.replace(CAREFUL, system=False, calls=False)
"""What every template takes: a user and an assistant by turns."""


def fitted(messages: Sequence[Message], traits: TemplateTraits, changes: ChangeNotes) -> list[Message]:
    """Return a conversation that a template takes.

    Args:
        messages: As the engine could read them.
        traits: Of the template.
        changes: Gets what was changed.
    """
    found = list(messages)
    if not traits.calls:
        found = list(_calls_as_text(found, changes))
    else:
        if not traits.long_ids:
            found = [_short_ids(message, changes) for message in found]
        if not traits.lone_results:
            found = list(_with_owned_results(found, changes))
        if not traits.parallel_calls:
            found = list(_one_call_a_turn(found, changes))
        if not traits.lone_calls:
            found = list(with_results(found, changes))
    turns = _FittedTurns(traits, changes)
    for message in found:
        turns.add(message)
    return turns.finished()


class _FittedTurns:
    """Collects messages in an order that a template takes."""

    def __init__(self, traits: TemplateTraits, changes: ChangeNotes) -> None:
        self._traits = traits
        self._changes = changes
        self._taken: list[Message] = []
        self._has_turns = False
        self._has_user = False

    def __repr__(self) -> str:
        return f"<_FittedTurns {len(self._taken)}>"

    def add(self, message: Message) -> None:
        """Take the next message, as it is or changed."""
        role, traits = message.get("role"), self._traits
        if role == "developer" and not traits.developer:
            role, message = "system", {**message, "role": "system"}
            self._changes.add("roles: developer as system")
        if role in _INSTRUCTING:
            self._instruct(message)
            return
        if role == "assistant" and not self._has_turns and not traits.assistant_first:
            self._changes.add("roles: a first turn of the user added")
            self._turn({"role": "user", "content": _BEGUN})
        self._turn(message)

    def finished(self) -> list[Message]:
        """Return what was collected."""
        if not self._has_user and self._taken and not self._traits.only_system:
            for at in reversed(range(len(self._taken))):
                if self._taken[at].get("role") in _INSTRUCTING:
                    self._changes.add("roles: system as user")
                    self._taken[at] = _as_user(self._taken[at])
                    return self._taken
            self._turn({"role": "user", "content": _BEGUN})
            self._changes.add("roles: a turn of the user added")
        return self._taken

    def _instruct(self, message: Message) -> None:
        traits, last = self._traits, self._taken[-1] if self._taken else None
        if self._has_turns:
            fits = traits.late_system
        elif last is None:
            fits = traits.system
        else:
            fits = traits.second_system
            if not fits and last.get("role") in _INSTRUCTING:
                self._changes.add("roles: system messages joined")
                self._taken[-1] = _joined(last, message)
                return
        if fits:
            self._taken.append(message)
            return
        self._changes.add(f"roles: {message['role']} as user")
        self._turn(_as_user(message))

    def _turn(self, message: Message) -> None:
        self._has_turns = True
        role, last = message.get("role"), self._taken[-1] if self._taken else {}
        before = last.get("role")
        self._has_user = self._has_user or role == "user"
        if role == "user" and before == "tool" and not self._traits.user_after_result:
            self._changes.add("roles: user within the result before it")
            self._taken[-1] = _joined(last, message)
        elif role == before and role in ("user", "assistant") and not self._traits.repeats:
            self._changes.add(f"roles: {role} turns joined")
            self._taken[-1] = _joined(last, message)
        else:
            self._taken.append(message)


def with_results(messages: Sequence[Message], changes: ChangeNotes) -> Iterator[Message]:
    """Yield messages in which each call has a result behind it."""
    owed: dict[str, None] = {}
    for message in messages:
        if message.get("role") == "tool":
            owed.pop(str(message.get("tool_call_id")), None)
        else:
            yield from _excuses(owed, changes)
            owed = dict.fromkeys(str(call.get("id")) for call in message.get("tool_calls") or ())
        yield message
    yield from _excuses(owed, changes)


def _excuses(owed: Mapping[str, None], changes: ChangeNotes) -> Iterator[Message]:
    for name in owed:
        changes.add("calls: a result added")
        yield {"role": "tool", "tool_call_id": name, "content": _NO_RESULT}


def _with_owned_results(messages: Sequence[Message], changes: ChangeNotes) -> Iterator[Message]:
    """Yield messages in which a result whose call is not there is the user's."""
    known = set[str]()
    for message in messages:
        known |= {str(call.get("id")) for call in message.get("tool_calls") or ()}
        if message.get("role") == "tool" and str(message.get("tool_call_id")) not in known:
            changes.add("calls: a result without its call as user")
            yield {"role": "user", "content": _tagged("tool-result", message)}
        else:
            yield message


def _one_call_a_turn(messages: Sequence[Message], changes: ChangeNotes) -> Iterator[Message]:
    """Yield messages in which calls of one turn come one after another, each with its result behind it."""
    waiting: list[Message] = []
    results: dict[str, Message] = {}
    for message in messages:
        if waiting and message.get("role") == "tool":
            results[str(message.get("tool_call_id"))] = message
            continue
        yield from _dealt(waiting, results)
        waiting, results = [], {}
        if len(calls := message.get("tool_calls") or ()) > 1:
            changes.add("calls: one a turn")
            waiting = [{**message, "tool_calls": [call]} for call in calls]
            waiting[1:] = [{**one, "content": ""} for one in waiting[1:]]
        else:
            yield message
    yield from _dealt(waiting, results)


def _dealt(calls: Sequence[Message], results: dict[str, Message]) -> Iterator[Message]:
    for call in calls:
        yield call
        if (result := results.pop(str(call["tool_calls"][0].get("id")), None)) is not None:
            yield result
    yield from results.values()


def _calls_as_text(messages: Sequence[Message], changes: ChangeNotes) -> Iterator[Message]:
    """Yield messages in which calls and results are text."""
    for message in messages:
        if message.get("role") == "tool":
            changes.add("calls: results as text")
            yield {"role": "user", "content": _tagged("tool-result", message)}
        elif calls := message.get("tool_calls"):
            changes.add("calls: as text")
            texts = [_call_text(call.get("function") or {}) for call in calls]
            rest = {name: value for name, value in message.items() if name != "tool_calls"}
            yield _joined({**rest, "content": message.get("content") or ""}, {"content": "\n".join(texts)})
        else:
            yield message


def _call_text(function: Mapping[str, Any]) -> str:
    arguments = function.get("arguments")
    text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
    return f'<tool-call name="{function.get("name")}">\n{text}\n</tool-call>'


def _short_ids(message: Message, changes: ChangeNotes) -> Message:
    """Return a message whose ids of calls have nine letters and digits, the same ones for the same id."""
    if calls := message.get("tool_calls"):
        renamed = [{**call, "id": _short_id(call.get("id"), changes)} for call in calls]
        return {**message, "tool_calls": renamed}
    if message.get("role") == "tool":
        return {**message, "tool_call_id": _short_id(message.get("tool_call_id"), changes)}
    return message


def _short_id(name: object, changes: ChangeNotes) -> str:
    text = str(name or "")
    if len(text) == _ID_LENGTH and text.isalnum() and text.isascii():
        return text
    changes.add("calls: ids shortened")
    return blake2b(text.encode("utf-8", "replace"), digest_size=5).hexdigest()[:_ID_LENGTH]


def _as_user(message: Message) -> Message:
    return {"role": "user", "content": _tagged("system-message", message)}


def _tagged(tag: str, message: Message) -> Any:
    """Return the content of a message between marks; pictures stay parts."""
    content = message.get("content")
    if isinstance(content, list) and any(text_of(part) is None for part in content):
        return [{"type": "text", "text": f"<{tag}>"}, *content, {"type": "text", "text": f"</{tag}>"}]
    return f"<{tag}>\n{_text(content)}\n</{tag}>"


def _text(content: object) -> str:
    if isinstance(content, list):
        return "\n".join(text_of(part) or "" for part in content)  # as the engine joins them
    return content if isinstance(content, str) else ""


def _joined(first: Message, second: Message) -> Message:
    """Return a message with the content of another one behind its own."""
    joined = {**first, "content": _both(first.get("content"), second.get("content"))}
    for name in ("tool_calls",):
        if second.get(name):
            joined[name] = [*(first.get(name) or ()), *second[name]]
    if thoughts := second.get("reasoning_content"):
        joined["reasoning_content"] = "\n\n".join(filter(None, (first.get("reasoning_content"), thoughts)))
    return joined


def _both(first: Any, second: Any) -> Any:
    first, second = _flat(first), _flat(second)
    if not first or not second:
        return first or second or ""
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    return [*_parts(first), *_parts(second)]


def _flat(content: Any) -> Any:
    """Return a content as one text, where it is text alone."""
    if isinstance(content, list) and all(text_of(part) is not None for part in content):
        return _text(content)
    return content


def _parts(content: Any) -> list[Any]:
    return content if isinstance(content, list) else [{"type": "text", "text": str(content)}]
