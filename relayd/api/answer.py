"""How is a response of relayd's own written, and how does a request get its id?"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import msgspec
from aiohttp import web

from relayd.api.guard import Headers
from relayd.router import OWN_FIELDS

_JSON = {**OWN_FIELDS, "Content-Type": "application/json"}

_ID = re.compile(r"[\x20-\x7e]{1,128}")
_NAMING = ("X-Request-ID", "Request-Id")
"""Header fields that set a request's id; the first one that has a value counts."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response of relayd's own, however it is written.

    Attributes:
        status: HTTP status.
        body: Its body.
        fields: Its header fields but for length, date and connection.
        closes: No request may follow it: its sender and relayd may disagree about where that begins.
    """

    status: int
    body: bytes = b""
    fields: Mapping[str, str] = field(default_factory=lambda: _JSON)
    closes: bool = False

    def carrying(self, fields: Mapping[str, str]) -> "Answer":
        """Return the same answer with more fields."""
        return replace(self, fields={**self.fields, **fields})

    def sized(self) -> list[tuple[str, str]]:
        """Return its fields with the length of its body."""
        length = [] if self.status == 204 else [("Content-Length", str(len(self.body)))]
        return [*self.fields.items(), *length]

    def response(self) -> web.Response:
        """Return it as aiohttp writes it."""
        response = web.Response(body=self.body or None, status=self.status, headers=self.fields)
        if self.closes:
            response.force_close()
        return response


def request_id(headers: Headers) -> str:
    """Return the id of a request: the client's own where it set one, else a new one."""
    return offered_id(headers) or new_id()


def offered_id(headers: Headers) -> str | None:
    """Return the id that a client gave its request; None when it gave none that a header can carry."""
    for name in _NAMING:
        if offered := headers.get(name, "").strip():
            return offered if _ID.fullmatch(offered) else None
    return None


_ID_BYTES = 16
_random = b""
_used = 0


def new_id() -> str:
    """Return an id that no other request has."""
    global _random, _used  # noqa: PLW0603 - what the system's generator gave, as asking it costs a system call
    if _used >= len(_random):
        _random, _used = os.urandom(256 * _ID_BYTES), 0
    _used += _ID_BYTES
    return _random[_used - _ID_BYTES : _used].hex()


def json_answer(payload: object, *, status: int = 200) -> web.Response:
    """Return `payload` as a JSON response."""
    return Answer(status, msgspec.json.encode(payload)).response()


def empty_answer(fields: Mapping[str, str]) -> Answer:
    """Return an answer without a body (204)."""
    return Answer(204, fields={**OWN_FIELDS, **fields})
