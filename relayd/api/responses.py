"""OpenAI's responses API, translated to chats of the engine and back."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from aiohttp import web

from relayd.api.admission import RequestContext, Route
from relayd.api.answer import json_answer, new_id
from relayd.api.fleet import ModelView
from relayd.api.forwarding import Adapted, Forwarding, Members
from relayd.api.inference import Inference
from relayd.api.kept import KeptResponse, KeptResponses
from relayd.api.openai import CODES, OPENAI, error_type
from relayd.clock import Clock
from relayd.dialects.chat_answer import ChatEvents, ChatWhole
from relayd.dialects.responses_answer import ResponseHead, ResponseWriter
from relayd.dialects.responses_compaction import CompactionWriter, asking_for_summary
from relayd.dialects.responses_request import ChatRequest, as_chat
from relayd.errors import NotFoundError, NotServedError, RequestError
from relayd.router import LLAMA_SERVER, Dialect, Peek, Problem, Translation
from relayd.scheduler.ask import BACKGROUND

_CHAT = "/v1/chat/completions"
_NOT_OF_A_SUMMARY = frozenset({"tools", "tool_choice", "parallel_tool_calls", "text"})
_TOO_LONG = frozenset({"exceed_context_size_error"})
"""What a stream is refused for by its own event: Codex compacts a conversation only for that."""
_ENCRYPTED = b'"reasoning.encrypted_content"'


@dataclass(frozen=True, slots=True)
class Responses:
    """The door.

    Attributes:
        inference: Reaches replicas.
        kept: Responses that clients can name.
        clock: Dates them.
    """

    inference: Inference
    kept: KeptResponses
    clock: Clock

    def routes(self) -> tuple[Route, ...]:
        """Return the routes of the responses API."""
        rules = LLAMA_SERVER["/v1/responses"]
        forwardings = (
            *(Forwarding(path, rules, self._create) for path in ("/v1/responses", "/responses")),
            *(
                Forwarding(path, rules, self._count, queued=False)
                for path in ("/v1/responses/input_tokens", "/responses/input_tokens")
            ),
            *(
                Forwarding(path, rules, self._compact)
                for path in ("/v1/responses/compact", "/responses/compact")
            ),
        )
        one = "/v1/responses/"
        return (
            *self.inference.routes(OPENAI, forwardings),
            Route("GET", one, self._read, dialect=OPENAI),
            Route("DELETE", one, self._delete, dialect=OPENAI),
            Route("POST", one, _not_served, dialect=OPENAI),
        )

    def _create(self, members: Members, seen: Peek, model: ModelView, context: RequestContext) -> Adapted:
        asked, key = self._asked(members, seen, context), context.key
        name = f"resp_{new_id()}"
        is_line = context.klass == BACKGROUND  # its answer is in the file of results
        keeps = asked.echo["store"] is not False and context.grant.rights.retain and not is_line
        head = ResponseHead(
            id=name,
            created_at=int(self.clock.wall()),
            model=seen.model or model.name,
            echo=asked.echo,
            known=asked.tools.known,
            summarizes=asked.summarizes,
            encrypted=_ENCRYPTED in bytes(members.get("include", b"")),
            on_end=partial(self.kept.keep, key, items=asked.items) if keeps else lambda _: None,
            now=self.clock.wall,
        )
        writer = ResponseWriter(head, stream=seen.stream)
        translation = ChatEvents(writer, writer.measure) if seen.stream else ChatWhole(writer)
        return Adapted(asked.body, _CHAT, _answering(writer, translation), _left_out(asked))

    def _compact(self, members: Members, seen: Peek, _model: ModelView, context: RequestContext) -> Adapted:
        """Have the model write down what its conversation was about."""
        if seen.stream:
            raise RequestError(
                "A shortened conversation is not streamed.", remedy="Leave stream out.", param="stream"
            )
        free = {name: value for name, value in members.items() if name not in _NOT_OF_A_SUMMARY}
        asked = self._asked(free, seen, context)
        writer = CompactionWriter(f"resp_{new_id()}", int(self.clock.wall()), asked.items)
        return Adapted(
            asking_for_summary(asked.body), _CHAT, OPENAI.answering(ChatWhole(writer)), _left_out(asked)
        )

    def _count(self, members: Members, seen: Peek, _model: ModelView, context: RequestContext) -> Adapted:
        return Adapted(self._asked(members, seen, context).body, f"{_CHAT}/input_tokens")

    def _asked(self, members: Members, seen: Peek, context: RequestContext) -> ChatRequest:
        key = context.key
        history = self._history(key, members)
        return as_chat(members, history, partial(self.kept.find_item, key), stream=seen.stream)

    def _history(self, key: str, members: Members) -> list[object]:
        """Return the items of the conversation that a request continues."""
        previous = msgspec.json.decode(members.get("previous_response_id", b"null"))
        if not previous:
            return []
        kept = self.kept.find(key, previous) if isinstance(previous, str) else None
        if kept is None:
            raise RequestError(
                "previous_response_id names no response that is kept here.",
                remedy="Send the whole conversation as input.",
                param="previous_response_id",
            )
        return kept.conversation()

    async def _read(self, _request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
        name, _, part = context.tail.partition("/")
        kept = self._named(context, name)
        if not part:
            return json_answer(msgspec.Raw(kept.response))
        if part != "input_items":
            raise NotServedError(f"There is nothing at {part[:100]!r} of a response.")
        own = len(msgspec.json.decode(kept.response, type=dict[str, Any])["output"])
        items = kept.conversation()
        items = items[: len(items) - own]
        listed = {"object": "list", "data": items, "has_more": False, "first_id": None, "last_id": None}
        return json_answer(listed)

    async def _delete(self, _request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
        name = self._named(context, context.tail).id
        self.kept.remove(context.key, name)
        return json_answer({"id": name, "object": "response", "deleted": True})

    def _named(self, context: RequestContext, name: str) -> KeptResponse:
        kept = self.kept.find(context.key, name)
        if kept is None:
            raise NotFoundError(f"No response {name[:100]!r} is kept here.")
        return kept


def responses_routes(inference: Inference, kept: KeptResponses, clock: Clock) -> tuple[Route, ...]:
    """Return the routes of OpenAI's responses API."""
    return Responses(inference, kept, clock).routes()


def _answering(writer: ResponseWriter, translation: Translation) -> Dialect:
    """Return the dialect of one answer: an error within it is an event of its own stream."""

    def failed(problem: Problem) -> bytes:
        writer.fail(CODES.get(problem.code, problem.code) or error_type(problem.status), problem.message)
        return writer.take()

    return OPENAI.answering(
        translation, name="responses", error_event=failed, last_event=b"", refused_within=_TOO_LONG
    )


def _left_out(asked: ChatRequest) -> str:
    names = [name for name in asked.left_out if name.isascii() and name.isprintable()]
    return f"left out: {', '.join(names[:16])}" if names else ""


async def _not_served(_request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
    raise NotServedError(f"/v1/responses/{context.tail[:100]} is not served here.")
