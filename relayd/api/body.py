"""How is a body taken in, when its sender may be slow, endless or gone?"""

import asyncio

from aiohttp import web

from relayd.api.guard import body_too_large, check_body_head
from relayd.errors import BodyTimeoutError, RequestError
from relayd.units import KIB, Bytes

_PROGRESS = 64 * KIB
"""Bytes that renew the deadline; fewer do not, so that one byte at a time gains nothing."""


async def read_body(request: web.BaseRequest, *, limit: Bytes, progress_seconds: float) -> bytes:
    """Return the whole body of a JSON request.

    Args:
        request: A request whose body has not been read.
        limit: The most that is taken.
        progress_seconds: How long the rest of the body, or the next 64 KiB of it, may take.

    Raises:
        MediaTypeError: The body is not declared as plain JSON.
        BodyTooLargeError: It is larger than `limit`; a declared length is refused unread.
        BodyTimeoutError: It stopped arriving.
        RequestError: Its framing is broken.
    """
    check_body_head(request.headers, limit)
    await _continue(request)
    try:
        async with asyncio.timeout(progress_seconds) as deadline:
            return await _collect(request, limit, progress_seconds, deadline)
    except TimeoutError as error:
        raise BodyTimeoutError(
            f"The body did not arrive within {progress_seconds:g} s.",
            remedy="Send it faster, or in one piece.",
        ) from error
    except web.RequestPayloadError as error:
        raise RequestError("The framing of the body does not match its head.") from error


async def _collect(
    request: web.BaseRequest, limit: Bytes, progress_seconds: float, deadline: asyncio.Timeout
) -> bytes:
    """Read to the end, renewing the deadline whenever enough has arrived."""
    body, marked = bytearray(), 0
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > limit:
            raise body_too_large(limit)
        if len(body) - marked >= _PROGRESS:
            marked = len(body)
            deadline.reschedule(asyncio.get_running_loop().time() + progress_seconds)
    return bytes(body)


async def _continue(request: web.BaseRequest) -> None:
    """Ask a client that waits for it (`Expect: 100-continue`) to send its body."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.version >= (1, 1):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # as aiohttp does: the response itself has not begun
