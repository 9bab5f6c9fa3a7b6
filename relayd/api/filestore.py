"""How do a file's bytes come in, and go out again, without ever being in memory as a whole?"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec
from aiohttp import BodyPartReader, MultipartReader, web

from relayd.api.admission import RequestContext
from relayd.api.answer import Answer, new_id
from relayd.batch.book import BatchBook
from relayd.batch.owner import BatchOwner
from relayd.batch.place import Receiving
from relayd.dialects.multipart import boundary_of
from relayd.errors import BodyTimeoutError, RequestError, StateError, StorageError

T = TypeVar("T")

PIECE_BYTES = 1 << 20
"""What is read or written at a time."""

_MOST_PARTS = 32
_LONGEST_FIELD = 4096
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class UploadedForm(msgspec.Struct):
    """What a form brought: its file, which is on disk, and its other fields."""

    receiving: Receiving
    name: str
    fields: dict[str, str]


def owner_of(context: RequestContext) -> BatchOwner:
    """Return who asks; an administrator's key sees what belongs to every key."""
    return BatchOwner(context.grant.id, "admin" in context.grant.rights.scopes)


def new_file_id() -> str:
    """Return the id of a new file."""
    return f"file-{new_id()[:24]}"


async def take_upload(
    request: web.BaseRequest, book: BatchBook, file: str, key: str, pause_seconds: float
) -> UploadedForm:
    """Write the file of a form to disk while it arrives.

    Args:
        request: With the form.
        book: Where it goes.
        file: The id that it gets.
        key: Whose it is.
        pause_seconds: The longest pause while it arrives.

    Raises:
        RequestError: It is not a form, has no file, is too large, or stopped arriving.
        StorageError: It cannot be written.
    """
    boundary_of(request.headers.get("Content-Type", ""))
    if (length := request.content_length) is not None:
        book.check_upload(key, length)
        await stored(asyncio.to_thread(book.folder.check_room, length))
    receiving = await stored(asyncio.to_thread(book.folder.receive, file))
    try:
        return await _read_form(request, book, receiving, key, pause_seconds)
    except (ValueError, AssertionError, web.RequestPayloadError) as error:
        await asyncio.to_thread(receiving.drop)
        raise RequestError("The form cannot be read.", remedy="Send it like curl -F.") from error
    except BaseException:
        await asyncio.to_thread(receiving.drop)
        raise


async def _read_form(
    request: web.BaseRequest, book: BatchBook, receiving: Receiving, key: str, pause_seconds: float
) -> UploadedForm:
    reader = MultipartReader(request.headers, request.content)
    form, has_file = UploadedForm(receiving, "", {}), False
    for _ in range(_MOST_PARTS):
        part = await _in_time(reader.next(), pause_seconds)
        if part is None:
            break
        if not isinstance(part, BodyPartReader):
            raise RequestError("A part of the form is a form itself.")
        if part.name == "file" and not has_file:
            has_file, form.name = True, (part.filename or "upload.jsonl")[:255]
            await _receive(part, book, receiving, key, pause_seconds)
        else:
            form.fields[(part.name or "")[:100]] = await _field(part, pause_seconds)
    if not has_file:
        raise RequestError("The form has no file.", remedy="Send one as the field file.", param="file")
    return form


async def _receive(
    part: BodyPartReader, book: BatchBook, receiving: Receiving, key: str, pause_seconds: float
) -> None:
    gathered = bytearray()
    while chunk := await _in_time(part.read_chunk(1 << 16), pause_seconds):
        gathered += chunk
        if len(gathered) >= PIECE_BYTES:
            book.check_upload(key, receiving.size + len(gathered))
            await stored(asyncio.to_thread(receiving.add, bytes(gathered)))
            gathered.clear()
    book.check_upload(key, receiving.size + len(gathered))
    await stored(asyncio.to_thread(receiving.add, bytes(gathered)))


async def _field(part: BodyPartReader, pause_seconds: float) -> str:
    value = bytearray()
    while chunk := await _in_time(part.read_chunk(_LONGEST_FIELD), pause_seconds):
        value += chunk
        if len(value) > _LONGEST_FIELD:
            raise RequestError(f"A field of the form is longer than {_LONGEST_FIELD:,} bytes.")
    return value.decode("utf-8", "replace")


async def take_body_to_disk(
    request: web.BaseRequest, book: BatchBook, file: str, key: str, pause_seconds: float
) -> Receiving:
    """Write a body to disk while it arrives.

    Raises:
        RequestError: It is too large, or stopped arriving.
        StorageError: It cannot be written.
    """
    if (length := request.content_length) is not None:
        book.check_upload(key, length)
    receiving = await stored(asyncio.to_thread(book.folder.receive, file))
    try:
        gathered = bytearray()
        chunks = request.content.iter_any()
        while (chunk := await _in_time(anext(chunks, b""), pause_seconds)) or not request.content.is_eof():
            gathered += chunk
            if len(gathered) >= PIECE_BYTES:
                book.check_upload(key, receiving.size + len(gathered))
                await stored(asyncio.to_thread(receiving.add, bytes(gathered)))
                gathered.clear()
        await stored(asyncio.to_thread(receiving.add, bytes(gathered)))
    except BaseException:
        await asyncio.to_thread(receiving.drop)
        raise
    return receiving


async def _in_time(work: Awaitable[T], seconds: float) -> T:
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError as error:
        raise BodyTimeoutError(
            f"Nothing of the body arrived within {seconds:g} s.", remedy="Send it without pauses."
        ) from error


async def send_file(
    request: web.BaseRequest, path: Path, size: int, fields: dict[str, str]
) -> web.StreamResponse:
    """Send the first `size` bytes of a file, or the range of them that is asked for.

    Raises:
        RequestError: There is no such range.
        StorageError: The file cannot be read.
    """
    start, end = _range_of(request.headers.get("Range", ""), size)
    is_part = (start, end) != (0, size)
    response = web.StreamResponse(status=206 if is_part else 200, headers=fields)
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["X-Content-Type-Options"] = "nosniff"
    if is_part:
        response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    response.content_length = end - start
    file = await stored(asyncio.to_thread(_open, path))
    try:
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        async for piece in _pieces(file, start, end):
            await response.write(piece)
        await response.write_eof()
    finally:
        await asyncio.to_thread(file.close)
    return response


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror}") from error


async def _pieces(file: BinaryIO, start: int, end: int) -> AsyncIterator[bytes]:
    await asyncio.to_thread(file.seek, start)
    left = end - start
    while left > 0 and (piece := await asyncio.to_thread(file.read, min(left, PIECE_BYTES))):
        left -= len(piece)
        yield piece


def _range_of(header: str, size: int) -> tuple[int, int]:
    """Return which bytes are asked for; a header that is not understood asks for all (RFC 9110, 14.2)."""
    found = _RANGE.fullmatch(header.strip())
    if found is None or not (found[1] or found[2]):
        return 0, size
    if not found[1]:
        return max(0, size - int(found[2])), size
    start, end = int(found[1]), int(found[2]) + 1 if found[2] else size
    if start >= size or end <= start:
        raise RequestError(f"The file has {size} bytes, and no range {header[:60]!r}.")
    return start, min(end, size)


async def stored(work: Awaitable[T]) -> T:
    """Return what work on disk gives.

    Raises:
        StorageError: It fails.
    """
    with as_request():
        return await work


@contextlib.contextmanager
def as_request() -> Iterator[None]:
    """Raise what the disk refuses as the error of a request.

    Raises:
        StorageError: Something failed.
    """
    try:
        yield
    except StateError as error:
        raise StorageError(f"{error.message}.", remedy=error.remedy) from error


def json_of(payload: object, context: RequestContext, status: int = 200) -> web.Response:
    """Return a response in JSON."""
    return Answer(status, msgspec.json.encode(payload)).carrying(context.headers).response()
