"""Ollama's API, translated to requests of llama-server and back; and LM Studio's list of models.

Models come and go by relayd's own rules: `keep_alive` is a hint that changes nothing. A request without
messages or prompt has its model loaded, or unloaded by a `keep_alive` of 0 where it is loaded on demand.
"""

import re
from collections.abc import Callable, Container
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import unquote

import msgspec
from aiohttp import web

from relayd.api.admission import Access, RequestContext, Route
from relayd.api.answer import Answer, json_answer
from relayd.api.fleet import ModelView
from relayd.api.forwarding import Adapted, Forwarding, Members
from relayd.api.inference import Inference
from relayd.api.ollamachanges import OllamaChanges
from relayd.api.ollamalist import digest_of, lm_model, lm_models, running, shown, tags
from relayd.api.openai import OPENAI
from relayd.api.served import peer_of
from relayd.api.truncation import fitted
from relayd.api.welcome import welcome
from relayd.clock import Clock
from relayd.dialects import ollama_request
from relayd.dialects.embeddings import shortened
from relayd.dialects.ollama_answer import NDJSON, Form, OllamaLines
from relayd.dialects.ollama_loaded import loaded
from relayd.dialects.ollama_vectors import OllamaVectors
from relayd.errors import ModelNotFoundError, NotServedError, RequestError
from relayd.router import OLLAMA, OPTIONS, OWN_FIELDS, Dialect, OpenedBody, Peek, Problem

VERSION = "0.17.4"
"""Of the API that is served here; some clients refuse one before 0.13.4 (Codex) or 0.6.4 (Copilot)."""

_MISSING = re.compile(r"There is no model ('.*?'|\".*?\")\.", re.DOTALL)

NO_CHANGES = {
    "/api/create": "Making a model",
    "/api/copy": "Copying a model",
    "/api/delete": "Deleting a model",
    "/api/push": "Uploading a model",
    "/api/blobs/": "Uploading a file",
}
"""Paths that would change which models there are, and what for; the first three are for administrators."""


def ollama_error(problem: Problem) -> bytes:
    """Return the body of an error response: clients print its only text."""
    return msgspec.json.encode({"error": _text(problem), "code": problem.code or None})


def _text(problem: Problem) -> str:
    """Return the text of an error; a missing model is called so in Ollama's words, which clients look for."""
    if problem.code == ModelNotFoundError.code:
        return _MISSING.sub(r"model \1 not found.", problem.message, count=1)
    return problem.message


def _line(problem: Problem) -> bytes:
    return msgspec.json.encode({"error": _text(problem)}) + b"\n"


OLLAMA_DIALECT = Dialect(name="ollama", error_body=ollama_error, error_event=_line, event_end=b"\n")


@dataclass(frozen=True, slots=True)
class OllamaApi:
    """The door.

    Attributes:
        inference: Reaches replicas.
        clock: Measures and dates answers.
        release: Has a model leave memory, and returns whether it does.
        changes: What administrators can change.
    """

    inference: Inference
    clock: Clock
    release: Callable[[str], bool]
    changes: OllamaChanges

    def routes(self) -> tuple[Route, ...]:
        """Return the routes of Ollama's API."""
        forwardings = (
            Forwarding("/api/chat", OLLAMA["/api/chat"], self._chat),
            Forwarding("/api/generate", OLLAMA["/api/generate"], self._generate),
            Forwarding(
                "/api/embed",
                OLLAMA["/api/embed"],
                partial(self._embed, single=False),
                ability="embedding",
                fit=partial(fitted, "input"),
            ),
            Forwarding(
                "/api/embeddings",
                OLLAMA["/api/embeddings"],
                partial(self._embed, single=True),
                ability="embedding",
                fit=partial(fitted, "prompt"),
            ),
        )
        own = {"/api/show": self._show, "/api/pull": self._pull}
        return (
            *self.inference.routes(OLLAMA_DIALECT, forwardings),
            *(
                self.inference.answered(path, OLLAMA[path], OLLAMA_DIALECT, answer)
                for path, answer in own.items()
            ),
            Route("GET", "/", welcome(self.inference.fleet), access=Access.PUBLIC, dialect=OLLAMA_DIALECT),
            Route("GET", "/api/version", _version, dialect=OLLAMA_DIALECT),
            self._listed("/api/tags", tags),
            self._listed("/api/ps", running),
            *(changes := self.changes.routes(OLLAMA_DIALECT)),
            *_refused({(route.method, route.path) for route in changes}),
        )

    def _listed(self, path: str, listing: Callable[..., dict[str, object]]) -> Route:
        async def answer(_request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
            return json_answer(listing(context.visible(self.inference.fleet)))

        return Route("GET", path, answer, dialect=OLLAMA_DIALECT)

    def _chat(
        self, members: Members, seen: Peek, model: ModelView, _context: RequestContext
    ) -> Adapted | Answer:
        if ollama_request.is_empty(members, "messages"):
            return self._only_loaded("chat", members, seen, model)
        asked = ollama_request.chat(members, OPTIONS, stream=seen.stream)
        return self._asked("chat", asked, seen, model, ollama_request.unloads(members))

    def _generate(
        self, members: Members, seen: Peek, model: ModelView, _context: RequestContext
    ) -> Adapted | Answer:
        if ollama_request.is_empty(members, "prompt", "images", "suffix"):
            return self._only_loaded("generate", members, seen, model)
        asked = ollama_request.generate(members, OPTIONS, stream=seen.stream)
        return self._asked("generate", asked, seen, model, ollama_request.unloads(members))

    def _asked(
        self,
        form: Form,
        asked: ollama_request.EngineRequest,
        seen: Peek,
        model: ModelView,
        unloads: bool,
    ) -> Adapted:
        """Return what the engine is asked; where the model is to leave memory, it does behind the answer."""
        release = partial(self.release, model.replicas_of) if unloads else None
        lines = OllamaLines(form, seen.model or model.name, self.clock, stream=seen.stream, on_end=release)
        return Adapted(
            msgspec.json.encode(asked.body),
            asked.path,
            OLLAMA_DIALECT.answering(lines, by_line=seen.stream),
            f"left out: {', '.join(asked.left_out)}" if asked.left_out else "",
        )

    def _only_loaded(self, form: Form, members: Members, seen: Peek, model: ModelView) -> Adapted | Answer:
        """Answer once the model is in memory: an empty text is split into tokens by it.

        One that is to be unloaded is asked for nothing.
        """
        reason = "unload" if ollama_request.unloads(members) else "load"
        answer = loaded(form, seen.model or model.name, reason, self.clock.wall(), stream=seen.stream)
        if reason == "unload":
            fields = {**OWN_FIELDS, "Content-Type": answer.media_type}
            if not self.release(model.replicas_of):
                fields["X-Relayd-Changed"] = "left out: keep_alive"
            return Answer(200, answer.payload, fields)
        return Adapted(b'{"content":""}', "/tokenize", OLLAMA_DIALECT.answering(answer))

    def _embed(
        self, members: Members, seen: Peek, model: ModelView, _context: RequestContext, *, single: bool
    ) -> Adapted:
        given = members.get("prompt" if single else "input", msgspec.Raw(b'""'))
        asked = {"input": given, "encoding_format": msgspec.Raw(b'"float"')}
        found = None
        if (dimensions := members.get("dimensions")) and bytes(dimensions) not in (b"0", b"null"):
            found = shortened({**asked, "dimensions": dimensions}, model.facts.embedding_length)
        vectors = OllamaVectors(
            seen.model or model.name, self.clock, single=single, cut=found[1] if found else None
        )
        return Adapted(
            msgspec.json.encode(found[0] if found else asked),
            "/v1/embeddings",
            OLLAMA_DIALECT.answering(vectors, ends_aside=True),
        )

    def _show(self, body: OpenedBody, context: RequestContext) -> Answer:
        model = self._named(body, context)
        return Answer(200, msgspec.json.encode(shown(model)))

    def _pull(self, body: OpenedBody, context: RequestContext) -> Answer:
        """Report a model that is here as downloaded: clients ask for theirs before they use it."""
        digest = f"sha256:{digest_of(self._named(body, context))}"
        if bytes(body.members.get("stream", b"true")) == b"false":
            return Answer(200, b'{"status":"success"}')
        statuses: list[dict[str, Any]] = [
            {"status": "pulling manifest"},
            {"status": f"pulling {digest[7:19]}", "digest": digest, "total": 1, "completed": 1},
            {"status": "verifying sha256 digest"},
            {"status": "writing manifest"},
            {"status": "success"},
        ]
        lines = b"".join(msgspec.json.encode(status) + b"\n" for status in statuses)
        return Answer(200, lines, {**OWN_FIELDS, "Content-Type": NDJSON})

    def _named(self, body: OpenedBody, context: RequestContext) -> ModelView:
        """Return the model that a body names, in either of two members; some clients leave one empty."""
        given = (msgspec.json.decode(body.members.get(name, b"null")) for name in ("model", "name"))
        if not (name := next(filter(None, given), None)):
            raise RequestError("The request names no model.", remedy="Send its name as model.", param="model")
        return context.find(self.inference.fleet, name)


def ollama_routes(
    inference: Inference,
    clock: Clock,
    release: Callable[[str], bool] = lambda _: False,
    changes: OllamaChanges | None = None,
) -> tuple[Route, ...]:
    """Return the routes of Ollama's API; without `changes` nothing can be changed."""
    return OllamaApi(inference, clock, release, changes or OllamaChanges({}, peer_of)).routes()


def lm_studio_routes(inference: Inference) -> tuple[Route, ...]:
    """Return the routes of LM Studio's own list of models; the rest of its API is OpenAI's."""
    fleet, path = inference.fleet, "/api/v0/models"

    async def every(_request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
        return json_answer(lm_models(context.visible(fleet)))

    async def one(_request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
        return json_answer(lm_model(context.find(fleet, unquote(context.tail))))

    return (Route("GET", path, every, dialect=OPENAI), Route("GET", f"{path}/", one, dialect=OPENAI))


def _refused(served: Container[tuple[str, str]]) -> list[Route]:
    return [
        Route(method, path, partial(_refuse, what), dialect=OLLAMA_DIALECT)
        for path, what in NO_CHANGES.items()
        for method in ("POST", "DELETE")
        if (method, path) not in served
    ]


async def _refuse(what: str, _request: web.BaseRequest, _context: RequestContext) -> web.StreamResponse:
    raise NotServedError(
        f"{what} is not served here.", remedy="An operator sets the models in relay.toml, see relayd pull."
    )


async def _version(_request: web.BaseRequest, _context: RequestContext) -> web.StreamResponse:
    return json_answer({"version": VERSION})
