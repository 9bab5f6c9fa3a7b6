"""How does a request of one path become what the engine reads (forwarding)?

What the engine serves itself passes as it came. A path with an `adapt` may send another body to another path
of the engine, and have the answer rewritten by a dialect that knows the request.
"""

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote

import msgspec

from relayd.api.admission import Incoming, RequestContext
from relayd.api.answer import Answer
from relayd.api.fleet import ModelView
from relayd.errors import NotFoundError
from relayd.router import Beside, BodyRules, Dialect, Peek, Recipient

Members = Mapping[str, msgspec.Raw]
"""What a body holds, name by name; the values are still bytes."""


class Adapted(msgspec.Struct, frozen=True):
    """What the engine gets instead of what the client sent.

    Attributes:
        body: Final bytes.
        path: Of the engine; empty when it is the client's.
        dialect: How this one answer is written; None when it is the path's own.
        changed: What the client should know, for `X-Relayd-Changed`.
    """

    body: bytes
    path: str = ""
    dialect: Dialect | None = None
    changed: str = ""


Adapt = Callable[[Members, Peek, ModelView, RequestContext], Adapted | None]
"""Returns what the engine gets; None leaves it as it came. Runs in a thread when the body is large.

Raises RequestError when the request cannot be carried out.
"""

Fit = Callable[[Members, ModelView, Beside], Awaitable[Members]]
"""Returns members whose texts the model holds, before they are adapted."""

AdaptOrAnswer = Callable[[Members, Peek, ModelView, RequestContext], Adapted | Answer | None]
"""The same, where relayd may answer the request itself."""


class NamedHandler(Protocol):
    """A `DirectHandler` that may be given the model of a request, which its body then does not name."""

    def __call__(
        self, request: Incoming, client: Recipient, context: RequestContext, named: str | None = None, /
    ) -> Coroutine[Any, Any, None]:
        """Answer a request."""
        ...


@dataclass(frozen=True, slots=True)
class Forwarding:
    """One path that reaches the engine.

    Attributes:
        path: As clients write it.
        rules: What its body may hold.
        adapt: Makes the engine's request of it; None sends it as it came, to the same path.
        acts_on: Members without which `adapt` leaves it as it came, as it does for a server elsewhere; None
            where it may always change it.
        ability: What a model needs to be meant where the body names none.
        fit: Shortens what would not fit into a slot; None has it refused.
        queued: It takes a slot; False is for what the engine answers beside its slots, like counting tokens.
    """

    path: str
    rules: BodyRules
    adapt: AdaptOrAnswer | None = None
    queued: bool = True
    ability: str = "completion"
    fit: Fit | None = None
    acts_on: frozenset[str] | None = None

    def leaves(self, members: Members) -> bool:
        """Return whether a body with these members goes to the engine as it came."""
        acts_on = self.acts_on
        return self.adapt is None or (acts_on is not None and acts_on.isdisjoint(members))


def rewritten(members: Members) -> bytes:
    """Return a body with these members; each value is written as its bytes are."""
    return msgspec.json.encode(members)


def split_tail(tail: str, paths: Iterable[str]) -> tuple[str, str]:
    """Return the model and the path in the tail of a raw path, like `org/name/v1/completions`.

    Raises:
        NotFoundError: It ends with none of these paths.
    """
    for path in sorted(paths, key=len, reverse=True):
        if f"/{tail}".endswith(path) and len(tail) > len(path):
            return unquote(tail.removesuffix(path)), path
    raise NotFoundError(f"There is nothing at {tail[:100]!r} of the models.", remedy="See /openapi.json.")
