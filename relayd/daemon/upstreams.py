"""How does `[[upstream]]` become upstreams that are watched; which of them are this very relayd?"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from relayd.config import Config, parse_addresses, parse_ports
from relayd.config.schema import UpstreamServer
from relayd.config.upstreams import ServerPlace, name_of, place_of
from relayd.endpoint import Address, TcpAddress
from relayd.errors import ConfigError
from relayd.journal import Journal
from relayd.remote import UpstreamSource, WantedModel
from relayd.secret import Secret
from relayd.tlsaddress import TlsAddress

_JOURNAL = Journal("daemon")

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_LONGEST_KEY = 8192


@dataclass(frozen=True, slots=True)
class UpstreamPlan:
    """The upstreams of a configuration.

    Attributes:
        sources: Those that are watched.
        ours: URLs that lead to this relayd or to its replicas, and so are not.
    """

    sources: tuple[UpstreamSource, ...] = ()
    ours: tuple[str, ...] = ()


def upstream_plan(config: Config, listening: Collection[tuple[str, int]] = ()) -> UpstreamPlan:
    """Return the upstreams of a configuration; files of keys are read, so it blocks.

    Args:
        config: What the operator wants.
        listening: Where this relayd listens, besides what is configured.

    Raises:
        ConfigError: The file of a key cannot be read, or holds none.
    """
    sources, ours = list[UpstreamSource](), list[str]()
    for one in config.upstream:
        place = place_of(one.url)
        if _is_ours(place, config, listening):
            _JOURNAL.warning("remote.own_address", url=one.url)
            ours.append(one.url)
        else:
            sources.append(_source(one, place))
    return UpstreamPlan(tuple(sources), tuple(ours))


def _source(one: UpstreamServer, place: ServerPlace) -> UpstreamSource:
    address: Address = TlsAddress(place.host, place.port) if place.tls else TcpAddress(place.port, place.host)
    return UpstreamSource(
        name=name_of(one.name, one.url),
        url=one.url,
        address=address,
        base=place.base,
        key=_key(one),
        models=tuple(map(WantedModel.parse, one.models)),
        slots=one.slots,
        weight=one.weight,
        cost=one.cost,
        strategy=one.strategy,
        timeout_seconds=one.timeout,
        metrics_seconds=one.metrics_seconds,
        probe_seconds=one.probe_seconds,
    )


def _key(one: UpstreamServer) -> Secret:
    if not one.key_file:
        return one.key
    try:
        with Path(one.key_file).open(encoding="ascii") as stream:
            text = stream.read(_LONGEST_KEY).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"[[upstream]] {one.url}: key_file {one.key_file} cannot be read: {error}",
            remedy="Name a file that holds nothing but the key.",
        ) from error
    if not text or not all("!" <= one <= "~" for one in text):
        raise ConfigError(
            f"[[upstream]] {one.url}: key_file {one.key_file} holds no key",
            remedy="Name a file that holds nothing but the key, in printable ASCII.",
        )
    return Secret(text)


def _is_ours(place: ServerPlace, config: Config, listening: Iterable[tuple[str, int]]) -> bool:
    """Return whether a place is where this relayd or one of its replicas listens."""
    if place.host not in _LOOPBACK:
        return (place.host, place.port) in set(listening)
    own = {one.port for one in parse_addresses(config.server.listen)} | {port for _, port in listening}
    ports = parse_ports(config.replicas.ports) if config.replicas.listen == "tcp" and config.model else ()
    return place.port in own or place.port in ports
