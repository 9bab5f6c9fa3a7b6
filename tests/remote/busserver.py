"""A real nats-server on a port of loopback, configured as `relayd bus init` does."""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from time import monotonic

import pytest

pytest.importorskip("nats", reason="nats-py is not installed: pip install 'relayd[nats]'")

from relayd.remote.bus.credentials import BusCredentials
from relayd.remote.bus.serverconfig import BusTls, server_config

VARIABLE = "RELAYD_TEST_NATS_SERVER"
"""Names the program where it is not in the path."""


def nats_server() -> str:
    """Return the program; the test is skipped where there is none."""
    found = os.environ.get(VARIABLE) or shutil.which("nats-server")
    if not found:
        pytest.skip(f"no nats-server here: set {VARIABLE}")
    return found


class BusServer:
    """A server that can be ended and started again on the same port."""

    def __init__(self, folder: Path, members: Iterable[BusCredentials], tls: BusTls | None = None) -> None:
        self._program = nats_server()
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"nats://127.0.0.1:{self.port}"
        self._config = folder / "nats.conf"
        self._config.write_text(server_config(members, f"127.0.0.1:{self.port}", tls), encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [self._program, "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _until(self._answers)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "nats-server ended"
        with closing(socket.socket()) as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def _until(holds: Callable[[], bool]) -> None:
    end = monotonic() + 30
    while not holds():
        assert monotonic() < end, "nats-server does not answer"
