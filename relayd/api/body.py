"""How is a body taken in, when its sender may be slow, endless or gone?"""

import asyncio

from aiohttp import web

from relayd.api.admission import Incoming
from relayd.api.bodies import PROGRESS, BodyHold
from relayd.api.guard import body_too_large, check_body_head
from relayd.errors import BodyTimeoutError, RequestError
from relayd.router import become_task
from relayd.units import Bytes

BROKEN = RequestError("The framing of the body does not match its head.")


def take_body(request: Incoming, *, limit: Bytes, hold: BodyHold) -> bytes | None:
    """Return the body of a JSON request if all of it is here; else `read_body` waits for it.

    Args:
        request: A request whose body has not been read.
        limit: The most that is taken.
        hold: Counts what the body takes.

    Raises:
        MediaTypeError: A browser has not declared the body as JSON, or it is compressed.
        BodyTooLargeError: It is larger than `limit`; a declared length is refused unread.
        BodyBudgetError: There is no room for it beside the bodies of other requests.
        RequestError: Its framing is broken.
    """
    if request.is_json:  # by a head that was judged before
        length = request.length or 0
        if length > limit:
            raise body_too_large(limit)
    else:
        length = check_body_head(request.headers, limit, request.length)
    try:
        body = request.whole()
    except web.RequestPayloadError as error:
        raise BROKEN from error
    if body is None:
        hold.expect(length)
        return None
    if len(body) > limit:
        raise body_too_large(limit)
    hold.take(len(body))
    return body


async def read_body(request: Incoming, *, limit: Bytes, progress_seconds: float, hold: BodyHold) -> bytes:
    """Return a body that is still arriving.

    Args:
        request: A request of whose body `take_body` has returned nothing.
        limit: The most that is taken.
        progress_seconds: How long the rest of the body, or the next 64 KiB of it, may take.
        hold: Counts what the body takes.

    Raises:
        BodyTooLargeError: It is larger than `limit`.
        BodyBudgetError: There is no room for it beside the bodies of other requests.
        BodyTimeoutError: It stopped arriving.
        StoppingError: The daemon ends while it arrives.
        RequestError: Its framing is broken.
    """
    try:
        await request.go_on()
        return await _collect(request, limit, progress_seconds, hold)
    except web.RequestPayloadError as error:
        raise BROKEN from error


async def _collect(request: Incoming, limit: Bytes, progress_seconds: float, hold: BodyHold) -> bytes:
    """Read to the end, renewing the deadline whenever enough has arrived."""
    body, marked = bytearray(), 0
    await become_task()
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
