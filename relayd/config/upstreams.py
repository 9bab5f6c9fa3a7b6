"""What is an upstream called, and where does its URL lead?"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class ServerPlace:
    """Where a server answers.

    Attributes:
        host: A name or an address, without brackets.
        port: As written, else that of the scheme.
        tls: Whether connections are encrypted.
        base: What its paths begin with, before `/v1`.
    """

    host: str
    port: int
    tls: bool
    base: str


def place_of(url: str) -> ServerPlace:
    """Return where a URL leads.

    Raises:
        ValueError: Its port is not one, or its host is missing.
    """
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    if not parts.hostname:
        raise ValueError(f"{url!r} names no host")
    base = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return ServerPlace(parts.hostname, parts.port or (443 if tls else 80), tls, base)


def name_of(name: str, url: str) -> str:
    """Return what an upstream is called: its name, else one made of its host and port."""
    if name:
        return name
    parts = urlsplit(url)
    return _NOT_IN_NAMES.sub("-", parts.netloc).strip("-._")[:64] or "upstream"


def repeated_upstreams(upstreams: Iterable[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """Return a problem for every upstream that is called as another one, or whose URL leads nowhere.

    Args:
        upstreams: ServerPlace and values of each.
    """
    problems, seen = [], dict[str, str]()
    for where, block in upstreams:
        url = block.get("url", "")
        try:
            place_of(url)
        except ValueError as error:
            problems.append(f"{where}: [[upstream]]: url {url!r}: {error}")
            continue
        name = name_of(block.get("name", ""), url)
        if name in seen:
            problems.append(f"{where}: an [[upstream]] is already called {name!r}, at {seen[name]}")
        seen.setdefault(name, where)
        if block.get("key") and block.get("key_file"):
            problems.append(
                f"{where}: [[upstream]] {name!r}: key and key_file are both set; keep one of them"
            )
    return problems
