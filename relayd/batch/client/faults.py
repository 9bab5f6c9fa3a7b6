"""What went wrong between the batch client and a server: what to say, and whether another try may help."""

import http.client
import json
import ssl
import urllib.parse
from dataclasses import dataclass

from relayd.errors import BatchServerError
from relayd.printable import printable

_MESSAGE_LENGTH = 500
_ERROR_BYTES = 1 << 20
_REFUSED_FOR_NOW = frozenset({429, 503, 529})
"""The request has not begun: it may be sent again whatever it does."""

_FAILED = frozenset({408, 500, 502, 504})


@dataclass(frozen=True, slots=True)
class WireFault:
    """A request without the answer that was asked for.

    Attributes:
        error: What to raise when it is not sent again.
        passes: Whether it may go well the next time.
        harmless: Whether the server has certainly begun nothing.
        seconds: How long the server asks to wait; None where it does not.
    """

    error: BatchServerError
    passes: bool = False
    harmless: bool = False
    seconds: float | None = None


def refusal(url: str, response: http.client.HTTPResponse, key_variable: str) -> WireFault:
    """Return what is wrong with an answer from 400 on."""
    try:
        text = response.read(_ERROR_BYTES)
    except (OSError, http.client.HTTPException):
        text = b""
    message, status = _message(text), response.status
    error = BatchServerError(
        f"{shown_url(url)} answered {status}{': ' if message else ''}{message}",
        status=status,
        remedy=_remedy(status, key_variable),
    )
    harmless = status in _REFUSED_FOR_NOW
    return WireFault(error, harmless or status in _FAILED, harmless, _asked(response))


def _remedy(status: int, key_variable: str) -> str:
    if status in (401, 403):
        return f"{key_variable} holds the key of the server."
    return "It may be split into several batches." if status == 413 else ""


def cut(url: str, why: object) -> WireFault:
    """Return what is wrong where an answer ended too soon."""
    message = f"the answer of {shown_url(url)} broke off: {why}"
    return WireFault(BatchServerError(message, remedy="Try it again."), passes=True)


def unreached(url: str, error: Exception, silence_seconds: float) -> WireFault:
    """Return what is wrong where no answer came."""
    why = getattr(error, "reason", error)
    if isinstance(why, ssl.SSLCertVerificationError):
        return WireFault(BatchServerError(f"{shown_url(url)} shows a certificate that is not trusted: {why}"))
    if isinstance(why, TimeoutError):
        text = f"{shown_url(url)} did not answer within {silence_seconds:g} s"
    elif isinstance(why, ConnectionRefusedError):
        text = f"nothing listens at {shown_url(url)}"
    else:
        text = f"{shown_url(url)} cannot be reached: {getattr(why, 'strerror', None) or why}"
    refused = isinstance(why, ConnectionRefusedError)
    return WireFault(BatchServerError(text, remedy="Is the address right?"), passes=True, harmless=refused)


def _asked(response: http.client.HTTPResponse) -> float | None:
    """Return how long a server asks to wait."""
    text = response.headers.get("Retry-After", "").strip()
    return float(text) if text.isdecimal() else None


def _message(text: bytes) -> str:
    """Return the message of an error in OpenAI's form, Anthropic's, or as plain text."""
    try:
        found = json.loads(text)
    except ValueError:
        return printable(" ".join(text.decode(errors="replace").split())[:_MESSAGE_LENGTH])
    inner = found.get("error", found) if isinstance(found, dict) else found
    message = inner.get("message") or inner.get("detail") if isinstance(inner, dict) else inner
    return printable(str(message or "")[:_MESSAGE_LENGTH])


def shown_url(url: str) -> str:
    """Return an address without what may be secret: user, password and query."""
    parts = urllib.parse.urlsplit(url)
    return printable(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")
