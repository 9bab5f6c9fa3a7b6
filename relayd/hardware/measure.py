"""The RAM bandwidth of this process, measured once and cached.

A catalogue does not know: channels and clocks are readable by root only, and a virtual machine, a cpuset or
one NUMA node of two leaves less than the modules could give.
"""

import contextlib
import ctypes
import hashlib
import math
import mmap
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
"""Windows that other processes left alone, of which the best counts."""

MOST_WINDOWS = 16
"""Windows after which the reading ends with what there is: 0.4 s."""

UNDISTURBED = 0.9
"""Of a window, what each thread must have had a core for; else another process had it meanwhile."""

STEP_BYTES = 4 * MIB

RETRY_SECONDS = 600
"""How long a disturbed reading stands at least: one on a busy machine takes half a second of its cores."""

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
    return _with(machine, found) if found else machine


def is_due(machine: Machine, cache: Path, clock: Clock) -> bool:
    """Return whether the RAM bandwidth was never measured, or a while ago and beside other programs."""
    file = _file(cache, _identity(machine))
    found = _recall(cache, _identity(machine))
    return found is None or (found.busy and _age_seconds(file, clock) >= RETRY_SECONDS)


def measured(
    machine: Machine,
    cache: Path,
    clock: Clock,
    *,
    load: Callable[[], Sequence[float]] = os.getloadavg,
    working: Callable[[], float] = time.thread_time,
) -> Machine:
    """Return the machine with its RAM bandwidth, measured now in 0.15 to 0.6 s and remembered in `cache`.

    What was read undisturbed before stays beside a disturbed reading, and the faster one of two alike: other
    programs can only slow an undisturbed reading down.

    Args:
        machine: The machine.
        cache: The folder of what was measured.
        clock: Times the windows.
        load: Returns the running threads of the last minute first.
        working: Returns the seconds for which the calling thread has had a core.
    """
    found = read_ram(machine.cpu.usable_cores, Bytes(machine.usable_ram // 4), clock, working)
    busy = not found.undisturbed or load()[0] > BUSY_LOAD * machine.cpu.usable_cores
    identity = _identity(machine)
    reading = _RememberedBandwidth(identity, float(f"{found.gb_s:.3g}"), busy)
    before = _recall(cache, identity)
    if before and (before.busy, -before.gb_s) < (reading.busy, -reading.gb_s):
        reading = before
    # A cache that cannot be written costs a fraction of a second next time, nothing else.
    with contextlib.suppress(StateError):
        private_folder(cache)
        write_atomic(_file(cache, identity), msgspec.json.encode(reading))
    return _with(machine, reading)


@dataclass(frozen=True, slots=True)
class RamReading:
    """How fast RAM was read.

    Attributes:
        gb_s: 10**9 bytes a second, all threads together.
        undisturbed: Whether every thread had its core all the while. Otherwise `gb_s` is for the time in
            which it had one: too much where they took turns, too little where others read RAM as well.
    """

    gb_s: float
    undisturbed: bool


def read_ram(
    threads: int, budget: Bytes, clock: Clock, working: Callable[[], float] = time.thread_time
) -> RamReading:
    """Return how fast `threads` threads together read from `budget` bytes of RAM at most."""
    size = min(max(LEAST_BYTES, TOTAL_BYTES // threads), budget // threads)
    steps = max(1, size // STEP_BYTES)
    readers = [_MemoryReader(steps * STEP_BYTES, clock, working) for _ in range(threads)]

    def decide() -> None:
        windows = _together(readers)
        enough = sum(one.undisturbed for one in windows) >= WINDOWS or len(windows) >= MOST_WINDOWS
        for reader in readers:
            reader.enough = enough

    starts = threading.Barrier(threads, decide)
    workers = [threading.Thread(target=reader.run, args=(starts,)) for reader in readers]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return max(_together(readers), key=lambda one: (one.undisturbed, one.gb_s))


def _together(readers: Sequence["_MemoryReader"]) -> list[RamReading]:
    """Return what all threads read in each window."""
    return [_reading(window) for window in zip(*(reader.windows for reader in readers), strict=True)]


def _reading(window: Sequence["_Passes"]) -> RamReading:
    undisturbed = all(one.working >= UNDISTURBED * one.seconds for one in window)
    rates = (one.nbytes / (one.seconds if undisturbed else max(one.working, 1e-6)) for one in window)
    return RamReading(sum(rates) / 1e9, undisturbed)


@dataclass(frozen=True, slots=True)
class _Passes:
    """What one thread read in a window, how long that took, and for how long of it it had a core."""

    nbytes: int
    seconds: float
    working: float


class _MemoryReader:
    """One thread with memory of its own, filled by itself so that it is on its own NUMA node."""

    def __init__(self, size: int, clock: Clock, working: Callable[[], float]) -> None:
        self.windows: list[_Passes] = []
        self.enough = False
        self._size = size
        self._clock = clock
        self._working = working
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
            starts.wait()
            while not self.enough:
                self.windows.append(self._window(address, filled))
                starts.wait()
            del view

    def _fill(self, address: int) -> int:
        # Pages that were never written are all one page of zeros, which stays in the cache.
        end = self._clock.monotonic() + FILL_SECONDS
        filled = 0
        while filled < self._size and (filled < LEAST_BYTES or self._clock.monotonic() < end):
            ctypes.memset(address + filled, 1, STEP_BYTES)
            filled += STEP_BYTES
        return filled

    def _window(self, address: int, size: int) -> _Passes:
        start = now = self._clock.monotonic()
        worked = self._working()
        read = 0
        while now < start + WINDOW_SECONDS:
            for offset in range(0, size, STEP_BYTES):
                self._search(address + offset, 0, STEP_BYTES)
            read += size
            now = self._clock.monotonic()
        return _Passes(read, now - start, self._working() - worked)


def _recall(cache: Path, identity: str) -> _RememberedBandwidth | None:
    """Return what was measured before on such a machine."""
    with contextlib.suppress(OSError, msgspec.DecodeError):
        found = msgspec.json.decode(_file(cache, identity).read_bytes(), type=_RememberedBandwidth)
        if found.machine == identity:
            return found
    return None


def _age_seconds(file: Path, clock: Clock) -> float:
    """Return how long ago a file was written; endless where it is away or is from the future."""
    with contextlib.suppress(OSError):
        age = clock.wall() - file.stat().st_mtime
        return age if age >= 0 else math.inf
    return math.inf


def _with(machine: Machine, reading: _RememberedBandwidth) -> Machine:
    source = f"{machine.cpu.usable_cores} threads reading RAM"
    if reading.busy:
        source += " beside other programs: measured again the next time"
    found = Bandwidth(reading.gb_s, "measured", source, disturbed=reading.busy)
    return catalogued(replace(machine, ram_bandwidth=found))


def _identity(machine: Machine) -> str:
    """Return what decides the bandwidth and does not change with a boot."""
    cpu, ram = machine.cpu, round(machine.memory.total / GIB)
    return f"{cpu.model}|{machine.cpu_key()}|{cpu.physical_cores}|{cpu.usable_cores}|{ram}"


def _file(cache: Path, identity: str) -> Path:
    return cache / f"bandwidth-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.json"
