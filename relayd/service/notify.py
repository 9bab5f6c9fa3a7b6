"""Readiness, status and watchdog messages to the service manager (sd_notify).

The protocol is sd_notify(3): datagrams of `NAME=value` lines. A missing listener is not an error.
"""

import asyncio
import contextlib
import math
import os
import socket
from collections.abc import Callable, Mapping

from relayd.clock import Clock

_SEND_SECONDS = 0.1
"""How long a full queue may block the event loop before a message is dropped."""

_STATUS_SECONDS = 10.0
"""How often the status is sent to a manager without a watchdog interval."""


def message(**fields: str | int) -> bytes:
    """Return a datagram with these fields; a value never becomes a second line."""
    return "\n".join(f"{name}={str(value).replace(chr(10), ' ')}" for name, value in fields.items()).encode()


def counts(ready: int, replicas: int, *, running: int, waiting: int) -> str:
    """Return what `systemctl status` shows of the daemon."""
    return f"{ready} of {replicas} replicas ready, {running} requests running, {waiting} waiting"


def microseconds(seconds: float) -> int:
    """Return the unit of the protocol, rounded up."""
    return math.ceil(seconds * 1_000_000)


def watchdog_seconds(environ: Mapping[str, str], pid: int) -> float | None:
    """Return the longest silence the manager allows process `pid`; None where it does not watch it.

    See sd_watchdog_enabled(3).
    """
    interval, watched = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", str(pid))
    if watched != str(pid) or not (interval.isascii() and interval.isdigit()) or int(interval) == 0:
        return None
    return int(interval) / 1_000_000


class Notifier:
    """Sends the daemon's state to the service manager; does nothing where there is none.

    Args:
        environ: Variables of this process; they are only read.
        clock: Time.
        pid: This process.
    """

    def __init__(self, environ: Mapping[str, str], clock: Clock, pid: int | None = None) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._watchdog_seconds = watchdog_seconds(environ, os.getpid() if pid is None else pid)
        self._clock = clock
        self._status = ""

    def ready(self, status: str) -> None:
        """Report that clients can connect, at the start and after a reload."""
        self._status = status
        self.send(READY=1, STATUS=status)

    def reloading(self) -> None:
        """Report that a reload begins; `ready` ends it."""
        self._status = "following the configuration"
        self.send(RELOADING=1, MONOTONIC_USEC=microseconds(self._clock.monotonic()), STATUS=self._status)

    def stopping(self, budget_seconds: float, *, open_requests: int) -> None:
        """Report that the daemon is stopping, and how long that may take.

        The unit has a limit of its own, from the configuration of the day it was installed.
        """
        self._status = f"stopping, {open_requests} requests to finish"
        self.send(STOPPING=1, EXTEND_TIMEOUT_USEC=microseconds(budget_seconds), STATUS=self._status)

    def hand_over(self, pid: int) -> None:
        """Report the pid of the successor, and send nothing from now on."""
        self.send(MAINPID=pid)
        self._address = None

    def status(self, text: str) -> None:
        """Send a status line, if it has changed."""
        if text != self._status:
            self._status = text
            self.send(STATUS=text)

    async def keep_alive(self, status: Callable[[], str]) -> None:
        """Send the watchdog's keep-alive at half its interval, until cancelled.

        Args:
            status: Returns the status line.
        """
        if self._address is None:
            return
        watched = self._watchdog_seconds
        while True:
            if watched:
                self.send(WATCHDOG=1)
            self.status(status())
            await asyncio.sleep(watched / 2 if watched else _STATUS_SECONDS)

    def send(self, **fields: str | int) -> None:
        """Send fields of sd_notify(3)."""
        if self._address is None:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.settimeout(_SEND_SECONDS)
            channel.sendto(message(**fields), self._address)


def _address(text: str) -> str | None:
    """Return the address of a socket, `@` standing for the abstract namespace; None for anything else."""
    if text.startswith("@"):
        return f"\0{text[1:]}"
    return text if text.startswith("/") else None
