"""Listening addresses (HOST:PORT), networks and port ranges."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from relayd.errors import ConfigError

_HOST_PORT = re.compile(
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+(?:%\w+)?)\]|(?P<host>[^\s\[\]:/@]+)):(?P<port>[0-9]{1,5})"
)
_LAST_PORT = 65535


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where the door listens; `host` is without brackets, port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen(text: str) -> ListenAddress:
    """Read HOST:PORT, with IPv6 in brackets.

    Raises:
        ConfigError: `text` is anything else; a bare port or an empty host names no interface.
    """
    found = _HOST_PORT.fullmatch(text)
    if found is None or int(found["port"]) > _LAST_PORT:
        raise ConfigError(
            f"{text!r} is not HOST:PORT",
            remedy="Write 127.0.0.1:8080 for this machine only, 0.0.0.0:8080 for every interface, "
            "or [::1]:8080 for IPv6.",
        )
    return ListenAddress(found["ipv6"] or found["host"], int(found["port"]))


def parse_addresses(listen: str | Sequence[str]) -> tuple[ListenAddress, ...]:
    """Read one HOST:PORT or a list of them, each of which counts once.

    Raises:
        ConfigError: One is anything else, or there is none.
    """
    several = (listen,) if isinstance(listen, str) else listen
    if not several:
        raise ConfigError("listen names no address", remedy="Write at least one, such as 127.0.0.1:8080.")
    return tuple(dict.fromkeys(map(parse_listen, several)))


def show_addresses(listen: str | Sequence[str]) -> str:
    """Return the addresses of a setting as people write them."""
    return ", ".join(map(str, parse_addresses(listen)))


def parse_network(text: str) -> IPv4Network | IPv6Network:
    """Read an address or a network.

    Raises:
        ConfigError: `text` is neither.
    """
    try:
        return ip_network(text, strict=False)
    except ValueError as error:
        raise ConfigError(
            f"{text!r} is neither an address nor a network",
            remedy="Write 127.0.0.1, or 10.0.0.0/8 for a network.",
        ) from error


def parse_ports(text: str) -> Sequence[int]:
    """Read FIRST-LAST, both included; or several of these, and ports, with commas and in rising order.

    Raises:
        ConfigError: `text` is none of that.
    """
    if "," not in text:
        return _span(text)
    items = (one.strip() for one in text.split(","))
    spans = [_span(one if "-" in one else f"{one}-{one}") for one in items]
    ports = [port for span in spans for port in span]
    if ports != sorted(set(ports)):
        raise ConfigError(
            f"{text!r} names a port twice, or not in rising order",
            remedy="Write them in order, such as 8081,8083 or 8081-8084,8090.",
        )
    return ports


def _span(text: str) -> range:
    """Read FIRST-LAST, both included, as a range.

    Raises:
        ConfigError: `text` is not two ports in that order.
    """
    first, dash, last = text.partition("-")
    if not (dash and all(one.isascii() and one.isdigit() for one in (first, last))):
        raise ConfigError(f"{text!r} is not FIRST-LAST", remedy="Write two ports, such as 8100-8199.")
    ports = range(int(first), int(last) + 1)
    if not ports or ports[0] < 1 or ports[-1] > _LAST_PORT:
        raise ConfigError(
            f"{text!r} is not a range of ports",
            remedy=f"Write the lower one first, both from 1 to {_LAST_PORT}, such as 8100-8199.",
        )
    return ports
