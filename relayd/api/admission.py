"""What can be asked for (routes), and what is known of a request that was let in (admission)?"""

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import msgspec
from aiohttp import web

from relayd.api.allowance import FREE_USE, KeyUse
from relayd.api.fleet import ModelDirectory, ModelView, find_model
from relayd.api.grants import KeyGrant
from relayd.api.guard import Headers
from relayd.errors import ModelNotFoundError
from relayd.router import BodyRules, Dialect, ExchangeRecord, Passage, Recipient
from relayd.router.passage import FieldPairs
from relayd.scheduler.ask import NORMAL


class Access(Enum):
    """Who may use a route; a wrong key is refused on each of them."""

    PUBLIC = "public"
    """Every client."""
    CLIENT = "client"
    """Clients with a key for models; every client while none is needed."""
    METRICS = "metrics"
    """Clients with a key for figures; every client while there is no key at all."""
    ADMIN = "admin"
    """Clients with a key for administration; none while no such key exists."""
    NODE = "node"
    """Other machines with a token of a node."""


class RequestContext(msgspec.Struct, frozen=True):
    """What is known of a request once it was let in.

    Attributes:
        request_id: Its id.
        grant: What its sender may do.
        trusted: Whether it may see more than the public: it has a key, or none is needed.
        tail: The rest of its raw path, on a route that ends with a slash.
        headers: Fields that its response must carry, also one that is streamed.
        named: Its id is the client's.
        klass: Its class, one of `scheduler.ask.CLASSES`.
        session: The client's name for the conversation that it belongs to; empty when it gave none.
        timeout: Its `X-Request-Timeout`; None without one.
        progress: Its `X-Relayd-Progress`; None without one.
        continues: Another replica may go on with its answer: no `X-Relayd-Continue: off`.
    """

    request_id: str
    grant: KeyGrant
    trusted: bool
    tail: str
    headers: MutableMapping[str, str]
    named: bool = False
    klass: str = NORMAL
    session: str = ""
    timeout: str | None = None
    progress: str | None = None
    continues: bool = True

    @property
    def key(self) -> str:
        """The id of its key; empty without one."""
        return self.grant.id

    def use(self, record: ExchangeRecord, dialect: Dialect) -> KeyUse:
        """Return what a request takes of what its key may use; its answer shows what is left."""
        allowance = self.grant.allowance
        return FREE_USE if allowance is None else allowance.use(record, self.headers, dialect.show_limit)

    def visible(self, fleet: ModelDirectory) -> Sequence[ModelView]:
        """Return the models that its sender may use."""
        return self.grant.models.among(fleet.models())

    def find(self, fleet: ModelDirectory, name: str | None, ability: str = "completion") -> ModelView:
        """Return the model that its sender means by a name, or by none, where that needs an ability.

        Raises:
            ModelNotFoundError: There is none, or more than one, or none that its key may use.
        """
        models, granted = fleet.models(), self.grant.models
        if name is not None and (found := granted.named(name, models)) is not None:
            return found
        visible = granted.among(models)
        if models and not visible:
            raise ModelNotFoundError(
                f"This key may use no model that is here: it is for {', '.join(self.grant.rights.models)}.",
                remedy="`relayd models` on the server lists those that are, `relayd keys limits` changes it.",
                param="model",
            )
        return find_model(name, visible, ability)


class BodySource(Protocol):
    """Where the body of a request is read from."""

    def iter_any(self) -> AsyncIterator[bytes]:
        """Yield what arrives, until all of it has."""
        ...


class Incoming(Protocol):
    """A request whose body is not read, from either way in."""

    @property
    def headers(self) -> Headers:
        """Its header fields."""
        ...

    @property
    def content(self) -> BodySource:
        """Its body."""
        ...

    @property
    def peer(self) -> str:
        """The client's address."""
        ...

    @property
    def length(self) -> int | None:
        """The length of the body, where the fields are those of an earlier request."""
        ...

    @property
    def is_json(self) -> bool:
        """Whether its head declares its body as JSON and as nothing else, where that is known."""
        ...

    def whole(self) -> bytes | None:
        """Return the body if all of it is here, which it is once."""
        ...

    async def go_on(self) -> None:
        """Ask a client that waits for it (`Expect: 100-continue`) to send the body."""
        ...


class StraightHandler(Protocol):
    """Answers requests without a coroutine, as far as that goes: `StraightRoute`."""

    def prepare(
        self, client: Any, context: "RequestContext", named: tuple[str, FieldPairs], body: bytes, /
    ) -> Passage | None:
        """Return the passage of a request; None where it has to take the long way."""
        ...


Handler = Callable[[web.BaseRequest, RequestContext], Awaitable[web.StreamResponse]]

DirectHandler = Callable[[Incoming, Recipient, RequestContext], Awaitable[None]]
"""Answers a request without aiohttp; raises RequestError while nothing of the answer is written."""


@dataclass(frozen=True, slots=True)
class Described:
    """What the description of the API states of one operation, where a route has several.

    Attributes:
        path: With `{name}` where a name stands.
        summary: What it does, a sentence.
        takes: The type of its arguments: the query of a GET, the body of any other.
        named: The argument that `{name}` is.
        free: The argument whose members stand in the body itself.
        status: Of its answer.
        streams: It answers with events.
    """

    path: str
    summary: str
    takes: type[msgspec.Struct]
    named: str = ""
    free: str = ""
    status: int = 200
    streams: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """One thing a client can ask for.

    Attributes:
        method: GET (which answers HEAD too), POST, DELETE ….
        path: Exactly as clients write it; one that ends with a slash takes any tail.
        handler: Who answers.
        access: Who may ask.
        dialect: How its errors are written; None for the door's own.
        lasting: Its answer has no end of its own, like an event stream, so a drain ends it at once.
        rules: What its body may hold; None where it takes none, or any.
        direct: Who answers requests that come through the lane; None sends them to `handler`.
        described: The operations behind it, where it is more than one path.
        access_by_end: Who may ask instead where the tail ends so.
        straight: Takes requests that no coroutine is needed for; None has all of them take `direct`.
        is_page: People open it, from links of any site; one that ends with a slash also without a tail.
    """

    method: str
    path: str
    handler: Handler
    access: Access = Access.CLIENT
    dialect: Dialect | None = None
    lasting: bool = False
    direct: DirectHandler | None = None
    rules: BodyRules | None = None
    described: tuple[Described, ...] = ()
    is_page: bool = False
    access_by_end: tuple[tuple[str, Access], ...] = ()
    straight: "StraightHandler | None" = None

    def access_to(self, tail: str) -> Access:
        """Return who may ask for what is at a tail."""
        return next((access for end, access in self.access_by_end if tail.endswith(end)), self.access)


class Admitted(msgspec.Struct, frozen=True):
    """A request that was let in.

    Attributes:
        route: Who answers it.
        context: What is known of it.
        dialect: How its errors are written.
    """

    route: Route
    context: RequestContext
    dialect: Dialect
