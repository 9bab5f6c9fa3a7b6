"""What does a service manager hear from a daemon, and what does it hand to it?"""

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from relayd.engine import Engine
from relayd.service import stop_budget_seconds
from tests.daemons import DEADLINE_SECONDS, Daemon, home_environ, run_relayd, tagged_processes

pytestmark = pytest.mark.real

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

AS_SYSTEMD_STARTS = """
import os, sys
os.dup2(int(sys.argv[1]), 3, inheritable=True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.executable, [sys.executable, "-m", "relayd", "serve", *sys.argv[2:]])
"""


@dataclass
class Ear:
    """A service manager's ear."""

    channel: socket.socket
    path: str

    def hear(self) -> dict[str, str]:
        return {
            name: value
            for name, _, value in (
                line.partition("=") for line in self.channel.recv(4096).decode().splitlines()
            )
        }

    def hear_out(self, silence_seconds: float) -> None:
        """Listen until nothing has been said for so long."""
        self.channel.settimeout(silence_seconds)
        with contextlib.suppress(TimeoutError):
            while True:
                self.hear()
        self.channel.settimeout(DEADLINE_SECONDS)

    def hear_until(self, **expected: str) -> list[dict[str, str]]:
        """Listen until a message has these fields, each a pattern; return it after those before it."""
        heard: list[dict[str, str]] = []
        while not heard or not all(re.search(one, heard[-1].get(key, "")) for key, one in expected.items()):
            try:
                heard.append(self.hear())
            except TimeoutError:
                raise AssertionError(f"not heard: {expected}, but {heard}") from None
        return heard


@pytest.fixture
def manager(home: Path) -> Iterator[Ear]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.settimeout(DEADLINE_SECONDS)
        channel.bind(str(home / "notify"))
        yield Ear(channel, str(home / "notify"))


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one


def test_s74_ready_is_told_when_clients_can_connect_and_models_still_load(
    start_daemon: Callable[..., Daemon], manager: Ear
) -> None:
    daemon = start_daemon("", "--demo", wait=False, NOTIFY_SOCKET=manager.path)

    *_, ready = manager.hear_until(READY="1")
    with urllib.request.urlopen(f"{daemon.url}/healthz", timeout=DEADLINE_SECONDS) as answer:
        assert 200 == answer.status
    assert "0 of 1 replicas ready, 0 requests running, 0 waiting" == ready["STATUS"]
    manager.hear_until(STATUS="^1 of 1 replicas ready")


def test_s74_ready_is_told_after_adoption(start_daemon: Callable[..., Daemon], manager: Ear) -> None:
    first = start_daemon("", "--demo")
    pid = first.replicas()["demo#0"]["pid"]
    first.process.kill()
    first.process.wait()

    second = start_daemon("", "--demo", wait=False, NOTIFY_SOCKET=manager.path)
    manager.hear_until(READY="1")

    assert pid == second.replicas()["demo#0"]["pid"]
    second.await_event("try")


def test_s75_beats_come_from_the_loop_and_stop_with_it(
    start_daemon: Callable[..., Daemon], manager: Ear
) -> None:
    daemon = start_daemon("", "--demo", NOTIFY_SOCKET=manager.path, WATCHDOG_USEC="400000")
    manager.hear_until(WATCHDOG="1")
    daemon.process.send_signal(signal.SIGSTOP)
    manager.hear_out(silence_seconds=1)
    daemon.process.send_signal(signal.SIGCONT)

    manager.hear_until(WATCHDOG="1")


def test_s75_beats_meant_for_another_process_are_left_to_it(
    start_daemon: Callable[..., Daemon], manager: Ear
) -> None:
    daemon = start_daemon("", "--demo", NOTIFY_SOCKET=manager.path, WATCHDOG_USEC="100000", WATCHDOG_PID="1")
    daemon.end()

    assert all("WATCHDOG" not in message for message in manager.hear_until(STOPPING="1"))


def test_an_upgrade_names_the_new_daemon_which_says_the_rest(
    start_daemon: Callable[..., Daemon], manager: Ear
) -> None:
    daemon = start_daemon("", "--demo", NOTIFY_SOCKET=manager.path, WATCHDOG_USEC="400000")
    manager.hear_until(STATUS="^1 of 1")
    with ThreadPoolExecutor(1) as pool:
        upgrade = pool.submit(daemon.run, "upgrade", "--json")
        heard: dict[str, str] = {}  # read meanwhile: the kernel keeps ten messages and drops the rest
        while not {"MAINPID", "READY", "WATCHDOG"} <= heard.keys():
            heard |= manager.hear()
        done = upgrade.result()

    assert 0 == done.returncode, done.stdout
    assert str(json.loads(done.stdout)["pid"]) == heard["MAINPID"]
    assert "STOPPING" not in heard, "the old daemon falls silent"


def test_s76_a_reload_is_told_from_its_beginning_to_its_end(
    start_daemon: Callable[..., Daemon], manager: Ear, tiny_model: Path
) -> None:
    text = f'[[model]]\nname = "tiny"\nfile = "{tiny_model}"\nslots = 1\n'
    daemon = start_daemon(text, NOTIFY_SOCKET=manager.path)
    manager.hear_until(STATUS="^1 of 1")
    daemon.config.write_text(text.replace("slots = 1", "slots = 2"))
    daemon.process.send_signal(signal.SIGHUP)

    *_, begin = manager.hear_until(RELOADING="1")
    *_, end = manager.hear_until(READY="1")
    assert int(begin["MONOTONIC_USEC"]) > 0
    assert end["STATUS"].startswith("1 of 1 replicas ready")


def test_s76_a_bad_file_is_no_reload(start_daemon: Callable[..., Daemon], manager: Ear) -> None:
    daemon = start_daemon("", "--demo", NOTIFY_SOCKET=manager.path)
    daemon.config.write_text("slotts = 3\n")
    assert 0 != daemon.run("reload").returncode
    daemon.end()

    assert all("RELOADING" not in message for message in manager.hear_until(STOPPING="1"))


def test_s76_the_end_asks_for_the_time_that_the_configuration_now_allows(
    start_daemon: Callable[..., Daemon], manager: Ear
) -> None:
    config = "[replicas]\ndrain_seconds = 300\n"
    daemon = start_daemon(config, "--demo", NOTIFY_SOCKET=manager.path)
    daemon.end()

    *_, stopping = manager.hear_until(STOPPING="1")
    assert stop_budget_seconds(300, 10, 5) == int(stopping["EXTEND_TIMEOUT_USEC"]) / 1_000_000


@LINUX
def test_s77_replicas_learn_nothing_of_the_manager(start_daemon: Callable[..., Daemon], manager: Ear) -> None:
    daemon = start_daemon("", "--demo", NOTIFY_SOCKET=manager.path, WATCHDOG_USEC="30000000")
    child = daemon.replicas()["demo#0"]["pid"]

    variables = Path(f"/proc/{child}/environ").read_bytes()
    assert b"RELAYD_REPLICA=demo#0" in variables
    assert not re.findall(rb"NOTIFY_SOCKET|WATCHDOG_|LISTEN_", variables)


@pytest.mark.parametrize("address", ["/nowhere", "@nobody-listens-here", ""])
def test_s77_a_daemon_needs_no_manager(start_daemon: Callable[..., Daemon], address: str) -> None:
    daemon = start_daemon("", "--demo", NOTIFY_SOCKET=address, WATCHDOG_USEC="50000")

    assert ["demo#0"] == list(daemon.replicas())
    assert 0 == daemon.end()


def serve_on(one: socket.socket, home: Path, engine: Engine, listen: str) -> subprocess.Popen[str]:
    """Start a daemon as systemd does for a socket unit."""
    number = str(one.fileno())
    return subprocess.Popen(
        [sys.executable, "-c", AS_SYSTEMD_STARTS, number, "--json", "--demo", "--listen", listen],
        pass_fds=[one.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=home,
        env=home_environ(home) | {"LLAMA_SERVER_PATH": str(engine.path)},
        text=True,
    )


def await_line(daemon: subprocess.Popen[str], event: str) -> dict[str, str]:
    assert daemon.stdout
    for line in daemon.stdout:
        found: dict[str, str] = json.loads(line)
        if found["event"] == event:
            return found
    raise AssertionError(daemon.communicate()[1])


@LINUX
def test_s78_clients_wait_in_an_inherited_socket_while_the_daemon_is_replaced(
    listening: socket.socket, home: Path, engine: Engine
) -> None:
    host, port = listening.getsockname()
    inode = Path(f"/proc/self/fd/{listening.fileno()}").stat().st_ino
    with serve_on(listening, home, engine, f"{host}:{port}") as first:
        assert f"http://{host}:{port}" == await_line(first, "listening")["url"]
        await_line(first, "try")
        for child in tagged_processes(home):
            assert inode not in {one.stat().st_ino for one in Path(f"/proc/{child.pid}/fd").iterdir()}
        first.kill()
    with socket.create_connection((host, port), timeout=DEADLINE_SECONDS) as waiting:
        waiting.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        with serve_on(listening, home, engine, f"{host}:{port}") as second:
            assert waiting.recv(4096).startswith(b"HTTP/1.1 200 ")
            run_relayd(home_environ(home), home, "stop", "--all")
            second.communicate(timeout=DEADLINE_SECONDS)
            assert 0 == second.returncode
    assert [] == tagged_processes(home)


def test_s78_a_socket_on_another_address_is_no_way_in(
    listening: socket.socket, home: Path, engine: Engine
) -> None:
    port = listening.getsockname()[1]
    with serve_on(listening, home, engine, f"127.0.0.2:{port}") as daemon:
        told, _ = daemon.communicate(timeout=DEADLINE_SECONDS)

    assert 1 == daemon.returncode
    assert f"the service manager listens on 127.0.0.1 port {port}" in json.loads(told)["error"]["message"]
    assert [] == tagged_processes(home)
