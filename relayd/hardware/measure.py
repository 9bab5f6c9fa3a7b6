"""The RAM bandwidth of this process, measured once and cached.

A catalogue does not know: channels and clocks are readable by root only, and a virtual machine, a cpuset or
one NUMA node of two leaves less than the modules could give.
"""

import contextlib
import ctypes
import hashlib
import mmap
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from relayd.clock import Clock
from relayd.errors import StateError
from relayd.files import private_folder, write_atomic
from relayd.hardware.bandwidth import catalogued
from relayd.hardware.machine import Bandwidth, Machine
from relayd.units import GIB, MIB, Bytes

TOTAL_BYTES = 128 * MIB
"""Bytes read in all; most last-level caches are smaller."""

LEAST_BYTES = 16 * MIB
"""Bytes read by each thread, however many there are, as long as a quarter of the free RAM suffices."""

FILL_SECONDS = 0.12
"""How long memory may be filled before the reading begins with what there is; new pages cost a fault."""

WINDOW_SECONDS = 0.025
WINDOWS = 4
"""The best window counts: others contain what other processes did meanwhile."""

STEP_BYTES = 4 * MIB

BUSY_LOAD = 0.5
"""Running threads for each core, over a minute, from which a reading is taken again another time."""


class _RememberedBandwidth(msgspec.Struct, frozen=True):
    machine: str
    gb_s: float
    busy: bool = False


def remembered(machine: Machine, cache: Path) -> Machine:
    """Return the machine with the RAM bandwidth that was measured before, if it was.

    Args:
        machine: The machine, whose model, cores and RAM must be the same as then.
        cache: The folder of what was measured.
    """
    found = _recall(cache, _identity(machine))
    return _with(machine, found.gb_s) if found else machine


def is_due(machine: Machine, cache: Path) -> bool:
    """Return whether the RAM bandwidth was never measured, or only while other programs had the cores."""
    found = _recall(cache, _identity(machine))
    return found is None or found.busy


def measured(
    machine: Machine, cache: Path, clock: Clock, *, load: Callable[[], Sequence[float]] = os.getloadavg
) -> Machine:
    """Return the machine with its RAM bandwidth, measured now in 0.15 to 0.3 s and remembered in `cache`.

    What was measured faster before stays: whatever else runs can only slow the reading down.
    """
    found = read_gb_s(machine.cpu.usable_cores, Bytes(machine.usable_ram // 4), clock)
    gb_s = float(f"{found:.3g}")
    identity = _identity(machine)
    if before := _recall(cache, identity):
        gb_s = max(gb_s, before.gb_s)
    busy = load()[0] > BUSY_LOAD * machine.cpu.usable_cores
    reading = _RememberedBandwidth(identity, gb_s, busy)
    # A cache that cannot be written costs a fraction of a second next time, nothing else.
    with contextlib.suppress(StateError):
        private_folder(cache)
        write_atomic(_file(cache, identity), msgspec.json.encode(reading))
    return _with(machine, gb_s)


def read_gb_s(threads: int, budget: Bytes, clock: Clock) -> float:
    """Return how many 10**9 bytes a second `threads` threads together read from `budget` of RAM at most."""
    size = min(max(LEAST_BYTES, TOTAL_BYTES // threads), budget // threads)
    steps = max(1, size // STEP_BYTES)
    readers = [_MemoryReader(steps * STEP_BYTES, clock) for _ in range(threads)]
    starts = threading.Barrier(threads)
    workers = [threading.Thread(target=reader.run, args=(starts,)) for reader in readers]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    windows = zip(*(reader.rates for reader in readers), strict=True)
    return max(sum(rates, 0.0) for rates in windows) / 1e9


class _MemoryReader:
    """One thread with memory of its own, filled by itself so that it is on its own NUMA node."""

    def __init__(self, size: int, clock: Clock) -> None:
        self.rates: list[float] = []
        self._size = size
        self._clock = clock
        # It searches a byte that is not there: the C library reads every byte and writes none, and
        # ctypes gives the interpreter's lock back meanwhile.
        self._search = ctypes.CDLL(None).memchr
        self._search.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
        self._search.restype = ctypes.c_void_p

    def run(self, starts: threading.Barrier) -> None:
        with mmap.mmap(-1, self._size) as memory:
            if hasattr(mmap, "MADV_HUGEPAGE"):
                with contextlib.suppress(OSError):  # kernels without huge pages
                    memory.madvise(mmap.MADV_HUGEPAGE)
            view = ctypes.c_char.from_buffer(memory)
            address = ctypes.addressof(view)
            filled = self._fill(address)
            for _ in range(WINDOWS):
                starts.wait()
                self.rates.append(self._rate(address, filled))
            del view

    def _fill(self, address: int) -> int:
        # Pages that were never written are all one page of zeros, which stays in the cache.
        end = self._clock.monotonic() + FILL_SECONDS
        filled = 0
        while filled < self._size and (filled < LEAST_BYTES or self._clock.monotonic() < end):
            ctypes.memset(address + filled, 1, STEP_BYTES)
            filled += STEP_BYTES
        return filled

    def _rate(self, address: int, size: int) -> float:
        start = now = self._clock.monotonic()
        read = 0
        while now < start + WINDOW_SECONDS:
            for offset in range(0, size, STEP_BYTES):
                self._search(address + offset, 0, STEP_BYTES)
            read += size
            now = self._clock.monotonic()
        return read / (now - start)


def _recall(cache: Path, identity: str) -> _RememberedBandwidth | None:
    """Return what was measured before on such a machine."""
    with contextlib.suppress(OSError, msgspec.DecodeError):
        found = msgspec.json.decode(_file(cache, identity).read_bytes(), type=_RememberedBandwidth)
        if found.machine == identity:
            return found
    return None


def _with(machine: Machine, gb_s: float) -> Machine:
    found = Bandwidth(gb_s, "measured", f"{machine.cpu.usable_cores} threads reading RAM")
    return catalogued(replace(machine, ram_bandwidth=found))


def _identity(machine: Machine) -> str:
    """Return what decides the bandwidth and does not change with a boot."""
    cpu, ram = machine.cpu, round(machine.memory.total / GIB)
    return f"{cpu.model}|{machine.cpu_key()}|{cpu.physical_cores}|{cpu.usable_cores}|{ram}"


def _file(cache: Path, identity: str) -> Path:
    return cache / f"bandwidth-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.json"
