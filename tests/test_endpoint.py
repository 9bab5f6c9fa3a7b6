"""An address opens itself, is written as text and read again."""

from pathlib import Path
from typing import Any

import pytest

from relayd.endpoint import Address, TcpAddress, UnixAddress, parse_address

pytestmark = pytest.mark.pure

ADDRESSES = [
    UnixAddress(Path("/run/a b.sock")),
    TcpAddress(8100),
    TcpAddress(8100, "10.0.0.7"),
    TcpAddress(8100, "fe80::1"),
    TcpAddress(8100, "box.local"),
]


@pytest.mark.parametrize("address", ADDRESSES, ids=str)
def test_an_address_is_the_same_after_it_was_written(address: Address) -> None:
    assert address == parse_address(str(address))


AUTHORITIES = ["localhost", "127.0.0.1:8100", "10.0.0.7:8100", "[fe80::1]:8100", "box.local:8100"]


@pytest.mark.parametrize(("address", "authority"), list(zip(ADDRESSES, AUTHORITIES, strict=True)))
def test_a_host_header_names_the_host_that_is_asked(address: Address, authority: str) -> None:
    assert authority == address.authority


@pytest.mark.parametrize("text", ["", "8100", "host:", "host:port"])
def test_what_is_no_address_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        parse_address(text)


class FakeLoop:
    """Writes down how it was asked to connect."""

    def __init__(self) -> None:
        self.asked: tuple[object, ...] = ()

    async def create_unix_connection(self, made: Any, path: str, /) -> tuple[Any, Any]:
        self.asked = (path,)
        return None, made()

    async def create_connection(
        self, made: Any, host: str, port: int, /, *, ssl: object = None
    ) -> tuple[Any, Any]:
        self.asked = (host, port) if ssl is None else (host, port, ssl)
        return None, made()


@pytest.mark.parametrize(
    ("address", "asked"), [(ADDRESSES[0], ("/run/a b.sock",)), (ADDRESSES[2], ("10.0.0.7", 8100))]
)
def test_an_address_opens_itself(address: Address, asked: tuple[object, ...]) -> None:
    loop = FakeLoop()
    opening = address.open(loop, lambda: "the protocol")

    with pytest.raises(StopIteration) as opened:
        opening.send(None)

    assert ("the protocol", asked) == (opened.value.value, loop.asked)
