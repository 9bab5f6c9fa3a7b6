"""Who is the client of a request that came through a reverse proxy (forwarded headers)?

Only a proxy that the operator trusts is believed: anyone can write these headers.
"""

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from multidict import CIMultiDictProxy

Network = IPv4Network | IPv6Network


class Proxies:
    """The reverse proxies that are trusted.

    Args:
        networks: Their addresses.
    """

    def __init__(self, networks: tuple[Network, ...] = ()) -> None:
        self._networks = networks

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __repr__(self) -> str:
        return f"<Proxies {', '.join(map(str, self._networks)) or 'none'}>"

    def trusts(self, peer: str) -> bool:
        """Return whether an address is that of a trusted proxy."""
        if not self._networks:
            return False
        try:
            address = ip_address(peer.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)

    def client(self, headers: CIMultiDictProxy[str], peer: str) -> str:
        """Return the address of a client: the last one in `X-Forwarded-For` that is not a proxy's.

        Args:
            headers: Of the request.
            peer: The other end of its connection.
        """
        if not self.trusts(peer):
            return peer
        client = peer
        for one in reversed(",".join(headers.getall("X-Forwarded-For", ())).split(",")):
            try:
                client = str(ip_address(one.strip()))
            except ValueError:
                break  # a proxy writes addresses: what stands here and before it is not one's
            if not self.trusts(client):
                break
        return client

    def is_secure(self, headers: CIMultiDictProxy[str], peer: str, *, secure: bool) -> bool:
        """Return whether a client's own connection is encrypted; a proxy reports that of its client."""
        if not self.trusts(peer):
            return secure
        named = headers.get("X-Forwarded-Proto", "").strip().lower()
        return named == "https" if named else secure


NO_PROXIES = Proxies()
"""What trusts none."""
