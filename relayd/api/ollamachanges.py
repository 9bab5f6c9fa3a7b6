"""How do administrators copy, make and delete models over Ollama's API?

A copy, and what is made of a model that is here, is a virtual model: a name with a system prompt and
parameters, which the replicas of the other one serve. Nothing is uploaded, and no template is taken.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from relayd.api.admin.routes import ClientOf, Offered, read_small
from relayd.api.admission import Access, Handler, RequestContext, Route
from relayd.api.answer import Answer
from relayd.api.control import Feed
from relayd.errors import NotServedError, RelaydError, RequestError
from relayd.journal import Journal
from relayd.router import OPTIONS, OWN_FIELDS, Dialect

_TAG = ":latest"
_NDJSON = {**OWN_FIELDS, "Content-Type": "application/x-ndjson"}
_UPLOADED = ("files", "adapters", "quantize", "modelfile")
_OF_A_TEMPLATE = ("template", "messages")


class _CopyToMake(msgspec.Struct):
    source: str = ""
    destination: str = ""


class _NamedModel(msgspec.Struct):
    model: str | None = None
    name: str | None = None

    @property
    def meant(self) -> str:
        """The model that is named, without its tag."""
        return _plain(self.model or self.name or "")


class _ModelToMake(_NamedModel):
    source: str | None = msgspec.field(name="from", default=None)
    system: str | None = None
    parameters: dict[str, Any] | None = None
    stream: bool | None = None


Change = Callable[[bytes], Awaitable[Answer]]


class OllamaChanges:
    """The paths that change which models there are.

    Args:
        offered: The verbs of administrators.
        client_of: Returns the address of a request's client.
    """

    def __init__(self, offered: Offered, client_of: ClientOf) -> None:
        self._offered = offered
        self._client_of = client_of
        self._journal = Journal("admin")

    def __repr__(self) -> str:
        return f"<OllamaChanges of {len(self._offered)} verbs>"

    def routes(self, dialect: Dialect) -> tuple[Route, ...]:
        """Return the routes; none where nothing is offered."""
        if "derive_model" not in self._offered:
            return ()
        known = (
            ("POST", "/api/copy", self._copy),
            ("POST", "/api/create", self._create),
            ("DELETE", "/api/delete", self._delete),
        )
        return tuple(
            Route(method, path, self._handler(path, change), Access.ADMIN, dialect)
            for method, path, change in known
        )

    def _handler(self, path: str, change: Change) -> Handler:
        async def handle(request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
            body = await read_small(request)
            client, key = self._client_of(request), context.key or "-"
            self._journal.info("admin.command", verb=path, name="-", client=client, key=key)
            return (await change(body)).carrying(context.headers).response()

        return handle

    async def _copy(self, body: bytes) -> Answer:
        asked = _read(body, _CopyToMake)
        source, destination = _required(_plain(asked.source), "source"), _plain(asked.destination)
        await self._run("derive_model", name=_required(destination, "destination"), of=source)
        return Answer(200, b"", dict(OWN_FIELDS))

    async def _delete(self, body: bytes) -> Answer:
        await self._run("remove_derived", name=_required(_read(body, _NamedModel).meant, "model"))
        return Answer(200, b"", dict(OWN_FIELDS))

    async def _create(self, body: bytes) -> Answer:
        given = _read(body, dict[str, msgspec.Raw])
        for name in (*_UPLOADED, *_OF_A_TEMPLATE):
            if bytes(given.get(name, b"null")) not in (b"null", b'""', b"{}", b"[]"):
                raise RequestError(
                    f"{name} is not taken: a model is made of one that is here, by system and parameters.",
                    remedy="Fetch files with `relayd pull` on the server, and name a model as from.",
                    param=name,
                )
        asked = _read(body, _ModelToMake)
        name, source = _required(asked.meant, "model"), _required(_plain(asked.source or ""), "from")
        defaults = _defaults(asked.parameters or {})
        await self._run("derive_model", name=name, of=source, system=asked.system or "", defaults=defaults)
        if asked.stream is False:
            return Answer(200, b'{"status":"success"}')
        steps = (f"using existing layer {source}", "writing manifest", "success")
        return Answer(200, b"".join(b'{"status":"%b"}\n' % step.encode() for step in steps), _NDJSON)

    async def _run(self, verb_name: str, /, **arguments: object) -> None:
        verb = self._offered[verb_name]
        if isinstance(verb, Feed):
            raise NotServedError(f"{verb_name} is not served here.")
        try:
            await verb.run(msgspec.convert(arguments, verb.arguments))
        except RequestError:
            raise
        except (RelaydError, msgspec.ValidationError) as error:
            raise RequestError(str(error)) from error


def _defaults(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters of a Modelfile in llama-server's names, without those that need another process."""
    return {OPTIONS[name]: value for name, value in parameters.items() if name in OPTIONS}


def _read(body: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RequestError(f"The body is not what this path takes: {error}.") from error


def _required(value: str, name: str) -> str:
    if not value:
        raise RequestError(f"The request has no {name}.", remedy=f"Send {name}.", param=name)
    return value


def _plain(name: str) -> str:
    return name.strip().removesuffix(_TAG)
