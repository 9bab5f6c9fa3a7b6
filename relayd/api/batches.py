"""OpenAI's batches: requests of a file that can wait, and what has become of them."""

from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from relayd.api.admin.routes import read_small
from relayd.api.admission import Described, RequestContext, Route
from relayd.api.answer import new_id
from relayd.api.files import kept_seconds
from relayd.api.filestore import as_request, json_of, new_file_id, owner_of
from relayd.api.listpage import ListQuery, list_query
from relayd.api.openai import OPENAI
from relayd.batch.book import UPLOAD, BatchBook, page
from relayd.batch.reading import URLS
from relayd.batch.running import BatchRate
from relayd.batch.window import DEFAULT, window_seconds
from relayd.errors import NotFoundError, RequestError
from relayd.store.batches import BatchKind, BatchState, StoredBatch

PATH = "/v1/batches"
_CANCEL = "/cancel"
_MOST_PAIRS, _LONGEST_NAME, _LONGEST_VALUE = 16, 64, 512


class _OutputExpiry(msgspec.Struct):
    seconds: int
    anchor: str = "created_at"


class _NewBatch(msgspec.Struct):
    """What a batch is made of.

    Attributes:
        input_file_id: The upload.
        endpoint: The path of its lines; without one each line names its own.
        completion_window: How long it may take.
        metadata: Up to 16 pairs.
        output_expires_after: How long its results are kept.
    """

    input_file_id: str
    endpoint: str = ""
    completion_window: str = DEFAULT
    metadata: dict[str, str] | None = None
    output_expires_after: _OutputExpiry | None = None


class _NewBatchMembers(msgspec.Struct):
    """For the description."""

    input_file_id: str
    endpoint: str = ""
    completion_window: str = DEFAULT


class _NamedBatch(msgspec.Struct):
    name: str


Look = Callable[[StoredBatch], tuple[StoredBatch, BatchRate]]
"""Returns a batch with what has happened since its row was written, and how fast it is."""


def batch_object(batch: StoredBatch, rate: BatchRate, paused: str = "") -> dict[str, Any]:
    """Return a batch as OpenAI writes it; what relayd knows besides is in `relayd`."""
    counts, usage, at = batch.counts, batch.usage, batch.moments
    states = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
    moments = {f"{name}_at": int(at[name]) if name in at else None for name in states}
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "model": batch.models[0] if len(batch.models) == 1 else None,
        "errors": {"object": "list", "data": [_fault(batch, one) for one in range(len(batch.faults))]}
        if batch.faults
        else None,
        "input_file_id": batch.input_file,
        "completion_window": batch.window,
        "status": batch.state.value,
        "output_file_id": batch.output_file if counts.completed else None,
        "error_file_id": batch.error_file if counts.done > counts.completed else None,
        "created_at": int(batch.created),
        "expires_at": int(batch.expires),
        **moments,
        "request_counts": {
            "total": counts.total,
            "completed": counts.completed,
            "failed": counts.done - counts.completed,
        },
        "metadata": batch.metadata or None,
        "usage": {
            "input_tokens": usage.prompt,
            "input_tokens_details": {"cached_tokens": usage.cached},
            "output_tokens": usage.completion,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning},
            "total_tokens": usage.prompt + usage.completion,
        },
        "relayd": progress_object(batch, rate, paused),
    }


def progress_object(batch: StoredBatch, rate: BatchRate, paused: str) -> dict[str, Any]:
    """Return what relayd knows of a batch besides."""
    return {
        "models": batch.models,
        "lines_per_second": round(rate.lines, 3),
        "tokens_per_second": round(rate.tokens, 1),
        "seconds_left": None
        if rate.seconds_left is None or batch.state.is_over
        else round(rate.seconds_left),
        "slot_seconds": round(batch.usage.milliseconds / 1000, 1),
        "cancelled": batch.counts.cancelled,
        "expired": batch.counts.expired,
        "paused": "" if batch.state.is_over else paused,
    }


def _fault(batch: StoredBatch, place: int) -> dict[str, Any]:
    fault = batch.faults[place]
    return {"code": fault.code, "line": fault.line, "message": fault.message, "param": fault.param}


class BatchDoor:
    """The door.

    Args:
        book: Every batch.
        look: Shows a batch as it is now.
        why_paused: Returns why no line is begun; empty while lines are.
    """

    def __init__(self, book: BatchBook, look: Look, why_paused: Callable[[], str]) -> None:
        self._book = book
        self._look = look
        self._why_paused = why_paused

    def __repr__(self) -> str:
        return f"<BatchDoor of {self._book!r}>"

    def routes(self) -> tuple[Route, ...]:
        """Return the routes of batches."""
        one, named = f"{PATH}/", f"{PATH}/{{name}}"
        return (
            Route("POST", PATH, self._create, dialect=OPENAI, described=(
                Described(PATH, "Have the lines of a file run when there is time.", _NewBatchMembers),
            )),
            Route("GET", PATH, self._list, dialect=OPENAI, described=(
                Described(PATH, "List batches, the newest first.", ListQuery),
            )),
            Route("GET", one, self._read, dialect=OPENAI, described=(
                Described(named, "Return a batch, with counts as they are now.", _NamedBatch, "name"),
            )),
            Route("POST", one, self._cancel, dialect=OPENAI, described=(
                Described(f"{named}{_CANCEL}", "Run no more lines of a batch.", _NamedBatch, "name"),
            )),
        )  # fmt: skip

    async def _create(self, request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
        asked = _asked(await read_small(request))
        owner, book = owner_of(context), self._book
        file = book.file(owner, asked.input_file_id)
        if file.purpose != UPLOAD:
            raise RequestError(
                f"The purpose of {file.id} is {file.purpose!r}, not {UPLOAD!r}.", param="input_file_id"
            )
        if asked.endpoint and asked.endpoint not in URLS:
            raise RequestError(
                f"Batches have no endpoint {asked.endpoint[:100]!r}.",
                remedy=f"Use one of {', '.join(URLS)}.",
                param="endpoint",
            )
        _check_metadata(asked.metadata or {})
        now, expiry = book.clock.wall(), asked.output_expires_after
        batch = StoredBatch(
            id=f"batch_{new_id()}",
            kind=BatchKind.OPENAI,
            key=owner.key,
            state=BatchState.VALIDATING,
            endpoint=asked.endpoint,
            window=asked.completion_window,
            created=now,
            expires=now + window_seconds(asked.completion_window),
            input_file=file.id,
            output_file=new_file_id(),
            error_file=new_file_id(),
            output_seconds=None if expiry is None else kept_seconds(str(expiry.seconds)),
            metadata=asked.metadata or {},
        )
        with as_request():
            batch = await book.add(batch, file.id)
        return json_of(self._shown(batch), context)

    async def _list(self, request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
        query = list_query(request.raw_path)
        batches = self._book.listed_batches(owner_of(context), BatchKind.OPENAI)
        found, more = page(batches, after=query.after, before=None, limit=query.limit)
        return json_of(
            {
                "object": "list",
                "data": [self._shown(one) for one in found],
                "first_id": found[0].id if found else None,
                "last_id": found[-1].id if found else None,
                "has_more": more,
            },
            context,
        )

    async def _read(self, _request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
        batch = self._book.batch(owner_of(context), context.tail, BatchKind.OPENAI)
        return json_of(self._shown(batch), context)

    async def _cancel(self, request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
        await read_small(request)
        name = context.tail.removesuffix(_CANCEL)
        if name == context.tail:
            raise NotFoundError(f"There is nothing to send to {name[:100]!r}.")
        batch = self._book.batch(owner_of(context), name, BatchKind.OPENAI)
        with as_request():
            batch = await self._book.cancel(batch)
        return json_of(self._shown(batch), context)

    def _shown(self, batch: StoredBatch) -> dict[str, Any]:
        return batch_object(*self._look(batch), self._why_paused())


def _asked(body: bytes) -> _NewBatch:
    try:
        return msgspec.json.decode(body, type=_NewBatch)
    except msgspec.ValidationError as error:
        raise RequestError(f"Invalid batch: {error}.") from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise RequestError("The body is not a JSON object.") from error


def _check_metadata(metadata: dict[str, str]) -> None:
    if len(metadata) > _MOST_PAIRS:
        raise RequestError(f"metadata has at most {_MOST_PAIRS} pairs.", param="metadata")
    for name, value in metadata.items():
        if len(name) > _LONGEST_NAME or len(value) > _LONGEST_VALUE:
            raise RequestError(
                f"The pair {name[:_LONGEST_NAME]!r} of metadata is too long: names have at most "
                f"{_LONGEST_NAME} characters, values {_LONGEST_VALUE}.",
                param="metadata",
            )
