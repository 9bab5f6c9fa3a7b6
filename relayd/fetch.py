"""HTTP downloads: verified by SHA-256, resumed after a cut, bounded in size and time."""

import errno
import hashlib
import http.client
import json
import os
import queue
import shutil
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from relayd.errors import FetchError, HashMismatchError, HostSilentError, NoSpaceError, StateError
from relayd.units import show_bytes

FIRST_BYTE_SECONDS = 5.0
"""How long a host may take to resolve, connect and begin its answer."""

RETRIES = 3
"""How often one call resumes a connection that was cut."""

_HOPS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHUNK = 1 << 18
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

Progress = Callable[[int, int | None], None]
"""Called with the bytes that have arrived and the bytes in all, None while unknown."""


def fetch(
    url: str,
    dest: Path,
    *,
    sha256: str = "",
    max_bytes: int | None = None,
    headers: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    timeout_seconds: float = FIRST_BYTE_SECONDS,
) -> None:
    """Download `url` to `dest`, which appears only when it is complete and verified.

    Bytes collect in `DEST.part`; a cut connection is resumed there up to `RETRIES` times, and what
    is left is resumed by the next call, if the host still has the same bytes (If-Range).

    Args:
        url: https, or http on the loopback interface.
        dest: The file to make; its folder exists.
        sha256: The hexadecimal digest the bytes must have; empty to accept any.
        max_bytes: The most that may arrive.
        headers: Sent along; `Authorization` goes to the host of `url` only.
        progress: Called as bytes arrive.
        timeout_seconds: Until the first byte of an answer, and for each silence after it.

    Raises:
        HostSilentError: The host did not begin to answer in time.
        NoSpaceError: The disk is too small for the rest.
        HashMismatchError: The bytes are not the promised ones; they are removed.
        FetchError: Anything else that kept the bytes from arriving.
        StateError: The folder of `dest` cannot be written.
    """
    part = dest.with_name(dest.name + ".part")
    for left in reversed(range(RETRIES + 1)):
        try:
            _continue(url, part, dict(headers or {}), max_bytes, progress, timeout_seconds)
            break
        except _CutError as cut:
            if not left:
                raise FetchError(
                    f"the connection to {_show(url)} was cut {RETRIES + 1} times: {cut}",
                    remedy="Run the command again: it continues where it stopped.",
                ) from cut
        except OSError as error:
            raise _disk_error(part, error) from error
    _verify(url, part, sha256)
    _etag_file(part).unlink(missing_ok=True)
    part.replace(dest)


def fetch_size(
    url: str, *, headers: Mapping[str, str] | None = None, timeout_seconds: float = FIRST_BYTE_SECONDS
) -> int | None:
    """Return the length of the file at `url` as its host reports it; None where it does not.

    Its first byte is asked for, not HEAD, which hosts of signed addresses refuse.

    Raises:
        FetchError: As `fetch_bytes`.
    """
    with _open(url, {**(headers or {}), "Range": "bytes=0-0"}, timeout_seconds) as response:
        length = response.headers.get("Content-Length", "")
        if response.status == http.HTTPStatus.PARTIAL_CONTENT:
            length = response.headers.get("Content-Range", "").rpartition("/")[2]
    return int(length) if length.isdecimal() else None


def fetch_bytes(
    url: str,
    max_bytes: int,
    *,
    headers: Mapping[str, str] | None = None,
    timeout_seconds: float = FIRST_BYTE_SECONDS,
) -> bytes:
    """Return the body of `url`, at most `max_bytes` long.

    Raises:
        HostSilentError: The host did not begin to answer in time.
        FetchError: Anything else that kept the body from arriving.
    """
    with _open(url, dict(headers or {}), timeout_seconds) as response:
        try:
            body: bytes = response.read(max_bytes + 1)
        except (OSError, http.client.HTTPException) as error:
            raise FetchError(f"the answer of {_show(url)} broke off: {error}") from error
    if len(body) > max_bytes:
        raise FetchError(f"the answer of {_show(url)} is larger than {show_bytes(max_bytes)}")
    return body


def fetch_json(
    url: str,
    max_bytes: int,
    *,
    headers: Mapping[str, str] | None = None,
    timeout_seconds: float = FIRST_BYTE_SECONDS,
) -> Any:
    """Return the JSON value at `url`.

    Raises:
        FetchError: As `fetch_bytes`; also when the body is not valid JSON.
    """
    body = fetch_bytes(url, max_bytes, headers=headers, timeout_seconds=timeout_seconds)
    try:
        return json.loads(body)
    except ValueError as error:
        raise FetchError(f"the answer of {_show(url)} is not valid JSON: {error}") from error


class _CutError(Exception):
    """The connection ended before the bytes did, or the bytes changed meanwhile."""


class _StatusError(FetchError):
    """The host answered with a status other than 2xx."""

    def __init__(self, url: str, status: int, reason: str) -> None:
        super().__init__(f"{_show(url)} answered {status} {reason}".rstrip())
        self.status = status


def _continue(
    url: str,
    part: Path,
    headers: dict[str, str],
    max_bytes: int | None,
    progress: Progress | None,
    timeout_seconds: float,
) -> None:
    """Append to `part` what it lacks of `url`."""
    etag_file = _etag_file(part)
    offset = part.stat().st_size if part.exists() and etag_file.exists() else 0
    if offset:
        headers |= {"Range": f"bytes={offset}-", "If-Range": etag_file.read_text()}
    try:
        response = _open(url, headers, timeout_seconds)
    except _StatusError as error:
        if error.status != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        etag_file.unlink(missing_ok=True)
        raise _CutError("the host has no bytes after the ones already here") from error
    with response:
        if not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
            offset = 0
        total = _total(response, offset)
        _check_size(url, part, offset, total, max_bytes)
        _remember(etag_file, response.headers.get("ETag", ""))
        with part.open("r+b" if offset else "wb") as file:
            file.seek(offset)
            done = _copy(response, file.write, offset, total, max_bytes, progress)
            file.flush()
            os.fsync(file.fileno())
    _check_size(url, part, done, done, max_bytes)
    if total is not None and done != total:
        raise _CutError(f"{show_bytes(done)} of {show_bytes(total)} arrived")


def _copy(
    response: http.client.HTTPResponse,
    write: Callable[[bytes], object],
    done: int,
    total: int | None,
    max_bytes: int | None,
    progress: Progress | None,
) -> int:
    """Write the body to the file, at most one byte beyond the limit, and return the file's size."""
    while max_bytes is None or done <= max_bytes:
        try:
            chunk = response.read1(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _CutError(str(error) or type(error).__name__) from error
        if not chunk:
            return done
        done += len(chunk)
        write(chunk)
        if progress is not None:
            progress(done, total)
    return done


def _open(url: str, headers: dict[str, str], timeout_seconds: float) -> http.client.HTTPResponse:
    """Return the answer to a GET, after at most `_HOPS` redirects."""
    current = url
    for _ in range(_HOPS + 1):
        _check_url(current)
        response = _within(timeout_seconds, current, headers)
        if response.status < http.HTTPStatus.MULTIPLE_CHOICES:
            return response
        with response:
            if response.status not in _REDIRECTS:
                raise _StatusError(current, response.status, response.reason)
            target = urllib.parse.urljoin(current, response.headers.get("Location", ""))
        before, after = urllib.parse.urlsplit(current), urllib.parse.urlsplit(target)
        if (before.scheme, after.scheme) == ("https", "http"):
            raise FetchError(f"{_show(current)} redirects to {_show(target)}, which is not encrypted")
        if before.netloc != after.netloc:
            headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
        current = target
    raise FetchError(f"{_show(url)} redirects more than {_HOPS} times")


def _within(timeout_seconds: float, url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    """Return the answer of one host, or give up in time.

    A socket timeout bounds neither name resolution nor a host with many addresses, so the attempt
    runs in a thread that is left behind when it is late; it ends by its own socket timeouts.
    """
    answers: queue.SimpleQueue[http.client.HTTPResponse | BaseException] = queue.SimpleQueue()
    late = threading.Event()

    def attempt() -> None:
        try:
            response = _request(url, headers, timeout_seconds)
        except BaseException as error:  # noqa: BLE001 - carried to the caller's thread, and raised there
            answers.put(error)
            return
        if late.is_set():
            response.close()
        answers.put(response)

    threading.Thread(target=attempt, name="relayd-fetch", daemon=True).start()
    try:
        answer = answers.get(timeout=timeout_seconds)
    except queue.Empty:
        late.set()
        raise _silent(url, timeout_seconds) from None
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _request(url: str, headers: dict[str, str], timeout_seconds: float) -> http.client.HTTPResponse:
    """Return the answer of one GET, whatever its status."""
    local = urllib.parse.urlsplit(url).hostname in _LOOPBACK
    proxies = urllib.request.ProxyHandler({} if local else proxies_for(url, urllib.request.getproxies()))
    # Neither redirects nor errors are handled here, so every answer comes back as it is.
    opener = urllib.request.OpenerDirector()
    for handler in (proxies, urllib.request.HTTPHandler(), urllib.request.HTTPSHandler()):
        opener.add_handler(handler)
    sent = {"User-Agent": "relayd", "Accept-Encoding": "identity"} | headers
    request = urllib.request.Request(url, headers=sent)  # noqa: S310 - _check_url allowed the scheme
    try:
        response: http.client.HTTPResponse = opener.open(request, timeout=timeout_seconds)
    except TimeoutError as error:
        raise _silent(url, timeout_seconds) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            raise _silent(url, timeout_seconds) from error
        why = getattr(reason, "strerror", None) or reason
        remedy = (
            "Is there a network? HTTPS_PROXY or ALL_PROXY names a proxy, HF_ENDPOINT a mirror of the hub."
        )
        raise FetchError(f"{_show(url)} cannot be reached: {why}", remedy=remedy) from error
    return response


def proxies_for(url: str, named: Mapping[str, str]) -> dict[str, str]:
    """Return the proxy of an address by its scheme, as the environment names it; {} is none.

    `HTTPS_PROXY` comes before `ALL_PROXY`, as in curl; urllib alone knows only the first.

    Args:
        url: What is fetched.
        named: What `urllib.request.getproxies` has found: `https`, `all`, `no`.

    Raises:
        FetchError: The proxy is of a kind that relayd does not support.
    """
    parts = urllib.parse.urlsplit(url)
    if _is_left_out(parts.hostname or "", named.get("no", "")):
        return {}
    variable, proxy = next(
        ((name, named[name]) for name in (parts.scheme, "all") if named.get(name)), ("", "")
    )
    if not proxy:
        return {}
    kind = urllib.parse.urlsplit(proxy).scheme if "://" in proxy else "http"
    if kind not in {"http", "https"}:
        raise FetchError(
            f"{variable.upper()}_PROXY names a proxy by {kind}, which relayd does not support",
            remedy="Name one by http:// in HTTPS_PROXY, or leave the host out by NO_PROXY.",
        )
    return {parts.scheme: proxy}


def _is_left_out(host: str, names: str) -> bool:
    """Return whether `NO_PROXY` names a host, a domain that it is in, or all hosts."""
    listed = (name.strip().partition(":")[0].lstrip(".").lower() for name in names.split(","))
    return any(name in ("*", host) or host.endswith(f".{name}") for name in listed if name)


def _check_url(url: str) -> None:
    """Raise FetchError unless `url` is https, or http that stays on this machine."""
    parts = urllib.parse.urlsplit(url)
    allowed = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    if not allowed or not parts.hostname or "@" in parts.netloc:
        raise FetchError(f"{_show(url)} is not a plain https address", remedy="Use an https:// address.")


def _check_size(url: str, part: Path, offset: int, total: int | None, max_bytes: int | None) -> None:
    if total is None:
        return
    if max_bytes is not None and total > max_bytes:
        part.unlink(missing_ok=True)
        raise FetchError(
            f"{_show(url)} is {show_bytes(total)}, more than the {show_bytes(max_bytes)} allowed"
        )
    have = shutil.disk_usage(part.parent).free
    if total - offset > have:
        raise NoSpaceError(
            f"{_show(url)} needs {show_bytes(total - offset)}, {part.parent} has {show_bytes(have)} free",
            remedy="Free some space, or choose a folder on another disk.",
        )


def _total(response: http.client.HTTPResponse, offset: int) -> int | None:
    """Return the length of the whole file, if the host sends it."""
    length = response.headers.get("Content-Length", "")
    return offset + int(length) if length.isdecimal() else None


def _remember(etag_file: Path, etag: str) -> None:
    """Keep the version the part is of; a weak tag does not promise the same bytes (RFC 9110 §13.1.5)."""
    if etag and not etag.startswith("W/"):
        etag_file.write_text(etag)
    else:
        etag_file.unlink(missing_ok=True)


def _verify(url: str, part: Path, sha256: str) -> None:
    if not sha256:
        return
    with part.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != sha256.lower():
        part.unlink()
        _etag_file(part).unlink(missing_ok=True)
        raise HashMismatchError(
            f"{_show(url)} has the SHA-256 {actual}, expected {sha256.lower()}",
            remedy="Try again; if it stays so, do not trust the source.",
        )


def _disk_error(part: Path, error: OSError) -> FetchError | StateError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return NoSpaceError(f"the disk of {part.parent} is full", remedy="Free some space and try again.")
    return StateError(f"{part} cannot be written: {error.strerror}")


def _silent(url: str, timeout_seconds: float) -> HostSilentError:
    host = urllib.parse.urlsplit(url).hostname
    return HostSilentError(f"{host} did not answer within {timeout_seconds:g} s")


def _etag_file(part: Path) -> Path:
    return part.with_name(part.name + ".etag")


def _show(url: str) -> str:
    """Return a URL without the parts that may be secret: user, password and query."""
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
