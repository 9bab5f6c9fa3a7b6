"""The files of the dashboard: read once, compressed once, and answered from memory."""

import asyncio
import gzip
import hashlib
from pathlib import Path

import msgspec
from aiohttp import web

from relayd.api.guard import Headers
from relayd.errors import NotFoundError
from relayd.router import OWN_FIELDS

FOLDER = Path(__file__).parents[2] / "web"
"""Where they are, in a checkout and in an installed package alike."""

INDEX = "index.html"

SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""What every file carries: it runs nothing but its own files, and no page of others shows it."""

_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


class PageFile(msgspec.Struct, frozen=True):
    """One file.

    Attributes:
        kind: Its media type.
        etag: Changes with its bytes.
    """

    kind: str
    etag: str
    raw: bytes
    packed: bytes


class Pages:
    """The files by their paths within the folder."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._files: dict[str, PageFile] | None = None

    def __repr__(self) -> str:
        return f"<Pages {'unread' if self._files is None else len(self._files)}>"

    async def answer(self, headers: Headers, tail: str) -> web.Response:
        """Answer with a file; a path without an extension is a place within the only page.

        Raises:
            NotFoundError: There is no such file.
        """
        if self._files is None:
            self._files = await asyncio.to_thread(_read, self._folder)
        found = self._files.get(tail if "." in tail else INDEX)
        if found is None:
            raise NotFoundError(f"There is no file {tail[:100]!r}.", remedy="The dashboard is at /ui/.")
        fields = {
            **OWN_FIELDS, **SECURITY, "Content-Type": found.kind, "ETag": found.etag,
            "Cache-Control": "no-cache", "Vary": "Accept-Encoding",
        }  # fmt: skip
        if headers.get("If-None-Match", "") == found.etag:
            return web.Response(status=304, headers=fields)
        if "gzip" in headers.get("Accept-Encoding", ""):
            return web.Response(body=found.packed, headers={**fields, "Content-Encoding": "gzip"})
        return web.Response(body=found.raw, headers=fields)


def _read(folder: Path) -> dict[str, PageFile]:
    """Return every file of a folder that a page can ask for. Blocks."""
    return {
        path.relative_to(folder).as_posix(): _page_file(_KINDS[path.suffix], path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.suffix in _KINDS
    }


def _page_file(kind: str, raw: bytes) -> PageFile:
    return PageFile(kind, f'"{hashlib.sha256(raw).hexdigest()[:20]}"', raw, gzip.compress(raw, mtime=0))
