"""The checks that an address reachable from other machines has an API key, and a certificate its own."""

import ipaddress
import socket
from collections.abc import Callable, Iterable, Sequence

from relayd.config.check import HOW_TO_MAKE_A_KEY
from relayd.config.listen import ListenAddress, parse_addresses
from relayd.errors import ConfigError, ExposureError, ListenError
from relayd.secret import Secret


def resolve(host: str) -> list[str]:
    """Return every address of a host name, as this machine resolves it.

    Raises:
        ListenError: The name has no address.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ListenError(
            f'the host "{host}" of the listening address cannot be resolved: {error}',
            remedy="Listen on an address, such as 127.0.0.1:8080.",
        ) from error
    return [str(address[0]) for *_, address in found]


def check_exposure(
    listen: str | Sequence[str],
    api_key: Secret,
    *,
    always_keyed: bool = False,
    insecure: bool = False,
    resolver: Callable[[str], Iterable[str]] = resolve,
) -> None:
    """Refuse an address that other machines can reach when no key is required.

    A wildcard counts as reachable, and a host name unless every address of it is loopback.

    Args:
        listen: HOST:PORT, or several.
        api_key: The configured key; empty is none.
        always_keyed: Whether every client needs a key, whatever keys there are (`require_key = "always"`).
        insecure: Whether the operator allowed it (`--insecure-bind`).
        resolver: Host name or address to addresses.

    Raises:
        ExposureError: Other machines could use the API without a key.
        ConfigError: `listen` is not HOST:PORT.
        ListenError: The host cannot be resolved.
    """
    for address in parse_addresses(listen):
        if not (api_key or always_keyed or insecure):
            _check_closed(address, resolver)


def _check_closed(address: ListenAddress, resolver: Callable[[str], Iterable[str]]) -> None:
    found = list(resolver(address.host))
    if found and all(_is_loopback(one) for one in found):
        return
    where = "" if address.host in found else f" ({', '.join(sorted(set(found)))})"
    raise ExposureError(
        f"{address}{where} can be reached from other machines, and no API key is set",
        remedy=(
            f'Set a key: RELAYD_API_KEY="$({HOW_TO_MAKE_A_KEY})", or api_key in [server].\n'
            'Or set require_key = "always" in [server], and make keys: `relayd keys create NAME`.\n'
            f"Or listen on this machine only: --listen 127.0.0.1:{address.port}\n"
            "Or, if every client that can reach it may use it: --insecure-bind"
        ),
    )


def check_tls(cert: str, key: str) -> None:
    """Refuse a certificate without its key, and a key without its certificate.

    Args:
        cert: The file of the certificate; empty for none.
        key: That of its key.

    Raises:
        ConfigError: One of them is missing.
    """
    if bool(cert) != bool(key):
        given, missing = ("tls_cert", "tls_key") if cert else ("tls_key", "tls_cert")
        raise ConfigError(
            f"[server] has {given} and no {missing}",
            remedy="Set both, or neither: then nothing is encrypted.",
        )


def _is_loopback(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        return ip.ipv4_mapped.is_loopback
    return ip.is_loopback
