"""A machine that is reached over a link with delay, loss and a rate (network namespaces and TUN devices).

The kernel's netem is not in every kernel. Here each link is two TUN devices, one of them in a namespace of
its own, and a thread that passes IP packets from one to the other: late, not at all, or as fast as a rate
allows. What TCP makes of that is the kernel's own doing.
"""

import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TypeVar

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_NEWNET = 0x40000000
_PACKET = 2048
_QUEUED_SECONDS = 0.5
"""What would wait longer for its turn at a rate is dropped, as by the queue of a modem."""

Result = TypeVar("Result")


@dataclass
class Conditions:
    """How a link is now.

    Attributes:
        delay: Seconds that each packet takes in one direction.
        loss: Share of the packets that are lost, in each direction.
        rate: Bytes a second in each direction; 0 is without limit.
        is_cut: Nothing passes.
    """

    delay: float = 0.0
    loss: float = 0.0
    rate: float = 0.0
    is_cut: bool = False


class LinkedMachine:
    """A namespace that one link leads to.

    Args:
        number: Which one, 1 to 250.

    Attributes:
        now: How the link is.
        passed: Packets that were passed on.
        lost: Packets that were not.
    """

    def __init__(self, number: int) -> None:
        self.namespace = f"relayd-test-{os.getpid()}-{number}"
        self.near, self.address = f"10.213.{number}.1", f"10.213.{number}.2"
        self.now = Conditions()
        self.passed = self.lost = 0
        self._ends = _tun(f"rlt{number}a"), _tun(f"rlt{number}b")
        _ip("netns", "add", self.namespace)
        _ip("link", "set", f"rlt{number}b", "netns", self.namespace)
        _ip("addr", "add", self.near, "peer", self.address, "dev", f"rlt{number}a")
        _ip("link", "set", f"rlt{number}a", "up")
        self._inside("addr", "add", self.address, "peer", self.near, "dev", f"rlt{number}b")
        self._inside("link", "set", f"rlt{number}b", "up")
        self._inside("link", "set", "lo", "up")
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=_Carrier(self, self._ends, self._is_over).run)
        self._thread.start()

    def close(self) -> None:
        """Remove the namespace and the link."""
        self._is_over.set()
        self._thread.join()
        for end in self._ends:
            os.close(end)
        _ip("netns", "del", self.namespace)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Have this thread, and what it starts, be in the namespace."""
        libc = ctypes.CDLL(None, use_errno=True)
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.namespace}", os.O_RDONLY)
        try:
            if libc.setns(there, _NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            yield
        finally:
            libc.setns(own, _NEWNET)
            os.close(own)
            os.close(there)

    def within(self, work: Callable[[], Result]) -> Result:
        """Return what a function returns that runs in the namespace."""
        with self.entered():
            return work()

    def _inside(self, *arguments: str) -> None:
        _ip("-n", self.namespace, *arguments)


@dataclass
class _Carrier:
    """Passes packets between the two ends of a link."""

    machine: LinkedMachine
    ends: tuple[int, int]
    is_over: threading.Event
    waiting: list[tuple[float, int, int, bytes]] = field(default_factory=list)
    free_at: dict[int, float] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=count)
    chance: random.Random = field(default_factory=lambda: random.Random(0))

    def run(self) -> None:
        near, far = self.ends
        while not self.is_over.is_set():
            wait = min(0.1, max(0.0, self.waiting[0][0] - time.monotonic())) if self.waiting else 0.1
            ready, _, _ = select.select(self.ends, (), (), wait)
            for end in ready:
                self._take(far if end == near else near, os.read(end, _PACKET))
            self._send()

    def _take(self, to: int, packet: bytes) -> None:
        """Have a packet arrive at the other end when it is due, unless it is lost."""
        now, link = time.monotonic(), self.machine.now
        begins = max(now, self.free_at.get(to, now)) if link.rate else now
        if link.is_cut or begins - now > _QUEUED_SECONDS or self.chance.random() < link.loss:
            self.machine.lost += 1
            return
        if link.rate:
            begins = self.free_at[to] = begins + len(packet) / link.rate
        heapq.heappush(self.waiting, (begins + link.delay, next(self.numbers), to, packet))

    def _send(self) -> None:
        while self.waiting and self.waiting[0][0] <= time.monotonic():
            _, _, to, packet = heapq.heappop(self.waiting)
            if not self.machine.now.is_cut:
                os.write(to, packet)
                self.machine.passed += 1


def _tun(name: str) -> int:
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return end


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def can_link() -> bool:
    """Return whether this process may make namespaces and links."""
    return os.geteuid() == 0 and Path("/dev/net/tun").exists()
