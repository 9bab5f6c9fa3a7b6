"""HTTP of the batch client: JSON, uploads from disk, results, and when to try again (urllib).

What makes a batch is sent once only, unless the server certainly has not begun it.
"""

import http.client
import json
import os
import ssl
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

from relayd.batch.client.faults import WireFault, cut, refusal, shown_url, unreached
from relayd.errors import BatchServerError
from relayd.fetch import proxies_for
from relayd.secret import Secret

TRIES = 5
"""How often a request is sent in all."""

SILENCE_SECONDS = 120.0
"""How long a server may be silent."""

LONGEST_PAUSE_SECONDS = 60.0
"""The longest wait before another try, whatever a server asks for."""

_FIRST_PAUSE_SECONDS = 0.5
_CHUNK = 1 << 18
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HOPS = 5
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

T = TypeVar("T")

Body = Callable[[], Iterable[bytes]]
"""Makes a body anew for each try."""


class WholeAnswer(NamedTuple):
    """An answer that was read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class BatchAddress:
    """Where a batch API is, and what it wants to be shown.

    Attributes:
        base_url: What every path is put behind, without a slash at its end.
        key: The API key; empty for none.
        certificate: A file with the only certificate that is accepted; "" for the usual authorities.
        key_variable: Where the key is looked for, for the remedy of a refusal.
    """

    base_url: str
    key: Secret = field(default_factory=lambda: Secret(""))
    certificate: str = ""
    key_variable: str = "RELAYD_API_KEY"

    def url(self, path: str) -> str:
        """Return the whole address of a path, or of an address that the server gave."""
        return path if "://" in path else f"{self.base_url}{path}"

    def is_own(self, url: str) -> bool:
        """Return whether an address is on the same server, which alone gets the key."""
        ours, theirs = urllib.parse.urlsplit(self.base_url), urllib.parse.urlsplit(url)
        return (ours.scheme, ours.netloc) == (theirs.scheme, theirs.netloc)


class Wire:
    """Sends requests to a batch API.

    Args:
        address: Where it is.
        headers: Sent along with every request to it; they may hold its key.
        pause: Waits so many seconds between two tries; None does it really.
    """

    def __init__(
        self,
        address: BatchAddress,
        headers: Mapping[str, str],
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self.address = address
        self._headers = headers
        self._pause = pause or threading.Event().wait
        self._sent = 0
        self._again = 0

    def __repr__(self) -> str:
        return f"<Wire to {shown_url(self.address.base_url)}, {self._sent} sent, {self._again} of them again>"

    def call(
        self, method: str, path: str, document: object = None, *, repeatable: bool = True
    ) -> dict[str, Any]:
        """Return the document that answers.

        Args:
            method: Of HTTP.
            path: Behind the base address, or a whole address.
            document: Sent as JSON; None for no body.
            repeatable: Whether it may be sent again when no one knows what became of it.

        Raises:
            BatchServerError: The server refused, failed, or was not reached.
        """
        data = b"" if document is None else json.dumps(document).encode()
        headers = {"Content-Type": "application/json"} if document is not None else {}
        return self.document(self.send(method, path, lambda: [data], headers, repeatable=repeatable), path)

    def upload(self, path: str, fields: Mapping[str, str], name: str, file: Path) -> dict[str, Any]:
        """Return the document that answers a file, which is read from disk as it is sent (multipart).

        Raises:
            BatchServerError: As `call`.
        """
        boundary = f"relayd-{os.urandom(16).hex()}"
        before, after = _multipart(boundary, fields, name)
        headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(len(before) + file.stat().st_size + len(after)),
        }

        def body() -> Iterator[bytes]:
            yield before
            yield from pieces(file)
            yield after

        return self.document(self.send("POST", path, body, headers), path)

    def send(
        self,
        method: str,
        path: str,
        body: Body,
        headers: Mapping[str, str],
        *,
        repeatable: bool = True,
    ) -> WholeAnswer:
        """Return an answer below 400, read to its end; redirects are left to the caller.

        Raises:
            BatchServerError: As `call`.
        """

        def attempt() -> WholeAnswer:
            with self._open(method, path, body, headers) as response:
                return _read(response)

        return self._tried(attempt, repeatable=repeatable)

    def read_into(self, path: str, file: IO[bytes]) -> None:
        """Write the body of an address to a file, from its beginning after each cut.

        Raises:
            BatchServerError: As `call`.
        """

        def attempt() -> None:
            file.seek(0)
            file.truncate()
            with self._open("GET", path, lambda: [b""], {}, hops=_HOPS) as response:
                _copied(response, file)

        self._tried(attempt, repeatable=True)

    def document(self, reply: WholeAnswer, path: str) -> dict[str, Any]:
        """Return the JSON object of an answer.

        Raises:
            BatchServerError: It is none.
        """
        try:
            found = json.loads(reply.body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            url = shown_url(self.address.url(path))
            raise BatchServerError(
                f"{url} answered {reply.status} without a JSON object",
                status=reply.status,
                remedy="Is this the address of a batch API? It may need another path, such as /v1.",
            )
        return found

    def _tried(self, attempt: Callable[[], T], *, repeatable: bool) -> T:
        """Return what one of several attempts gives."""
        for number in range(TRIES):
            try:
                return attempt()
            except _FaultError as met:
                fault = met.fault
                if number == TRIES - 1 or not fault.passes or not (repeatable or fault.harmless):
                    raise fault.error from met
                wait = _FIRST_PAUSE_SECONDS * 2**number if fault.seconds is None else fault.seconds
                self._again += 1
                self._pause(min(wait, LONGEST_PAUSE_SECONDS))
        raise AssertionError("the last try returns or raises")

    def _open(
        self, method: str, path: str, body: Body, headers: Mapping[str, str], hops: int = 0
    ) -> http.client.HTTPResponse:
        """Return the head of an answer below 400, after at most so many redirects."""
        url = self.address.url(path)
        while True:
            response = self._answered(method, url, body, headers)
            if response.status not in _REDIRECTS or not hops:
                break
            hops -= 1
            with response:
                url = urllib.parse.urljoin(url, response.headers.get("Location", ""))
        if response.status < http.HTTPStatus.BAD_REQUEST:
            return response
        with response:
            raise _FaultError(refusal(url, response, self.address.key_variable))

    def _answered(
        self, method: str, url: str, body: Body, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise BatchServerError(f"{shown_url(url)} is not an http or https address")
        sent = {"User-Agent": "relayd-batch", "Accept-Encoding": "identity", **headers}
        if self.address.is_own(url):
            sent |= self._headers
        data = b"".join(body()) if "Content-Length" not in headers else body()
        request = urllib.request.Request(url, data or None, sent, method=method)  # noqa: S310 - checked above
        self._sent += 1
        try:
            found: http.client.HTTPResponse = self._opener(url).open(request, timeout=SILENCE_SECONDS)
        except (OSError, http.client.HTTPException) as error:
            raise _FaultError(unreached(url, error, SILENCE_SECONDS)) from error
        return found

    def _opener(self, url: str) -> urllib.request.OpenerDirector:
        """Return what opens an address and handles neither redirects nor errors."""
        parts = urllib.parse.urlsplit(url)
        local = parts.hostname in _LOOPBACK
        proxies = {} if local else proxies_for(url, urllib.request.getproxies())
        opener = urllib.request.OpenerDirector()
        opener.add_handler(urllib.request.ProxyHandler(proxies))
        opener.add_handler(urllib.request.HTTPHandler())
        if parts.scheme == "https":  # the authorities take 20 ms to load
            opener.add_handler(urllib.request.HTTPSHandler(context=_context(self.address.certificate)))
        return opener


class _FaultError(Exception):
    """Carries a fault to where it is decided whether to try again."""

    def __init__(self, fault: WireFault) -> None:
        super().__init__(str(fault.error))
        self.fault = fault


def pieces(file: Path) -> Iterator[bytes]:
    """Yield a file in pieces."""
    with file.open("rb") as opened:
        while piece := opened.read(_CHUNK):
            yield piece


def _multipart(boundary: str, fields: Mapping[str, str], name: str) -> tuple[bytes, bytes]:
    """Return what comes before a file and what comes after it (RFC 7578)."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
        for field, value in fields.items()
    ]
    file = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
    head = "".join((*parts, file, "Content-Type: application/jsonl\r\n\r\n"))
    return head.encode(), f"\r\n--{boundary}--\r\n".encode()


def _context(certificate: str) -> ssl.SSLContext:
    """Return how servers are verified: a daemon's own certificate is for whatever name."""
    context = ssl.create_default_context(cafile=certificate or None)
    if certificate:
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _read(response: http.client.HTTPResponse) -> WholeAnswer:
    try:
        return WholeAnswer(response.status, dict(response.headers), response.read())
    except (OSError, http.client.HTTPException) as error:
        raise _FaultError(cut(response.url, error)) from error


def _copied(response: http.client.HTTPResponse, file: IO[bytes]) -> None:
    """Write a body to a file; `read1` does not say that a body was cut, so it is counted."""
    length, done = response.headers.get("Content-Length", ""), 0
    try:
        while piece := response.read1(_CHUNK):
            file.write(piece)
            done += len(piece)
    except (OSError, http.client.HTTPException) as error:
        raise _FaultError(cut(response.url, error)) from error
    if length.isdecimal() and done != int(length):
        raise _FaultError(cut(response.url, f"{done} of {length} bytes arrived"))
