"""How is a response of relayd's own written, and how does a request get its id?"""

import os
import re
from collections.abc import Mapping

import msgspec
from aiohttp import web

REQUEST_ID = web.RequestKey("request_id", str)
"""Where a request carries its id."""

_SERVER = {"Server": "relayd"}
"""No version, of relayd or of anything under it."""

_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def name_request(request: web.BaseRequest) -> str:
    """Give a request its id, which is the client's X-Request-ID where that is well-formed."""
    offered = request.headers.get("X-Request-ID", "")
    request[REQUEST_ID] = offered if _ID.fullmatch(offered) else os.urandom(16).hex()
    return request[REQUEST_ID]


def json_answer(payload: object, *, status: int = 200) -> web.Response:
    """Return `payload` as a JSON response."""
    return body_answer(msgspec.json.encode(payload), status=status)


def body_answer(body: bytes, *, status: int = 200) -> web.Response:
    """Return finished JSON as a response."""
    return web.Response(body=body, status=status, content_type="application/json", headers=_SERVER)


def empty_answer(headers: Mapping[str, str]) -> web.Response:
    """Return a response without a body (204)."""
    return web.Response(status=204, headers={**_SERVER, **headers})
