"""A hub on the loopback interface: repositories, digests, redirects to a CDN, and faults at will.

It speaks what huggingface.co speaks: the description of a repository with `blobs=true`, `resolve`, which
redirects to another host, and there ranges with a strong ETag.
"""

import contextlib
import hashlib
import json
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

SIZE_ONLY = "bytes=0-0"
"""The range by which the size of a file is asked for."""

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one answer with bytes of a file: after so many of them it is cut, or nothing comes."""

    after: int
    then: Literal["cut", "hold"] = "cut"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and what it carried."""

    host: Literal["hub", "cdn"]
    path: str
    authorization: str | None
    range: str | None


@dataclass
class FakeHub:
    """A hub and its CDN.

    Attributes:
        repos: Repository -> path -> bytes.
        files: Path on the CDN -> bytes, for downloads by address.
        token: What closed repositories ask for.
        closed: Repositories that list but do not give without the token.
        altered: Digests whose bytes come out wrong.
        commit: What every branch points to.
        faults: One is used up by each answer with bytes.
        asked: Every request so far.
        held: Set when a fault holds an answer.
        without_digests: Whether it lists files as some mirrors do.
        downloaded: Repository -> how often it was downloaded, where it is not 0.
        without_ranges: Whether the CDN sends whole files, whatever range is asked for.
    """

    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    token: str = "hf_right"
    closed: set[str] = field(default_factory=set)
    altered: set[str] = field(default_factory=set)
    commit: str = COMMIT
    faults: deque[Fault] = field(default_factory=deque)
    asked: list[Asked] = field(default_factory=list)
    held: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    without_digests: bool = False
    without_ranges: bool = False
    downloaded: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._servers = [_serve(self, "hub"), _serve(self, "cdn")]
        self._threads = [
            threading.Thread(target=server.serve_forever, args=(0.01,)) for server in self._servers
        ]
        for thread in self._threads:
            thread.start()

    @property
    def endpoint(self) -> str:
        """Address of the hub."""
        return f"http://127.0.0.1:{self._servers[0].server_port}"

    @property
    def cdn(self) -> str:
        """Address of the CDN: another host for everybody who looks at hosts with ports."""
        return f"http://127.0.0.1:{self._servers[1].server_port}"

    def add(self, repo: str, **files: bytes) -> None:
        """Add files to a repository; `__` in a name is a slash, the suffix .gguf comes by itself."""
        named = {f"{name.replace('__', '/')}.gguf": data for name, data in files.items()}
        self.repos.setdefault(repo, {}).update(named)

    def close(self) -> None:
        """Stop both servers, held answers too."""
        self.over.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join()

    def downloads(self) -> list[Asked]:
        """Return the requests that brought bytes."""
        return [one for one in self.asked if one.host == "cdn" and one.range != SIZE_ONLY]

    def blobs(self) -> dict[str, bytes]:
        """Return what lies on the CDN, by path."""
        every = (data for files in self.repos.values() for data in files.values())
        return {f"/{sha256(data)}": data for data in every} | self.files


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@contextlib.contextmanager
def running_hub() -> Iterator[FakeHub]:
    """Lend a hub without repositories."""
    with contextlib.closing(FakeHub()) as hub:
        yield hub


def _serve(hub: FakeHub, host: Literal["hub", "cdn"]) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.asked.append(Asked(host, self.path, self.headers["Authorization"], self.headers["Range"]))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                (_answer_hub if host == "hub" else _answer_cdn)(hub, self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    return server


def _answer_hub(hub: FakeHub, request: Any) -> None:
    url = urlsplit(request.path)
    parts = unquote(url.path).strip("/").split("/")
    if parts == ["api", "models"]:
        _search(hub, request, parse_qs(url.query))
        return
    if parts[:2] == ["api", "models"]:
        _describe(hub, request, "/".join(parts[2:4]), parse_qs(url.query))
        return
    repo, path = "/".join(parts[:2]), "/".join(parts[4:])
    data = hub.repos.get(repo, {}).get(path)
    if repo in hub.closed and request.headers["Authorization"] != f"Bearer {hub.token}":
        _send(request, 403 if request.headers["Authorization"] else 401)
    elif parts[2:4] != ["resolve", hub.commit] or data is None:
        _send(request, 404)
    else:
        digest = sha256(data)
        location = f"{hub.cdn}/{digest}?signature=canary"
        _send(request, 302, Location=location, X_Linked_Etag=f'"{digest}"', X_Linked_Size=str(len(data)))


def _search(hub: FakeHub, request: Any, query: dict[str, list[str]]) -> None:
    """List repositories as huggingface.co does for `search`, `filter`, `sort`, `direction` and `limit`."""
    words = query.get("search", [""])[0].lower().split()
    if (query.get("filter"), query.get("sort"), query.get("direction")) != (["gguf"], ["downloads"], ["-1"]):
        _send(request, 400)
        return
    found = [repo for repo in hub.repos if all(word in repo.lower() for word in words)]
    listed = [
        {
            "_id": "0" * 24,
            "id": repo,
            "modelId": repo,
            "downloads": hub.downloaded.get(repo, 0),
            "likes": 3,
            "lastModified": "2026-11-20T09:00:00.000Z",
            "gated": "auto" if repo in hub.closed else False,
            "private": False,
            "tags": ["gguf"],
        }
        for repo in sorted(found, key=lambda repo: -hub.downloaded.get(repo, 0))
    ]
    body = json.dumps(listed[: int(query["limit"][0])]).encode()
    _send(request, 200, body, Content_Type="application/json")


def _describe(hub: FakeHub, request: Any, repo: str, query: dict[str, list[str]]) -> None:
    if repo not in hub.repos:
        _send(request, 404 if request.headers["Authorization"] else 401)  # as huggingface.co does
        return
    siblings: list[dict[str, Any]] = [{"rfilename": "README.md", "size": 5, "blobId": "0" * 40}]
    for path, data in hub.repos[repo].items():
        lfs = {"sha256": sha256(data), "size": len(data), "pointerSize": 134}
        digest = {} if hub.without_digests else {"lfs": lfs}
        siblings.append({"rfilename": path, "size": len(data), "blobId": "1" * 40, **digest})
    if query.get("blobs") != ["true"]:
        siblings = [{"rfilename": one["rfilename"]} for one in siblings]
    document = {"id": repo, "sha": hub.commit, "gated": False, "siblings": siblings}
    _send(request, 200, json.dumps(document).encode(), Content_Type="application/json")


def _answer_cdn(hub: FakeHub, request: Any) -> None:
    path = urlsplit(request.path).path
    data = hub.blobs().get(path)
    if data is None:
        _send(request, 404)
        return
    if request.headers["Range"] == SIZE_ONLY and not hub.without_ranges:
        _send(request, 206, data[:1], Content_Range=f"bytes 0-0/{len(data)}")
        return
    if path[1:] in hub.altered:
        data = data[:-1] + bytes([data[-1] ^ 1])
    etag, start = f'"{path[1:]}"', 0
    if request.headers["If-Range"] == etag:
        start = int(request.headers["Range"].removeprefix("bytes=").removesuffix("-"))
    if start >= len(data):
        _send(request, 416)
        return
    fields = {"Content_Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
    fault = hub.faults.popleft() if hub.faults else Fault(len(data))
    body = data[start:]
    _send(request, 206 if start else 200, body[: fault.after], len(body), ETag=etag, **fields)
    if fault.then == "hold":
        request.wfile.flush()
        hub.held.set()
        hub.over.wait()


def _send(request: Any, status: int, body: bytes = b"", promised: int | None = None, **fields: str) -> None:
    request.send_response(status)
    for name, value in (
        {"Content_Length": str(len(body) if promised is None else promised)} | fields
    ).items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()
    request.wfile.write(body)
