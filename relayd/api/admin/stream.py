"""How does what happens become an event stream (server-sent events)?"""

import asyncio
from collections.abc import AsyncGenerator

import msgspec
from aiohttp import web

from relayd.api.admission import RequestContext
from relayd.router import OWN_FIELDS

_COMMENT_SECONDS = 15.0
"""A comment goes out when nothing else has for this long: proxies close connections that are silent."""

_FIELDS = {
    **OWN_FIELDS,
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}


async def stream(
    request: web.BaseRequest, context: RequestContext, happenings: AsyncGenerator[msgspec.Struct]
) -> web.StreamResponse:
    """Answer a request with what is yielded, until that ends or the client leaves.

    Raises:
        ConnectionError: The client has left.
    """
    response = web.StreamResponse(headers={**_FIELDS, **context.headers})
    try:
        await response.prepare(request)
        await response.write(b": open\n\n")
        following = asyncio.ensure_future(anext(happenings, None))
        try:
            while (happening := await _next(response, following)) is not None:
                await response.write(b"data: %b\n\n" % msgspec.json.encode(happening))
                following = asyncio.ensure_future(anext(happenings, None))
        finally:
            following.cancel()
            await asyncio.wait((following,))
        await response.write_eof()
    finally:
        await happenings.aclose()
    return response


async def _next(
    response: web.StreamResponse, following: "asyncio.Future[msgspec.Struct | None]"
) -> msgspec.Struct | None:
    """Wait for what happens next, with comments meanwhile."""
    while not (await asyncio.wait((following,), timeout=_COMMENT_SECONDS))[0]:
        await response.write(b": still here\n\n")
    return following.result()
