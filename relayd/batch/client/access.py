"""Where each provider is, and its key: as given, as the environment has it, or the running daemon's."""

import json
import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from relayd.batch.client.wire import BatchAddress
from relayd.errors import BatchJobError, ConfigError, NoDaemonError
from relayd.folders import own_paths
from relayd.secret import Secret

_ANSWER_SECONDS = 5.0
_CHUNK = 1 << 16
_PORTS = {"http": 80, "https": 443}


class _ProviderPlace(NamedTuple):
    """Where a provider is known to be."""

    prefix: str
    """Of its variables, `…_BASE_URL` and `…_API_KEY`."""
    base_url: str


PLACES: Mapping[str, _ProviderPlace] = {
    "relayd": _ProviderPlace("RELAYD", ""),
    "openai": _ProviderPlace("OPENAI", "https://api.openai.com/v1"),
    "together": _ProviderPlace("TOGETHER", "https://api.together.xyz/v1"),
    "anthropic": _ProviderPlace("ANTHROPIC", "https://api.anthropic.com"),
}
"""Provider -> its variables, and its address where they name no other; relayd's is that of the daemon."""


def address_of(
    provider: str,
    environ: Mapping[str, str],
    base_url: str = "",
    api_key: str = "",
    control: Path | None = None,
) -> BatchAddress:
    """Return where a provider is, and with which key.

    The key of the running daemon goes to its own address only.

    Args:
        provider: One of `PLACES`.
        environ: Variables.
        base_url: The address; "" takes `…_BASE_URL`, else the provider's own.
        api_key: The key; "" takes `…_API_KEY`, else that of the running daemon.
        control: The daemon's control socket; None is this user's.

    Raises:
        BatchJobError: There is no such provider, or it needs a key and none is there.
        NoDaemonError: The daemon is meant, and none runs.
    """
    if provider not in PLACES:
        raise BatchJobError(
            f"{provider!r} is not a provider that is known", remedy=f"Name one of: {', '.join(PLACES)}."
        )
    place = PLACES[provider]
    variable = f"{place.prefix}_API_KEY"
    url = (base_url or environ.get(f"{place.prefix}_BASE_URL", "") or place.base_url).rstrip("/")
    key = Secret(api_key or environ.get(variable, ""))
    if not url:
        own = daemon_address(control, versioned=True)
        return replace(own, key=key) if key else own
    if not key and url == place.base_url:
        raise BatchJobError(f"{variable} is not set", remedy=f"Set it to a key of {urlsplit(url).hostname}.")
    address = BatchAddress(url, key, key_variable=variable)
    return address if key else _with_daemons_key(address, control)


def _with_daemons_key(address: BatchAddress, control: Path | None) -> BatchAddress:
    """Return an address, with the key of the running daemon where it is that daemon's."""
    if urlsplit(address.base_url).hostname not in ("127.0.0.1", "::1", "localhost"):
        return address
    try:
        own = daemon_address(control, versioned=False)
    except NoDaemonError:
        return address
    if _port(own.base_url) != _port(address.base_url):
        return address
    return BatchAddress(address.base_url, own.key, own.certificate, address.key_variable)


def daemon_address(control: Path | None, *, versioned: bool) -> BatchAddress:
    """Return where the running daemon is, with the key that its control socket lends to its owner.

    Args:
        control: Its control socket; None is this user's.
        versioned: Whether `/v1` belongs to the base.

    Raises:
        NoDaemonError: None runs, or it may not be asked.
    """
    try:
        path = own_paths().control_socket if control is None else control
        status, given = _asked(path, "status"), _asked(path, "configuration")
        base = str(status["url"]).replace("//0.0.0.0", "//127.0.0.1").replace("//[::]", "//[::1]")
        key, certificate = Secret(str(given.get("key", ""))), str(given.get("certificate", ""))
    except (OSError, ValueError, TypeError, KeyError, ConfigError) as error:
        raise NoDaemonError(
            "no relayd is running here",
            remedy="Start it: `relayd serve`; or set RELAYD_BASE_URL to the address of another, with /v1.",
        ) from error
    return BatchAddress(base + ("/v1" if versioned else ""), key, certificate)


def _asked(path: Path, verb: str) -> dict[str, Any]:
    """Return what the daemon answers to a verb (HTTP/1.0: it ends with the connection)."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_ANSWER_SECONDS)
        connection.connect(str(path))
        connection.sendall(f"GET /{verb} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(_CHUNK), b""))
    return dict(json.loads(answer.partition(b"\r\n\r\n")[2]))


def _port(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or _PORTS.get(parts.scheme, 0)
