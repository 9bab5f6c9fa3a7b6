"""OpenAI's files: what batches are made of, and what they give."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from relayd.api.admission import Described, RequestContext, Route
from relayd.api.filestore import as_request, json_of, new_file_id, owner_of, send_file, take_upload
from relayd.api.listpage import ListQuery, list_query
from relayd.api.openai import OPENAI
from relayd.batch.book import RESULT, UPLOAD, BatchBook, page
from relayd.errors import NotFoundError, RequestError
from relayd.store.batches import BatchFile

PATH = "/v1/files"
_CONTENT = "/content"
_LEAST_KEPT, _LONGEST_KEPT = 3600, 2_592_000
"""Seconds that `expires_after` may ask for, as at OpenAI."""


class _NamedFile(msgspec.Struct):
    name: str


class _UploadForm(msgspec.Struct):
    file: str
    purpose: str


def file_object(file: BatchFile) -> dict[str, Any]:
    """Return a file as OpenAI writes it."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size,
        "created_at": int(file.created),
        "expires_at": None if file.expires is None else int(file.expires),
        "filename": file.name,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


class FileDoor:
    """The door.

    Args:
        book: Every file.
        body_seconds: The longest pause while one arrives.
    """

    def __init__(self, book: BatchBook, body_seconds: float) -> None:
        self._book = book
        self._body_seconds = body_seconds

    def __repr__(self) -> str:
        return f"<FileDoor of {self._book!r}>"

    def routes(self) -> tuple[Route, ...]:
        """Return the routes of files."""
        one = f"{PATH}/"
        named = f"{PATH}/{{name}}"
        return (
            Route("POST", PATH, self._create, dialect=OPENAI, described=(
                Described(PATH, "Upload a file (multipart/form-data).", _UploadForm),
            )),
            Route("GET", PATH, self._list, dialect=OPENAI, described=(
                Described(PATH, "List files, the newest first.", ListQuery),
            )),
            Route("GET", one, self._read, dialect=OPENAI, described=(
                Described(named, "Return a file.", _NamedFile, "name"),
                Described(f"{named}{_CONTENT}", "Return what a file holds.", _NamedFile, "name"),
            )),
            Route("DELETE", one, self._delete, dialect=OPENAI, described=(
                Described(named, "Remove a file.", _NamedFile, "name"),
            )),
        )  # fmt: skip

    async def _create(self, request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
        book, owner, name = self._book, owner_of(context), new_file_id()
        form = await take_upload(request, book, name, owner.key, self._body_seconds)
        try:
            purpose = form.fields.get("purpose", "")
            if purpose != UPLOAD:
                raise RequestError(
                    f"The purpose {purpose[:40]!r} is not served.", remedy=f"Use {UPLOAD!r}.", param="purpose"
                )
            now = book.clock.wall()
            file = BatchFile(
                id=name,
                key=owner.key,
                name=form.name,
                purpose=purpose,
                size=form.receiving.size,
                created=now,
                expires=_expiry(form.fields, now),
            )
        except RequestError:
            form.receiving.drop()
            raise
        with as_request():
            file = await book.keep(form.receiving, file)
        return json_of(file_object(file), context)

    async def _list(self, request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
        query = list_query(request.raw_path, most=10_000, usual=10_000)
        files = self._book.listed_files(owner_of(context))
        if query.purpose is not None:
            files = [one for one in files if one.purpose == query.purpose]
        if query.order == "asc":
            files.reverse()
        found, more = page(files, after=query.after, before=None, limit=query.limit)
        return json_of(
            {
                "object": "list",
                "data": [file_object(one) for one in found],
                "first_id": found[0].id if found else None,
                "last_id": found[-1].id if found else None,
                "has_more": more,
            },
            context,
        )

    async def _read(self, request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
        name, _, part = context.tail.partition("/")
        file = self._book.file(owner_of(context), name)
        if not part:
            return json_of(file_object(file), context)
        if f"/{part}" != _CONTENT:
            raise NotFoundError(f"There is nothing at {part[:100]!r} of a file.")
        fields = {"Content-Type": "application/octet-stream", **context.headers}
        return await send_file(request, path_of(self._book, file), file.size, fields)

    async def _delete(self, _request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
        name = context.tail
        with as_request():
            await self._book.delete_file(owner_of(context), name)
        return json_of({"id": name, "object": "file", "deleted": True}, context)


def path_of(book: BatchBook, file: BatchFile) -> Path:
    """Return where the bytes of a file are."""
    if file.purpose != RESULT:
        return book.folder.upload(file.id)
    paths = book.folder.of(file.batch)
    batch = book.batches.get(file.batch)
    is_error = batch is not None and batch.error_file == file.id
    return paths.errors if is_error else paths.output


def _expiry(fields: Mapping[str, str], now: float) -> float | None:
    """Return when a file may be removed; None where its owner has not set that."""
    seconds = fields.get("expires_after[seconds]")
    if seconds is None:
        return None
    if fields.get("expires_after[anchor]", "created_at") != "created_at":
        raise RequestError("expires_after.anchor is created_at.", param="expires_after")
    return now + kept_seconds(seconds)


def kept_seconds(given: str) -> int:
    """Return how many seconds something is kept, as its owner wrote it.

    Raises:
        RequestError: It is not a number of seconds, or out of range.
    """
    if not given.isdecimal() or not _LEAST_KEPT <= int(given[:12]) <= _LONGEST_KEPT:
        raise RequestError(
            f"expires_after.seconds is {_LEAST_KEPT} to {_LONGEST_KEPT}, not {given[:20]!r}.",
            param="expires_after",
        )
    return int(given)
