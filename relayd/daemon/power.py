"""How is a node woken, and when is this machine put to sleep ([power])?"""

import asyncio
import socket
from collections.abc import Callable, Sequence

from relayd.clock import Clock
from relayd.config.schema import PowerSettings
from relayd.errors import DaemonError, UsageError
from relayd.journal import Journal

COMMAND_SECONDS = 60.0
"""How long a command that wakes or suspends may take."""

LOOK_SECONDS = 5.0
"""How often is it looked whether requests run, and whether a node that was woken is there."""

_PORT = 9  # discard: what takes a wake-up is the network card
_PACKETS = 3


def magic_packet(address: str) -> bytes:
    """Return what wakes the network card with a hardware address."""
    return b"\xff" * 6 + bytes.fromhex(address.replace(":", "").replace("-", "")) * 16


async def wake(
    node: str, settings: PowerSettings, is_there: Callable[[], bool], clock: Clock, look_seconds: float = 0.2
) -> None:
    """Wake a node, and return when it is connected.

    Raises:
        UsageError: It is not configured how.
        DaemonError: The command failed, or the node did not connect in time.
    """
    if is_there():
        return
    addresses = dict(one.split("=", 1) for one in settings.wake)
    if settings.wake_command:
        await run_command((*settings.wake_command, node))
    elif node in addresses:
        _broadcast(magic_packet(addresses[node]))
    else:
        raise UsageError(
            f"it is not configured how {node} is woken",
            remedy=f'Add it to [power]: wake = ["{node}=aa:bb:cc:dd:ee:ff"], or set wake_command.',
        )
    Journal("daemon").info("node.woken", node=node)
    deadline = clock.monotonic() + settings.wake_seconds
    while not is_there():
        if clock.monotonic() >= deadline:
            raise DaemonError(f"{node} did not connect within {settings.wake_seconds:g} s of being woken")
        await asyncio.sleep(look_seconds)


async def run_command(command: Sequence[str]) -> None:
    """Run a command to its end.

    Raises:
        DaemonError: It cannot be run, fails, or takes too long.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(COMMAND_SECONDS):
            status = await process.wait()
    except OSError as error:
        raise DaemonError(f"{command[0]} cannot be run: {error.strerror}") from error
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise DaemonError(f"{command[0]} took more than {COMMAND_SECONDS:g} s") from error
    if status:
        raise DaemonError(f"{command[0]} failed with status {status}")


def _broadcast(packet: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        try:
            for _ in range(_PACKETS):
                sender.sendto(packet, ("255.255.255.255", _PORT))
        except OSError as error:
            raise DaemonError(f"the network takes no wake-up: {error.strerror}") from error


class IdleSleep:
    """Puts this machine to sleep when no request has come for long.

    Args:
        settings: Returns `[power]`.
        is_busy: Whether a request runs or waits.
        clock: Time.
        look_seconds: How often it is looked.
    """

    def __init__(
        self,
        settings: Callable[[], PowerSettings],
        is_busy: Callable[[], bool],
        clock: Clock,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._settings, self._is_busy, self._clock = settings, is_busy, clock
        self._look_seconds = look_seconds
        self._since = clock.monotonic()

    def __repr__(self) -> str:
        return f"<IdleSleep idle={self._clock.monotonic() - self._since:.0f} s>"

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(self._look_seconds)
            await self.look()

    async def look(self) -> None:
        """Put the machine to sleep, if it is time."""
        settings, now = self._settings(), self._clock.monotonic()
        if self._is_busy() or not settings.suspend_minutes:
            self._since = now
        elif now - self._since >= 60 * settings.suspend_minutes:
            Journal("daemon").info("daemon.suspends", idle_minutes=settings.suspend_minutes)
            try:
                await run_command(settings.suspend_command)
            except DaemonError as error:
                Journal("daemon").warning("daemon.not_suspended", reason=error.message)
            self._since = self._clock.monotonic()  # it is awake again, or never slept
