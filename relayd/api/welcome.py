"""What `GET /` answers: a page for browsers, and for Ollama's clients the text that they look for."""

from collections.abc import Awaitable, Callable, Sequence
from html import escape

from aiohttp import web

from relayd.api.admission import RequestContext
from relayd.api.answer import Answer
from relayd.api.fleet import ModelDirectory, ModelView
from relayd.router import OWN_FIELDS

GREETING = b"Ollama is running"
"""Clients of Ollama compare it."""

_TEXT = {**OWN_FIELDS, "Content-Type": "text/plain; charset=utf-8", "Vary": "Accept"}

_HTML = {
    **OWN_FIELDS,
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": (
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept",
}

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>relayd</title>
<meta name="viewport" content="width=device-width, initial-scale=1"></head><body>
<h1>relayd</h1>
<p>OpenAI's, Anthropic's and Ollama's APIs are at <code>{address}</code> (OpenAI's base URL:
<code>{address}/v1</code>).</p>
{models}
<ul>
<li><a href="/ui">Dashboard</a></li>
<li><a href="/v1/models">Models, as JSON</a></li>
<li><a href="/health">Health</a></li>
<li><a href="/llms.txt">All paths</a>, <a href="/openapi.json">as OpenAPI</a></li>
</ul>
<p>On a terminal: <code>relayd status</code>, <code>relayd chat</code>, <code>relayd --help</code>.</p>
</body></html>
"""


def welcome(
    fleet: ModelDirectory,
) -> Callable[[web.BaseRequest, RequestContext], Awaitable[web.StreamResponse]]:
    """Return what answers at the root; models are named only to those who may use them."""

    async def answer(request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
        if "text/html" not in request.headers.get("Accept", ""):
            return Answer(200, GREETING, _TEXT).response()
        visible = context.visible(fleet) if context.trusted else None
        page = _PAGE.format(address=escape(_address(request)), models=_models(visible))
        return Answer(200, page.encode(), _HTML).response()

    return answer


def _address(request: web.BaseRequest) -> str:
    """Return the address that the browser has used; its host was let in already."""
    return f"{request.scheme}://{request.host}"


def _models(visible: Sequence[ModelView] | None) -> str:
    """Return the models that may be seen; None for who has to show a key first."""
    if visible is None:
        return (
            "<p>A key is needed to see the models and to use them: <code>relayd keys create NAME</code>.</p>"
        )
    if not visible:
        return "<p>No model is served yet: <code>relayd run NAME</code> fetches one.</p>"
    return f"<table>\n<tr><th>Model</th><th>State</th></tr>\n{''.join(map(_row, visible))}</table>"


def _row(model: ModelView) -> str:
    return f"<tr><td><code>{escape(model.name)}</code></td><td>{escape(model.state.value)}</td></tr>\n"
