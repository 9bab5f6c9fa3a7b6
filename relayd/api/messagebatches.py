"""Anthropic's message batches: the same work under the other API."""

import asyncio
import mmap
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from relayd.api.admin.routes import read_small
from relayd.api.admission import Described, RequestContext, Route
from relayd.api.answer import new_id
from relayd.api.anthropic import ANTHROPIC
from relayd.api.batches import Look, progress_object
from relayd.api.filestore import (
    as_request,
    json_of,
    new_file_id,
    owner_of,
    send_file,
    stored,
    take_body_to_disk,
)
from relayd.api.listpage import list_query
from relayd.batch.book import BatchBook, page
from relayd.batch.place import Receiving
from relayd.batch.window import DEFAULT, window_seconds
from relayd.errors import NotFoundError, RequestError
from relayd.store.batches import BatchKind, BatchState, LineCounts, StoredBatch

PATH = "/v1/messages/batches"
_MESSAGES = "/v1/messages"
_CANCEL, _RESULTS = "/cancel", "/results"
_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_PIECE_BYTES = 1 << 20


class _MessageRequest(msgspec.Struct, gc=False):
    custom_id: str
    params: msgspec.Raw


class _NewMessageBatch(msgspec.Struct):
    requests: list[_MessageRequest]


class _MessageParams(msgspec.Struct, gc=False):
    stream: bool | None = None


class _LineOfMessage(msgspec.Struct, gc=False):
    custom_id: str
    url: str
    body: msgspec.Raw


class _NamedMessageBatch(msgspec.Struct):
    name: str


class _MessageListQuery(msgspec.Struct):
    after_id: str | None = None
    before_id: str | None = None
    limit: int = 20


class _MessageBatchMembers(msgspec.Struct):
    """For the description."""

    requests: list[Any]


_params = msgspec.json.Decoder(_MessageParams)


def message_batch_object(batch: StoredBatch, base: str, progress: dict[str, Any]) -> dict[str, Any]:
    """Return a batch as Anthropic writes it.

    Args:
        batch: As it is now.
        base: The address under which its client has reached relayd.
        progress: What relayd knows of it besides.
    """
    counts, state = batch.counts, batch.state
    cancelling = batch.moments.get(BatchState.CANCELLING.value)
    status = "ended" if state.is_over else "canceling" if state is BatchState.CANCELLING else "in_progress"
    lost = counts.total if state is BatchState.FAILED else 0
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": status,
        "request_counts": {
            "processing": 0 if state.is_over else counts.total - counts.done,
            "succeeded": counts.completed,
            "errored": counts.failed + lost,
            "canceled": counts.cancelled,
            "expired": counts.expired,
        },
        "created_at": _moment(batch.created),
        "expires_at": _moment(batch.expires),
        "ended_at": _moment(batch.ended),
        "cancel_initiated_at": _moment(cancelling),
        "archived_at": None,
        "results_url": f"{base}{PATH}/{batch.id}{_RESULTS}" if state.is_over else None,
        "relayd": progress,
    }


def _moment(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


class MessageBatchDoor:
    """The door.

    Args:
        book: Every batch.
        look: Shows a batch as it is now.
        why_paused: Returns why no line is begun; empty while lines are.
        base_of: Returns the address under which a request has reached relayd.
        body_seconds: The longest pause while a body arrives.
    """

    def __init__(
        self,
        book: BatchBook,
        look: Look,
        why_paused: Callable[[], str],
        base_of: Callable[[web.BaseRequest], str],
        body_seconds: float,
    ) -> None:
        self._book = book
        self._look = look
        self._why_paused = why_paused
        self._base_of = base_of
        self._body_seconds = body_seconds

    def __repr__(self) -> str:
        return f"<MessageBatchDoor of {self._book!r}>"

    def routes(self) -> tuple[Route, ...]:
        """Return the routes of message batches."""
        one, named = f"{PATH}/", f"{PATH}/{{name}}"
        return (
            Route("POST", PATH, self._create, dialect=ANTHROPIC, described=(
                Described(PATH, "Have messages answered when there is time.", _MessageBatchMembers),
            )),
            Route("GET", PATH, self._list, dialect=ANTHROPIC, described=(
                Described(PATH, "List message batches, the newest first.", _MessageListQuery),
            )),
            Route("GET", one, self._read, dialect=ANTHROPIC, described=(
                Described(named, "Return a message batch as it is now.", _NamedMessageBatch, "name"),
                Described(f"{named}{_RESULTS}", "Return the results so far.", _NamedMessageBatch, "name"),
            )),
            Route("POST", one, self._cancel, dialect=ANTHROPIC, described=(
                Described(f"{named}{_CANCEL}", "Answer no more messages.", _NamedMessageBatch, "name"),
            )),
            Route("DELETE", one, self._delete, dialect=ANTHROPIC, described=(
                Described(named, "Remove a message batch that has ended.", _NamedMessageBatch, "name"),
            )),
        )  # fmt: skip

    async def _create(self, request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
        book, key = self._book, context.grant.id
        raw = await take_body_to_disk(request, book, new_file_id(), key, self._body_seconds)
        upload = new_file_id()
        try:
            lines = await stored(asyncio.to_thread(book.folder.receive, upload))
            try:
                count = await stored(asyncio.to_thread(write_lines, raw.path, lines, book.limits.lines))
                await stored(asyncio.to_thread(lines.keep))
            except BaseException:
                await asyncio.to_thread(lines.drop)
                raise
        finally:
            await asyncio.to_thread(raw.drop)
        now = book.clock.wall()
        batch = StoredBatch(
            id=f"msgbatch_{new_id()[:24]}",
            kind=BatchKind.ANTHROPIC,
            key=key,
            state=BatchState.VALIDATING,
            endpoint=_MESSAGES,
            window=DEFAULT,
            created=now,
            expires=now + window_seconds(DEFAULT),
            output_file=new_file_id(),
            counts=LineCounts(count),
        )
        try:
            with as_request():
                batch = await book.add(batch, upload)
        finally:
            await asyncio.to_thread(book.folder.remove_upload, upload)
        return json_of(self._shown(batch, request), context)

    async def _list(self, request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
        query = list_query(request.raw_path, after="after_id", before="before_id", most=1000)
        batches = self._book.listed_batches(owner_of(context), BatchKind.ANTHROPIC)
        found, more = page(batches, after=query.after, before=query.before, limit=query.limit)
        return json_of(
            {
                "data": [self._shown(one, request) for one in found],
                "first_id": found[0].id if found else None,
                "last_id": found[-1].id if found else None,
                "has_more": more,
            },
            context,
        )

    async def _read(self, request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
        name, _, part = context.tail.partition("/")
        batch = self._named(context, name)
        if not part:
            return json_of(self._shown(batch, request), context)
        if f"/{part}" != _RESULTS:
            raise NotFoundError(f"There is nothing at {part[:100]!r} of a message batch.")
        file = self._book.files.get(batch.output_file)
        if file is None:
            return web.Response(headers={"Content-Type": "application/x-jsonl", **context.headers})
        file = self._book.file(owner_of(context), file.id)
        fields = {"Content-Type": "application/x-jsonl", **context.headers}
        return await send_file(request, self._book.folder.of(name).output, file.size, fields)

    async def _cancel(self, request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
        await read_small(request)
        name = context.tail.removesuffix(_CANCEL)
        if name == context.tail:
            raise NotFoundError(f"There is nothing to send to {name[:100]!r}.")
        with as_request():
            batch = await self._book.cancel(self._named(context, name))
        return json_of(self._shown(batch, request), context)

    async def _delete(self, _request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
        batch = self._named(context, context.tail)
        with as_request():
            await self._book.delete(batch)
        return json_of({"id": batch.id, "type": "message_batch_deleted"}, context)

    def _named(self, context: RequestContext, name: str) -> StoredBatch:
        return self._book.batch(owner_of(context), name, BatchKind.ANTHROPIC)

    def _shown(self, batch: StoredBatch, request: web.BaseRequest) -> dict[str, Any]:
        now, rate = self._look(batch)
        progress = progress_object(now, rate, self._why_paused())
        return message_batch_object(now, self._base_of(request), progress)


def write_lines(body: Path, lines: Receiving, most: int) -> int:
    """Write the requests of a body as lines, and return how many; it is read from the disk. Blocks.

    Raises:
        RequestError: A request is not valid.
        StateError: The lines cannot be written.
    """
    with body.open("rb") as file:
        if not file.seek(0, 2):
            raise RequestError("The body is empty.", param="requests")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # closed with the last request of it
    return _write_mapped(mapped, lines, most)


def _write_mapped(body: mmap.mmap, lines: Receiving, most: int) -> int:
    try:
        asked = msgspec.json.decode(body, type=_NewMessageBatch).requests
    except msgspec.ValidationError as error:
        raise RequestError(f"Invalid message batch: {error}.", param="requests") from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise RequestError("The body is not a JSON object.", param="requests") from error
    if not 0 < len(asked) <= most:
        raise RequestError(f"A batch has 1 to {most:,} requests, not {len(asked):,}.", param="requests")
    seen: set[str] = set()
    piece = bytearray()
    for place, one in enumerate(asked):
        _check(place, one, seen)
        line = _LineOfMessage(one.custom_id, _MESSAGES, _on_one_line(one.params))
        piece += msgspec.json.encode(line) + b"\n"
        if len(piece) >= _PIECE_BYTES:
            lines.add(bytes(piece))
            piece.clear()
    lines.add(bytes(piece))
    return len(asked)


def _check(place: int, one: _MessageRequest, seen: set[str]) -> None:
    param = f"requests.{place}"
    if not _ID.fullmatch(one.custom_id):
        raise RequestError(
            f"{param}.custom_id: {one.custom_id[:70]!r} is not 1 to 64 letters, digits, _ or -.", param=param
        )
    if one.custom_id in seen:
        raise RequestError(f"{param}.custom_id: {one.custom_id!r} is there twice.", param=param)
    seen.add(one.custom_id)
    try:
        is_streamed = _params.decode(one.params).stream
    except msgspec.DecodeError as error:
        raise RequestError(f"{param}.params: {error}.", param=param) from error
    if is_streamed:
        raise RequestError(f"{param}.params: a message of a batch is not streamed.", param=param)


def _on_one_line(params: msgspec.Raw) -> msgspec.Raw:
    """Return JSON without line ends, which it has between its members only."""
    raw = bytes(params)
    return msgspec.Raw(raw.replace(b"\r", b" ").replace(b"\n", b" "))
