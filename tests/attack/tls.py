"""Connections that are no TLS, or break it off: what is written to a port where everything is encrypted."""

import asyncio
import shutil
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from tests.attack.outcome import Outcome
from tests.attack.wire import Form, HalfClose, Pause
from tests.certificates import make_certificate
from tests.daemons import FAST, Daemon

_ANY_ANSWER = 1000
"""An answer in plain text is one too many, whatever its status."""

_HELLO = b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03" + bytes(range(32)) + b"\x00" * 157


def tls_forms() -> Iterator[Form]:
    """Yield every form."""
    plain = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    sent = {
        "plain HTTP": plain,
        "plain HTTP after a hello": _HELLO + plain,
        "half a hello": _HELLO[:40],
        "a hello of zeros": b"\x16\x03\x01\x40\x00" + bytes(16_384),
        "a record of 65,535": b"\x16\x03\x03\xff\xff" + bytes(65_535),
        "an empty record": b"\x16\x03\x03\x00\x00" * 1_000,
        "a hello of SSL 2": b"\x80\x2e\x01\x00\x02" + bytes(43),
        "an alert": b"\x15\x03\x03\x00\x02\x02\x28",
        "a heartbeat": b"\x18\x03\x03\x00\x03\x01\x40\x00",
        "data before the handshake": b"\x17\x03\x03\x00\x20" + bytes(32),
        "a megabyte of noise": bytes(range(256)) * 4_096,
    }
    for name, data in sent.items():
        yield Form("tls", name, (data,), 0, _ANY_ANSWER)
        yield Form("tls", f"{name}, half-closed", (data, HalfClose()), 0, _ANY_ANSWER)
        yield Form(
            "tls",
            f"{name}, slowly",
            (data[:1], Pause(0.2), data[1:20], Pause(0.2), data[20:]),
            0,
            _ANY_ANSWER,
        )
    yield Form("tls", "nothing", (Pause(6),), 0, _ANY_ANSWER)


class EncryptedDaemon:
    """A daemon with a certificate of its own and the demo model.

    Args:
        engine: The llama-server to run.
    """

    def __init__(self, engine: Path) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="attack-tls"))
        self._cert, key = make_certificate(self._home)
        server = f'[server]\nheader_seconds = 5\ntls_cert = "{self._cert}"\ntls_key = "{key}"\n'
        self._daemon = Daemon(self._home, engine, FAST + server, ("--demo",), {})

    @property
    def port(self) -> int:
        return int(self._daemon.url.rsplit(":", 1)[1])

    async def honest(self) -> Outcome:
        """Ask as an honest client, and return how that came out."""
        context = ssl.create_default_context(cafile=str(self._cert))
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=context, server_hostname="localhost"
        )
        with closing(writer):
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            line = await reader.readline()
        return Outcome("tls", "an honest client", int(line.split()[1]) if line else 500)

    def close(self) -> None:
        """End it; nothing of it is left."""
        self._daemon.end()
        self._daemon.leftovers()
        shutil.rmtree(self._home, ignore_errors=True)
