"""A daemon takes its place before it plans: from then on clients wait, and a second daemon is refused."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from relayd.daemon.place import DaemonPlace, take_place
from relayd.errors import DaemonRunningError, ListenError
from relayd.folders import Paths, make_folders, paths

pytestmark = pytest.mark.system

ANYWHERE = "127.0.0.1:0"


@pytest.fixture
def own(tmp_path: Path) -> Paths:
    """The folders of a daemon."""
    made = paths({"RELAYD_RUNTIME_DIR": str(tmp_path / "r")}, tmp_path)
    make_folders(made)
    return made


@pytest.fixture
def place(own: Paths) -> Iterator[DaemonPlace]:
    """A place at a free port."""
    taken = take_place(own, ANYWHERE, {})
    yield taken
    taken.close()


def port_of(place: DaemonPlace) -> int:
    port: int = place.sockets[0].getsockname()[1]
    return port


def test_a_second_daemon_of_the_folder_is_refused(own: Paths, place: DaemonPlace) -> None:
    with pytest.raises(DaemonRunningError):
        take_place(own, ANYWHERE, {})

    assert place.sockets


def test_a_client_is_refused_until_the_place_listens(place: DaemonPlace) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port_of(place)), timeout=10)


def test_what_a_client_sends_before_a_server_accepts_is_kept(place: DaemonPlace) -> None:
    place.listen()

    async def accepted() -> bytes:
        received = asyncio.get_running_loop().create_future()

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            received.set_result(await reader.readexactly(5))
            writer.close()

        server = await asyncio.start_server(take, sock=place.sockets[0])
        async with server, asyncio.timeout(30):
            return bytes(await received)

    with socket.create_connection(("127.0.0.1", port_of(place)), timeout=10) as client:
        client.sendall(b"early")
        assert b"early" == asyncio.run(accepted())


def test_a_port_that_is_taken_is_replaced_only_where_that_is_wanted(
    tmp_path: Path, place: DaemonPlace
) -> None:
    other = paths({"RELAYD_RUNTIME_DIR": str(tmp_path / "other")}, tmp_path)
    make_folders(other)
    place.listen()
    taken = f"127.0.0.1:{port_of(place)}"
    with pytest.raises(ListenError, match="listens there"):
        take_place(other, taken, {})
    second = take_place(other, taken, {}, any_port=True)  # the lock of the refused one is free again
    second.close()

    assert port_of(place) > 0


def test_a_place_that_is_given_up_can_be_taken_again(own: Paths, place: DaemonPlace) -> None:
    address = f"127.0.0.1:{port_of(place)}"
    place.close()
    again = take_place(own, address, {})
    again.close()

    assert 1 == len(again.sockets)
