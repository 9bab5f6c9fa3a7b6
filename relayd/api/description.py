"""What can be asked for here, in words that programs read (`/openapi.json`, `/llms.txt`)?

Made of the routes themselves and of the table of members, so it is never about another relayd.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from aiohttp import web

from relayd import __version__
from relayd.api.admission import Access, Described, RequestContext, Route
from relayd.api.answer import Answer
from relayd.router import OWN_FIELDS, BodyRules

SUMMARIES: Mapping[str, str] = {
    "/v1/chat/completions": "Answer a conversation (OpenAI).",
    "/chat/completions": "The same as /v1/chat/completions.",
    "/v1/completions": "Continue a text (OpenAI).",
    "/completions": "Continue a text: OpenAI's form where a model is named, else llama.cpp's.",
    "/v1/embeddings": "Turn texts into vectors (OpenAI).",
    "/embeddings": "Turn texts into vectors: OpenAI's form where a model is named, else llama.cpp's.",
    "/v1/responses": "Answer a conversation of items (OpenAI).",
    "/responses": "The same as /v1/responses.",
    "/v1/responses/input_tokens": "Count the tokens of a request to /v1/responses; takes no slot.",
    "/responses/input_tokens": "The same as /v1/responses/input_tokens.",
    "/v1/responses/compact": "Shorten a conversation of items to a summary (OpenAI).",
    "/responses/compact": "The same as /v1/responses/compact.",
    "/v1/responses/": "Read or delete a response that is kept.",
    "/v1/messages": "Answer a conversation (Anthropic).",
    "/v1/messages/count_tokens": "Count the tokens of a conversation (Anthropic); takes no slot.",
    "/v1/rerank": "Rank documents for a query (Jina).",
    "/rerank": "The same as /v1/rerank.",
    "/v1/reranking": "The same as /v1/rerank.",
    "/reranking": "The same as /v1/rerank.",
    "/v2/rerank": "Rank documents for a query (Cohere).",
    "/v1/audio/transcriptions": "Transcribe speech (OpenAI), by a model that takes audio.",
    "/audio/transcriptions": "The same as /v1/audio/transcriptions.",
    "/v1/models": "List the models, with window, capabilities and state.",
    "/models": "The same as /v1/models.",
    "/v1/models/": "Describe one model.",
    "/models/": "Describe one model; behind its name are the paths for it alone.",
    "/": "Greet Ollama's clients.",
    "/api/version": "Version of Ollama's API that is served.",
    "/api/tags": "List the models (Ollama).",
    "/api/ps": "List the models that are in memory (Ollama).",
    "/api/show": "Describe one model (Ollama).",
    "/api/chat": "Answer a conversation (Ollama).",
    "/api/generate": "Continue a text (Ollama).",
    "/api/embed": "Turn texts into vectors (Ollama).",
    "/api/embeddings": "Turn a text into a vector (Ollama).",
    "/api/pull": "Report a model that is here as downloaded (Ollama).",
    "/api/v0/models": "List the models (LM Studio).",
    "/api/v0/models/": "Describe one model (LM Studio).",
    "/health": "State of the service and its models; 503 while no request can be served.",
    "/v1/health": "The same as /health.",
    "/completion": "Continue a text (llama.cpp).",
    "/infill": "Fill in between two texts (llama.cpp).",
    "/embedding": "Turn texts into vectors (llama.cpp).",
    "/v1/systemone": "Answer typed questions by a decision model (llama.cpp).",
    "/tokenize": "Split a text into tokens (llama.cpp); takes no slot.",
    "/detokenize": "Make a text of tokens (llama.cpp); takes no slot.",
    "/apply-template": "Render a conversation by the model's template (llama.cpp); takes no slot.",
    "/chat/completions/input_tokens": "Count the tokens of a conversation; takes no slot.",
    "/v1/chat/completions/input_tokens": "The same as /chat/completions/input_tokens.",
    "/props": "What a replica of the model was started with (llama.cpp).",
    "/slots": "What the slots of a replica work on (llama.cpp).",
    "/metrics": "Figures of relayd and of every replica, for Prometheus.",
    "/metrics.json": "The figures of relayd as JSON.",
    "/lora-adapters": "Adapters of the model (llama.cpp).",
    "/healthz": "Whether the process answers.",
    "/readyz": "Whether a model answers.",
    "/openapi.json": "This description.",
    "/llms.txt": "The same for language models.",
}
"""What each path is for; a path without a line answers that it is not served."""

_ERROR = {
    "description": "An error, in the form of the path's API. Its code is stable.",
    "content": {"application/json": {"schema": {"type": "object"}}},
}
_JSON = {"application/json": {"schema": {"type": ["object", "array"]}}}
_EVENTS = {"text/event-stream": {"schema": {"type": "string"}}}
_LINES = {"application/x-ndjson": {"schema": {"type": "string"}}}
_HEADERS = {"X-Request-ID": {"schema": {"type": "string"}, "description": "The id of the request."}}

_LLMS = f"""# relayd {__version__}

> One address for the llama.cpp models of this machine. It serves the APIs of OpenAI, Anthropic, Ollama and
> llama.cpp, queues requests, shares slots fairly, and retries or continues what a crash interrupts.

Send a key, if one is set, as `Authorization: Bearer KEY` or `x-api-key: KEY`. `GET /v1/models` lists names.
Errors have a stable `code`; 429 and 503 carry `Retry-After`. `/openapi.json` describes each body.

## Paths

"""


def described(routes: Iterable[Route]) -> list[Route]:
    """Return the routes that serve something."""
    return [route for route in routes if route.path in SUMMARIES or route.described]


def openapi(routes: Iterable[Route]) -> dict[str, Any]:
    """Return the description of some routes (OpenAPI 3.1)."""
    paths: dict[str, dict[str, Any]] = {}
    for route in described(routes):
        if not route.described:
            paths.setdefault(_templated(route.path), {})[route.method.lower()] = _operation(route)
        for one in route.described:
            paths.setdefault(one.path, {})[route.method.lower()] = _described_operation(route.method, one)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "relayd",
            "version": __version__,
            "description": "llama.cpp models at one address.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            }
        },
        "security": [{}, {"bearer": []}, {"key": []}],
    }


def llms_text(routes: Iterable[Route]) -> str:
    """Return the description of some routes for a language model."""
    lines = [
        f"- `{route.method} {path}`: {summary}"
        for route in described(routes)
        for path, summary in _lines_of(route)
    ]
    return _LLMS + "\n".join(lines) + "\n"


def description_routes(routes: Sequence[Route]) -> tuple[Route, ...]:
    """Return the routes that describe some others, and themselves."""

    @cache
    def document() -> bytes:
        return msgspec.json.encode(openapi((*routes, *own)))

    async def api(_request: web.BaseRequest, _context: RequestContext) -> web.StreamResponse:
        return Answer(200, document()).response()

    async def text(_request: web.BaseRequest, _context: RequestContext) -> web.StreamResponse:
        words = llms_text((*routes, *own)).encode()
        return Answer(200, words, {**OWN_FIELDS, "Content-Type": "text/plain; charset=utf-8"}).response()

    own = (Route("GET", "/openapi.json", api), Route("GET", "/llms.txt", text))
    return own


def _lines_of(route: Route) -> list[tuple[str, str]]:
    """Return path and summary of each operation of a route."""
    if route.described:
        return [(one.path, one.summary) for one in route.described]
    return [(_templated(route.path), SUMMARIES[route.path])]


def _described_operation(method: str, one: Described) -> dict[str, Any]:
    """Return what is known of an operation that describes itself."""
    schema = _own_schema(one.takes)
    members = {name: kind for name, kind in schema["properties"].items() if name not in (one.named, one.free)}
    required = [name for name in schema.get("required", ()) if name in members]
    kinds = _EVENTS if one.streams else _JSON
    found: dict[str, Any] = {
        "operationId": re.sub(r"[^a-z]+", "_", f"{method} {one.path}".lower()).strip("_"),
        "summary": one.summary,
        "responses": {
            str(one.status): {"description": "The answer.", "headers": _HEADERS, "content": kinds},
            "default": _ERROR,
        },
        "security": [{"bearer": []}, {"key": []}],
    }
    parameters = [
        {"name": name, "in": "query", "required": name in required, "schema": kind}
        for name, kind in (members.items() if method == "GET" else ())
    ]
    if one.named:
        parameters.append({"name": "name", "in": "path", "required": True, "schema": {"type": "string"}})
    if parameters:
        found["parameters"] = parameters
    if method in ("POST", "PUT") and (members or one.free):
        body = {
            "type": "object",
            "properties": members,
            "required": required,
            "additionalProperties": bool(one.free),
        }
        found["requestBody"] = {"required": bool(required), "content": {"application/json": {"schema": body}}}
    return found


def _own_schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the schema of arguments, with the schemas of what they hold in their places."""
    (_,), components = msgspec.json.schema_components([kind])
    return dict(_inlined(components[kind.__name__], components))


def _inlined(schema: Any, components: Mapping[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inlined(one, components) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if name := schema.get("$ref"):
        return _inlined(components[name.rpartition("/")[2]], components)
    return {key: _inlined(value, components) for key, value in schema.items()}


def _templated(path: str) -> str:
    return f"{path}{{name}}" if path.endswith("/") and path != "/" else path


def _operation(route: Route) -> dict[str, Any]:
    """Return what is known of one route."""
    streams = route.rules is not None and "stream" in route.rules.members
    pieces = _LINES if route.rules is not None and route.rules.streams else _EVENTS
    content = {**_JSON, **(pieces if streams else {})}
    if route.path in ("/", "/llms.txt", "/metrics"):
        content = {"text/plain": {"schema": {"type": "string"}}}
    name = route.path.strip("/").replace("/", "_").replace(".", "_") or "root"
    operation: dict[str, Any] = {
        "operationId": f"{route.method.lower()}_{name}{'_one' if route.path.endswith('/') else ''}",
        "summary": SUMMARIES[route.path],
        "responses": {
            "200": {"description": "The answer.", "headers": _HEADERS, "content": content},
            "default": _ERROR,
        },
    }
    if route.path.endswith("/"):
        named = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
        operation["parameters"] = [named]
    if route.access is Access.PUBLIC:
        operation["security"] = []
    if route.rules is not None:
        body = {"application/json": {"schema": _body(route.rules)}}
        operation["requestBody"] = {"required": True, "content": body}
    return operation


def _body(rules: BodyRules) -> dict[str, Any]:
    """Return the schema of a body."""
    properties = {
        name: {**member.schema, "description": member.remedy or f"Must be {member.wants}."}
        for name, member in rules.members.items()
    }
    return {"type": "object", "properties": properties}
