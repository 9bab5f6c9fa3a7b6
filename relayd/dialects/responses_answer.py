"""How does an answer look in OpenAI's responses API: the object, and the events that build it?

Every event has its `sequence_number` and indices, and items come strictly one after another: typed clients
index by both, and the engine's own stream has neither (b11434).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from relayd.dialects.chat_answer import AnswerCost
from relayd.dialects.events import named_event
from relayd.dialects.responses_tools import CUSTOM_ARGUMENT, Json, OfferedFunction

_encode = msgspec.json.Encoder().encode
_arguments = msgspec.json.Decoder(dict[str, object])


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """What is known of a response before it begins.

    Attributes:
        id: Its id.
        created_at: Seconds since 1970.
        model: As it was asked for.
        echo: What it repeats of the request.
        known: The tools by the names that the engine knows them by.
        summarizes: Reasoning is written as a summary.
        encrypted: The client keeps reasoning as `encrypted_content`; there is none, so it is empty.
        on_end: Called with the response once it is complete or cut.
        now: Returns seconds since 1970.
    """

    id: str
    created_at: int
    model: str
    echo: Mapping[str, object]
    known: Mapping[str, OfferedFunction] = field(default_factory=dict)
    summarizes: bool = False
    encrypted: bool = False
    on_end: Callable[[Json], None] = lambda _: None
    now: Callable[[], float] = lambda: 0.0

    def item_id(self, prefix: str, index: int) -> str:
        """Return the id of an item of the response."""
        return f"{prefix}_{self.id.removeprefix('resp_')}{index:02x}"


class ResponseWriter:
    """Writes a response, as events or as the object alone.

    Args:
        head: What is known of it.
        stream: Whether events are written.
    """

    def __init__(self, head: ResponseHead, *, stream: bool) -> None:
        self._head = head
        self._stream = stream
        self._written: list[bytes] = []
        self._output: list[Json] = []
        self._texts: list[str] = []
        self._open: Json | None = None
        self._number = 0
        self._is_muted = False
        self._figures: dict[str, object] = {}

    def __repr__(self) -> str:
        return f"<ResponseWriter {self._head.id} items={len(self._output)} events={self._number}>"

    def begin(self) -> None:
        """Write that the response exists and is worked on."""
        if self._stream:
            response = self._response("in_progress")
            self._event("response.created", response=response)
            self._event("response.in_progress", response=response)

    def measure(self, timings: msgspec.Raw, progress: msgspec.Raw) -> None:
        """Take what the engine measured, if it did: the next deltas and the last event have its timings."""
        self._figures = {"timings": timings} if memoryview(timings) else {}
        if memoryview(progress):
            response = self._response("in_progress")
            self._event("response.in_progress", response=response, prompt_progress=progress)

    def think(self, text: str) -> None:
        """Write more of the reasoning."""
        if self._open is None or self._open["type"] != "reasoning":
            item: Json = {
                "id": self._new_id("rs"),
                "type": "reasoning",
                "status": "in_progress",
                "summary": [],
            }
            if self._head.encrypted:
                item["encrypted_content"] = ""
            self._begin_item(item)
            if self._head.summarizes:
                part = {"type": "summary_text", "text": ""}
                self._about("response.reasoning_summary_part.added", summary_index=0, part=part)
            else:
                part = {"type": "reasoning_text", "text": ""}
                self._about("response.content_part.added", content_index=0, part=part)
        self._texts.append(text)
        if self._head.summarizes:
            self._about("response.reasoning_summary_text.delta", summary_index=0, delta=text, **self._figures)
        else:
            self._about("response.reasoning_text.delta", content_index=0, delta=text, **self._figures)

    def say(self, text: str) -> None:
        """Write more of the text."""
        if self._open is None or self._open["type"] != "message":
            self._begin_item(
                {"id": self._new_id("msg"), "type": "message", "status": "in_progress", "role": "assistant",
                 "content": []}
            )  # fmt: skip
            self._about("response.content_part.added", content_index=0, part=_text_part(""))
        self._texts.append(text)
        self._about("response.output_text.delta", content_index=0, delta=text, logprobs=[], **self._figures)

    def call(self, call_id: str, name: str) -> None:
        """Begin a call of a tool; a second one is left out where the client reads only one."""
        self._end_item()
        called = any(item["type"] in ("function_call", "custom_tool_call") for item in self._output)
        self._is_muted = called and self._head.echo.get("parallel_tool_calls") is False
        if self._is_muted:
            return
        tool = self._head.known.get(name) or OfferedFunction(name)
        known_as = call_id if call_id.startswith("call_") else f"call_{call_id}"
        kind, prefix, holder = (
            ("custom_tool_call", "ctc", "input") if tool.custom else ("function_call", "fc", "arguments")
        )
        item: Json = {"id": self._new_id(prefix), "type": kind, "status": "in_progress", "call_id": known_as,
                      "name": tool.name, holder: ""}  # fmt: skip
        if tool.namespace:
            item["namespace"] = tool.namespace
        self._begin_item(item)

    def argue(self, text: str) -> None:
        """Write more of the JSON of the last call's arguments."""
        if self._open is None or self._is_muted:
            return
        self._texts.append(text)
        if self._open["type"] == "function_call":
            self._about("response.function_call_arguments.delta", delta=text, **self._figures)

    def finish(self, reason: str, counts: AnswerCost) -> None:
        """Write the end, and how much it cost."""
        is_cut = reason == "length"
        self._end_item("incomplete" if is_cut else "completed")
        status = "incomplete" if is_cut else "completed"
        response = self._response(status) | {"usage": usage_of(counts)}
        if is_cut:
            response["incomplete_details"] = {"reason": "max_output_tokens"}
        else:
            response["completed_at"] = int(self._head.now())
        self._head.on_end(response)
        self._close(f"response.{status}", response)

    def fail(self, kind: str, message: str) -> None:
        """Write that there is no answer, and why."""
        if self._number == 0:
            self.begin()
        self._end_item("incomplete")
        error = {"code": kind or "server_error", "message": message}
        self._close("response.failed", self._response("failed") | {"error": error})

    def take(self) -> bytes:
        """Return what was written since the last time."""
        written = b"".join(self._written)
        self._written.clear()
        return written

    def _close(self, kind: str, response: Json) -> None:
        if self._stream:
            self._event(kind, response=response, **self._figures)
        else:
            self._written.append(_encode(response))

    def _begin_item(self, item: Json) -> None:
        self._end_item()
        self._open = item
        self._event("response.output_item.added", output_index=len(self._output), item=item)

    def _end_item(self, status: str = "completed") -> None:
        """Complete the item that is open."""
        item, self._open = self._open, None
        if item is None:
            return
        text = "".join(self._texts)
        self._texts.clear()
        item = {**item, "status": status}
        about = {"item_id": item["id"], "output_index": len(self._output)}
        match item["type"]:
            case "message":
                part = _text_part(text)
                self._event("response.output_text.done", **about, content_index=0, text=text, logprobs=[])
                self._event("response.content_part.done", **about, content_index=0, part=part)
                item["content"] = [part]
            case "reasoning":
                self._end_reasoning(item, about, text)
            case "function_call":
                done = {"name": item["name"], "arguments": text}
                self._event("response.function_call_arguments.done", **about, **done)
                item["arguments"] = text
            case _:
                item["input"] = _custom_input(text)
                self._event("response.custom_tool_call_input.delta", **about, delta=item["input"])
                self._event("response.custom_tool_call_input.done", **about, input=item["input"])
        self._output.append(item)
        self._event("response.output_item.done", output_index=about["output_index"], item=item)

    def _end_reasoning(self, item: Json, about: Json, text: str) -> None:
        if self._head.summarizes:
            part = {"type": "summary_text", "text": text}
            self._event("response.reasoning_summary_text.done", **about, summary_index=0, text=text)
            self._event("response.reasoning_summary_part.done", **about, summary_index=0, part=part)
            item["summary"] = [part]
        else:
            part = {"type": "reasoning_text", "text": text}
            self._event("response.reasoning_text.done", **about, content_index=0, text=text)
            self._event("response.content_part.done", **about, content_index=0, part=part)
            item["content"] = [part]

    def _about(self, kind: str, **members: object) -> None:
        """Write an event about the item that is open."""
        if self._stream and self._open is not None:
            self._event(kind, item_id=self._open["id"], output_index=len(self._output), **members)

    def _event(self, kind: str, **members: object) -> None:
        if not self._stream:
            return
        event = {"type": kind, "sequence_number": self._number, **members}
        self._number += 1
        self._written.append(named_event(kind, _encode(event)))

    def _new_id(self, prefix: str) -> str:
        return self._head.item_id(prefix, len(self._output) + (self._open is not None))

    def _response(self, status: str) -> Json:
        head = self._head
        return {
            "id": head.id,
            "object": "response",
            "created_at": head.created_at,
            "completed_at": None,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            **head.echo,
            "model": head.model,
            "output": list(self._output),
            "service_tier": "default",
            "usage": None,
        }


def _text_part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _custom_input(arguments: str) -> str:
    """Return the text of a custom tool's call; what is cut or otherwise made is returned as it is."""
    try:
        text = _arguments.decode(arguments).get(CUSTOM_ARGUMENT)
    except msgspec.DecodeError:
        return arguments
    return text if isinstance(text, str) else arguments


def usage_of(counts: AnswerCost) -> Json:
    """Return what an answer cost, as a response states it."""
    return {
        "input_tokens": counts.prompt,
        "input_tokens_details": {"cached_tokens": counts.cached},
        "output_tokens": counts.completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": counts.prompt + counts.completion,
    }
