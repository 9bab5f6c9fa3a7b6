"""Whose sockets are taken over, and who else gets them?"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping

import pytest

from relayd.errors import ListenError
from relayd.service.sockets import adopt, choose, inherited_descriptors

pytestmark = pytest.mark.system

PID = 4711

AS_SYSTEMD_STARTS = """
import os, socket, sys
from relayd.service import inherited_sockets
os.dup2(int(sys.argv[1]), 3, inheritable=True)
environ = {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid() + int(sys.argv[2]))}
found = inherited_sockets(environ, [("127.0.0.1", 0)])
if not found:
    print("nothing")
else:
    sock = found[0]
    child = os.posix_spawn("/bin/ls", ["ls", "/proc/self/fd/3"], {})
    print(sock.fileno(), os.get_inheritable(3), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0)
"""


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one


def copies(*sockets: socket.socket) -> list[socket.socket]:
    return [one.dup() for one in sockets]


def port(one: socket.socket) -> int:
    return int(one.getsockname()[1])


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"LISTEN_FDS": "2", "LISTEN_PID": str(PID)}, [3, 4]),
        ({"LISTEN_FDS": "2", "LISTEN_PID": "1"}, []),
        ({"LISTEN_FDS": "2"}, []),
        ({"LISTEN_FDS": "-1", "LISTEN_PID": str(PID)}, []),
        ({"LISTEN_FDS": "²", "LISTEN_PID": str(PID)}, []),
        ({"LISTEN_PID": str(PID)}, []),
        ({}, []),
    ],
)
def test_s78_descriptors_are_taken_only_when_they_are_meant_for_us(
    environ: Mapping[str, str], expected: list[int]
) -> None:
    assert expected == list(inherited_descriptors(environ, PID))


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc/self/fd")
@pytest.mark.parametrize(("wrong_by", "expected"), [(0, "3 False True"), (1, "nothing")])
def test_s78_a_program_started_later_does_not_get_the_socket(
    listening: socket.socket, wrong_by: int, expected: str
) -> None:
    number = listening.fileno()
    done = subprocess.run(
        [sys.executable, "-c", AS_SYSTEMD_STARTS, str(number), str(wrong_by)],
        pass_fds=[number],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert expected == done.stdout.strip(), done.stderr


def test_the_socket_of_the_configured_address_is_chosen_and_others_are_closed(
    listening: socket.socket,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        wanted, unwanted = copies(listening, other)
        chosen = choose([unwanted, wanted], [("127.0.0.1", port(listening))])

    assert [wanted] == chosen
    assert -1 == unwanted.fileno()
    wanted.close()


def test_each_configured_address_has_its_socket(listening: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        sockets = copies(listening, other)
        places = [("127.0.0.1", port(other)), ("127.0.0.1", port(listening))]

        assert [*reversed(sockets)] == choose(sockets, places)
    for one in sockets:
        one.close()


def test_an_address_without_a_socket_is_named_and_none_stays_open(listening: socket.socket) -> None:
    (one,) = copies(listening)

    with pytest.raises(ListenError, match=r"server\.listen is ::1 port 1\n"):
        choose([one], [("127.0.0.1", port(listening)), ("::1", 1)])

    assert -1 == one.fileno()


def test_without_sockets_there_is_none_to_choose() -> None:
    assert [] == choose([], [("127.0.0.1", 8080)])


@pytest.mark.parametrize("host", ["0.0.0.0", "::1", "localhost"])
def test_a_socket_on_another_address_is_refused(listening: socket.socket, host: str) -> None:
    (one,) = copies(listening)
    with pytest.raises(ListenError) as refused:
        choose([one], [(host, port(listening))])

    assert f"listens on 127.0.0.1 port {port(listening)}" in refused.value.message
    assert host in refused.value.message
    assert "relayd service install" in refused.value.remedy
    assert -1 == one.fileno()


def test_a_socket_that_does_not_listen_is_refused() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(ListenError):
            choose(copies(bound), [("127.0.0.1", port(bound))])


def test_a_unix_socket_is_refused() -> None:
    one, other = socket.socketpair()
    with other, pytest.raises(ListenError):
        choose([one], [("127.0.0.1", 8080)])


def test_ipv6_addresses_are_compared_by_value() -> None:
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with server:
        assert [server] == choose([server], [("0:0::1", port(server))])


def test_a_descriptor_that_is_no_socket_is_named() -> None:
    reader, writer = os.pipe()
    with pytest.raises(ListenError) as refused:
        adopt(range(reader, reader + 1))
    os.close(reader)
    os.close(writer)

    assert f"descriptor {reader}" in refused.value.message
