"""How is a body taken in, when its sender may be slow, endless or gone?"""

import asyncio

from aiohttp import web

from relayd.api.bodies import PROGRESS, BodyHold
from relayd.api.guard import body_too_large, check_body_head
from relayd.errors import BodyTimeoutError, RequestError
from relayd.units import Bytes


async def read_body(
    request: web.BaseRequest, *, limit: Bytes, progress_seconds: float, hold: BodyHold
) -> bytes:
    """Return the whole body of a JSON request.

    Args:
        request: A request whose body has not been read.
        limit: The most that is taken.
        progress_seconds: How long the rest of the body, or the next 64 KiB of it, may take.
        hold: Counts what the body takes.

    Raises:
        MediaTypeError: A browser has not declared the body as JSON, or it is compressed.
        BodyTooLargeError: It is larger than `limit`; a declared length is refused unread.
        BodyBudgetError: There is no room for it beside the bodies of other requests.
        BodyTimeoutError: It stopped arriving.
        StoppingError: The daemon ends while it arrives.
        RequestError: Its framing is broken.
    """
    length = check_body_head(request.headers, limit)
    try:
        if request.content.is_eof():
            body = request.content.read_nowait()
            if len(body) > limit:
                raise body_too_large(limit)
            hold.take(len(body))
            return body
        hold.expect(length)
        await _continue(request)
        return await _collect(request, limit, progress_seconds, hold)
    except web.RequestPayloadError as error:
        raise RequestError("The framing of the body does not match its head.") from error


async def _collect(request: web.BaseRequest, limit: Bytes, progress_seconds: float, hold: BodyHold) -> bytes:
    """Read to the end, renewing the deadline whenever enough has arrived."""
    body, marked = bytearray(), 0
    try:
        async with asyncio.timeout(progress_seconds) as deadline:
            hold.arriving(deadline)
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > limit:
                    raise body_too_large(limit)
                hold.take(len(chunk))
                if len(body) - marked >= PROGRESS:
                    marked = len(body)
                    hold.moved(progress_seconds)
    except TimeoutError as error:
        raise hold.refusal or _too_slow(progress_seconds) from error
    finally:
        hold.arrived()
    if hold.refusal:
        raise hold.refusal
    return bytes(body)


def _too_slow(seconds: float) -> BodyTimeoutError:
    return BodyTimeoutError(
        f"The body did not arrive within {seconds:g} s.", remedy="Send it faster, or in one piece."
    )


async def _continue(request: web.BaseRequest) -> None:
    """Ask a client that waits for it (`Expect: 100-continue`) to send its body."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.version >= (1, 1):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # as aiohttp does: the response itself has not begun
