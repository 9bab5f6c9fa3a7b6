"""May a request with this head come in at all: is it for us, from a page we know, and well framed?

Everything here is a function of the head and the policy. The doors ask for framing, host, origin
and key in this order: a page of another site learns nothing, not even whether its key is right.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

from multidict import CIMultiDictProxy

from relayd.api.forwarded import NO_PROXIES, Proxies
from relayd.errors import (
    BodyTooLargeError,
    ConfigError,
    HostRefusedError,
    MediaTypeError,
    OriginRefusedError,
    RequestError,
)
from relayd.units import Bytes, show_bytes

Headers = CIMultiDictProxy[str]

HEAD_LIMIT = 32 * 1024
"""Bytes of all header fields together; aiohttp limits each field and their number only."""

_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{0,5}))?")
_TARGET = re.compile(r"https?://([^/?#]*)(/[^?#]*)?(?:\?[^#]*)?", re.IGNORECASE)
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([^\s/?#@*]+)", re.IGNORECASE)
"""Of a web page, or of an application or browser extension with a scheme of its own (`app://`)."""

_NO_PAGES = frozenset({"file", "data", "blob", "javascript"})
"""Schemes whose origin browsers send as `null`."""

_OPAQUE = "null"
"""The origin of a sandboxed frame, a local file or a redirect: any web page can make one."""

_PORTS = {"http": "80", "https": "443"}
_WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, never bound


@dataclass(frozen=True, slots=True)
class Policy:
    """Whom the doors let in; made by `make_policy`.

    Attributes:
        hosts: Canonical names of this machine that a Host header may carry.
        origins: Pages of other origins that may ask, lower-cased; `*` is every one but `null`.
        proxies: Reverse proxies whose word on their clients counts.
    """

    hosts: frozenset[str]
    origins: frozenset[str]
    proxies: Proxies = NO_PROXIES


def make_policy(
    bind_host: str,
    *,
    allowed_hosts: Iterable[str] = (),
    cors_origins: Iterable[str] = (),
    trusted_proxies: Iterable[str] = (),
    keyed: bool,
) -> Policy:
    """Return the policy of doors that listen on `bind_host`.

    A wildcard address adds no name: nothing arrives at it, and web pages can reach it.

    Args:
        bind_host: Name or address that is listened on.
        allowed_hosts: More names that clients use for this machine.
        cors_origins: Origins of web pages that may ask, `scheme://host[:port]`, `null` or `*`.
        trusted_proxies: Addresses or networks of reverse proxies.
        keyed: Whether keys are configured.

    Raises:
        ConfigError: A name or an origin is malformed, or `*` or `null` stands without keys.
    """
    hosts = {"localhost", "127.0.0.1", "::1"}
    for name in (bind_host, *allowed_hosts):
        canonical = canonical_host(f"[{name}]" if ":" in name else name)
        if not canonical:
            raise ConfigError(
                f"{name!r} is not a host name.", remedy="Write a name or an address without port."
            )
        hosts.add(canonical)
    origins = frozenset(origin.lower().rstrip("/") for origin in cors_origins)
    for origin in origins - {"*", _OPAQUE}:
        match = _ORIGIN.fullmatch(origin)
        if match is None or match[1] in _NO_PAGES:
            raise ConfigError(f"{origin!r} is not an origin.", remedy="Write it as scheme://host[:port].")
    if not keyed and (open_to_all := origins & {"*", _OPAQUE}):
        raise ConfigError(
            f"server.cors_origins has {min(open_to_all)!r} and there is no key: "
            "any web page could use the models.",
            remedy="List the origins, or set server.api_key.",
        )
    networks = tuple(ip_network(one, strict=False) for one in trusted_proxies)
    return Policy(frozenset(hosts - _WILDCARDS), origins, Proxies(networks))


def canonical_host(authority: str) -> str:
    """Return the host of `host[:port]` in one spelling; empty when it is malformed.

    The case is folded and port, brackets and one trailing dot are dropped. An address keeps its
    meaning only in its standard form: `0x7f000001` and `127.1` stay names, which no machine has.
    """
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return ""
    literal, name, _ = match.groups()
    if literal is not None:
        return _canonical_ip(literal.lower()) if ":" in literal else ""
    return name.lower().removesuffix(".")


def _canonical_ip(text: str) -> str:
    """Return an address in its shortest form, an IPv4-mapped one as IPv4, and any other text as it is."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return text
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def split_target(target: str) -> tuple[str | None, str]:
    """Return the authority (None in origin form) and the raw path of a request target.

    Raises:
        RequestError: The target is neither `/path` nor `http://host/path`.
    """
    if target.startswith("/"):
        return None, target.partition("?")[0]
    match = _TARGET.fullmatch(target)
    if match is None:
        raise RequestError(
            f"The request target {target[:100]!r} is not a path.", remedy="Ask for /v1/models."
        )
    return match[1], match[2] or "/"


def check_host(headers: Headers, authority: str | None, arrived_at: str, policy: Policy) -> None:
    """Refuse a request that is meant for another machine (DNS rebinding).

    Args:
        headers: The head.
        authority: The authority of an absolute-form target, else None.
        arrived_at: The local address of the connection; an IP literal equal to it is ours.
        policy: Whom the doors let in.

    Raises:
        RequestError: Target and Host header differ.
        HostRefusedError: The Host header is not a name of this machine.
    """
    host = headers.get("Host", "")
    if authority is not None and authority.lower() != host.lower():
        raise RequestError("The request target and the Host header name different hosts.")
    canonical = canonical_host(host)
    if not canonical or (canonical not in policy.hosts and canonical != _canonical_ip(arrived_at)):
        raise HostRefusedError(
            f"The Host header {host[:100]!r} is not a name of this server.",
            remedy="If it should be, add it to server.allowed_hosts.",
        )


def check_origin(headers: Headers, *, secure: bool, policy: Policy) -> str | None:
    """Refuse a web page that may not ask; the host must have been checked.

    Args:
        headers: The head.
        secure: Whether the connection is encrypted.
        policy: Whom the doors let in.

    Returns:
        The value of Access-Control-Allow-Origin, or None when the request needs none.

    Raises:
        OriginRefusedError: The page's origin is neither this server's own nor listed.
    """
    origins = headers.getall("Origin", [])
    origin = ", ".join(origins).lower()
    if origins and _is_listed(origin, policy):
        return origins[0] if origin in policy.origins else "*"
    foreign = any("cross-site" in site.lower() for site in headers.getall("Sec-Fetch-Site", ()))
    if foreign or (origins and not _is_own(origin, headers["Host"], secure=secure)):
        raise OriginRefusedError(
            f"Web pages of {(origin or 'another site')[:100]!r} may not use this server.",
            remedy="If they should, add the origin to server.cors_origins.",
        )
    return None


def is_visit(headers: Headers) -> bool:
    """Return whether a person opens a page, by a link of whatever site, and no page asks for it."""
    asked = (headers.get("Sec-Fetch-Mode", ""), headers.get("Sec-Fetch-Dest", ""))
    return asked == ("navigate", "document") and "Origin" not in headers


def _is_listed(origin: str, policy: Policy) -> bool:
    """Return whether a page of `origin` may ask by the configuration."""
    if origin in policy.origins:
        return True
    return "*" in policy.origins and _ORIGIN.fullmatch(origin) is not None


def _is_own(origin: str, host: str, *, secure: bool) -> bool:
    """Say whether `origin` is the page that this server itself would serve under `host`."""
    match = _ORIGIN.fullmatch(origin)
    scheme = "https" if secure else "http"
    return match is not None and match[1] == scheme and _place(match[2], scheme) == _place(host, scheme)


def _place(authority: str, scheme: str) -> tuple[str, str]:
    """Return canonical host and port of an authority."""
    match = _AUTHORITY.fullmatch(authority)
    return canonical_host(authority), (match and match[3]) or _PORTS[scheme]


def check_framing(version: tuple[int, int], headers: Headers, header_bytes: int) -> None:
    """Refuse heads that another HTTP implementation could read differently.

    The parser refuses most of them; these are the ones it lets pass (aiohttp 3.14.5).

    Raises:
        RequestError: The version, the transfer coding or the size of the head is not acceptable.
    """
    if version not in {(1, 0), (1, 1)}:
        raise RequestError(
            f"HTTP version {version[0]}.{version[1]} is not supported.", remedy="Use HTTP/1.1."
        )
    codings = headers.getall("Transfer-Encoding", [])
    if codings and (version == (1, 0) or [coding.strip().lower() for coding in codings] != ["chunked"]):
        raise RequestError(
            "The Transfer-Encoding is not plain `chunked` of HTTP/1.1.", remedy="Send Content-Length instead."
        )
    if header_bytes > HEAD_LIMIT:
        raise RequestError(
            f"The header fields are {show_bytes(header_bytes)} together.",
            remedy=f"At most {show_bytes(HEAD_LIMIT)} are read.",
        )


def check_body_head(headers: Headers, limit: Bytes, length: int | None = None) -> Bytes:
    """Refuse a JSON body by its head, before a byte of it is read, or return its declared length.

    Only browsers have to declare it as JSON: that stops HTML forms, which they send without asking.
    Any other client is read as JSON whatever it declares, so that a plain `curl -d` works.

    Args:
        headers: The head.
        limit: The most that a body may hold.
        length: What the head declares; None reads it from there.

    Raises:
        MediaTypeError: A browser has not declared it as JSON, or it is compressed.
        BodyTooLargeError: Its Content-Length is over `limit`.
    """
    for value in headers.getall("Content-Type", ("",)):
        media_type = value.partition(";")[0].strip().lower()
        if media_type != "application/json" and _is_from_browser(headers):
            raise MediaTypeError(
                f"The body is {media_type[:100] or 'of no declared type'!r}, not JSON.",
                remedy="Send Content-Type: application/json.",
            )
    for value in headers.getall("Content-Encoding", ()):
        if (coding := value.strip().lower()) not in ("", "identity"):
            raise MediaTypeError(f"The body is encoded as {coding[:100]!r}.", remedy="Send it uncompressed.")
    declared = int(headers.get("Content-Length", "0")[:20]) if length is None else length
    if declared > limit:
        raise body_too_large(limit)
    return Bytes(declared)


def _is_from_browser(headers: Headers) -> bool:
    """Return whether a web page can have caused a request: browsers send one of these with each POST."""
    return any(name.lower() == "origin" or name.lower().startswith("sec-fetch-") for name in headers)


def body_too_large(limit: Bytes) -> BodyTooLargeError:
    """Return the error of a body over `limit`."""
    return BodyTooLargeError(
        f"The body is larger than {show_bytes(limit)}.", remedy="Shorten it, or raise server.max_body_mib."
    )
