"""Is every address of a name listened on that this machine has, and only an error if it has none?"""

import errno
import socket
from collections.abc import Iterator

import pytest

from relayd.bind import Target, bound

pytestmark = pytest.mark.system

ELSEWHERE = "192.0.2.1"
"""An address of documentation (RFC 5737), which no machine has: as `::1` where IPv6 is off."""


def target(host: str, port: int = 0) -> Target:
    return (socket.AF_INET, socket.SOCK_STREAM, 0, "", (host, port))


@pytest.fixture
def taken() -> Iterator[int]:
    """A port of the loopback interface on which another program listens."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def test_an_address_that_this_machine_lacks_is_left_out() -> None:
    (one,) = bound([target(ELSEWHERE), target("127.0.0.1")])

    with one:
        assert "127.0.0.1" == one.getsockname()[0]


def test_an_address_family_that_is_switched_off_is_left_out() -> None:
    (one,) = bound([(255, socket.SOCK_STREAM, 0, "", ("::1", 0, 0, 0)), target("127.0.0.1")])
    one.close()


def test_an_error_is_that_of_the_address_where_there_is_no_other() -> None:
    with pytest.raises(OSError) as refused:  # noqa: PT011 - the number is what matters
        bound([target(ELSEWHERE)])

    assert errno.EADDRNOTAVAIL == refused.value.errno


def test_an_address_that_is_taken_is_an_error_although_another_is_free(taken: int) -> None:
    with pytest.raises(OSError) as refused:  # noqa: PT011 - the number is what matters
        bound([target("127.0.0.2", taken), target("127.0.0.1", taken)])

    assert errno.EADDRINUSE == refused.value.errno
    bound([target("127.0.0.2", taken)])[0].close()


def test_all_addresses_of_a_name_get_the_same_free_port() -> None:
    opened = bound([target("127.0.0.1"), target("127.0.0.2"), target("127.0.0.1")])
    ports = {one.getsockname()[1] for one in opened}
    for one in opened:
        one.close()

    assert (2, 1) == (len(opened), len(ports))
