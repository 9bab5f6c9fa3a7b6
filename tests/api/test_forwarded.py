"""Is the client of a request that came through a proxy found, and is nobody else believed?"""

from ipaddress import ip_network

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from relayd.api.forwarded import NO_PROXIES, Proxies

pytestmark = pytest.mark.pure

PROXIES = Proxies((ip_network("127.0.0.0/8"), ip_network("10.0.0.1"), ip_network("fd00::/8")))


def headers(*fields: tuple[str, str]) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict(fields))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("127.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", ["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", ["203.0.113.9, 10.0.0.1"], "203.0.113.9"),
        ("127.0.0.1", ["198.51.100.1", "203.0.113.9, 10.0.0.1"], "203.0.113.9"),
        ("::ffff:127.0.0.1", ["2001:db8::1"], "2001:db8::1"),
        ("fd00::1%eth0", ["203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", ["10.0.0.1"], "10.0.0.1"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["unknown"], "127.0.0.1"),
        ("127.0.0.1", ["203.0.113.9, _hidden"], "127.0.0.1"),
        ("127.0.0.1", ["203.0.113.9, <script>, 10.0.0.1"], "10.0.0.1"),
        ("203.0.113.50", ["127.0.0.1"], "203.0.113.50"),
        ("", ["127.0.0.1"], ""),
    ],
)
def test_r27_only_a_trusted_proxy_is_believed_on_who_its_client_is(
    peer: str, forwarded: list[str], client: str
) -> None:
    assert client == PROXIES.client(headers(*(("X-Forwarded-For", one) for one in forwarded)), peer)
    assert peer == NO_PROXIES.client(headers(("X-Forwarded-For", "203.0.113.9")), peer)


@pytest.mark.parametrize(
    ("peer", "named", "secure", "found"),
    [
        ("127.0.0.1", "https", False, True),
        ("127.0.0.1", "HTTPS ", False, True),
        ("127.0.0.1", "http", True, False),
        ("127.0.0.1", "", True, True),
        ("203.0.113.50", "https", False, False),
        ("203.0.113.50", "http", True, True),
    ],
)
def test_only_a_trusted_proxy_is_believed_on_encryption(
    peer: str, named: str, secure: bool, found: bool
) -> None:
    assert found == PROXIES.is_secure(headers(("X-Forwarded-Proto", named)), peer, secure=secure)
