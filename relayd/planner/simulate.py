"""Another machine, described in a line: `2x3090, ram=64`, `m4 max 64`, `strix halo 128`, `ram=24, cpu=8`.

What the line leaves open is assumed, and the assumptions are named. A name that no table has is refused, as
is memory that no such device has: a mistyped card would else give advice for another one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from relayd.errors import UsageError
from relayd.hardware.machine import (
    MACOS_RESERVE,
    Bandwidth,
    Cpu,
    Device,
    DeviceKind,
    Machine,
    Memory,
)
from relayd.planner.cards import MOST_TIMES, sold_with
from relayd.units import GIB, MIB, Bytes

EXAMPLE = "gpu=4090:24,ram=64"
REMEDY = (
    f"Write it like --simulate {EXAMPLE}, 2x3090, 'm4 max 64', 'strix halo 128' or 'ram=16,cpu=8'; "
    "a device that no table has like gpu=NAME:24@900 (GiB, GB/s)."
)

DEFAULT_RAM_GIB, DEFAULT_CORES, DEFAULT_GB_S = 16.0, 8, 60.0
"""A desktop of today: two channels of DDR5 read 60 GB/s, less than their peak of 83."""

SYSTEM_HELD = Bytes(1536 * MIB)
"""RAM that an idle system with its services has taken; a simulated machine runs nothing else."""

DRIVER_HELD = Bytes(384 * MIB)
"""Memory of a GPU that its driver keeps when nothing runs (NVML calls it reserved)."""

METAL_SHARES = ((128, 0.84), (64, 0.75), (0, 0.66))
"""(GiB of a Mac from, share of them that Metal may wire by default)."""

HALO_SHARE = 0.75
"""Of the RAM of a Strix Halo, what its GPU may have: the most that the firmware's menus offer (96 of 128)."""

HALO_FLAGS = "pni ssse3 avx avx2 fma f16c bmi2 avx512f avx512bw avx512vl"

MOST, MOST_GPUS = 1 << 14, 16
"""GiB or cores, and devices, above which a number is a typing error; llama.cpp drives 16 devices."""

NAMES = (
    (r"(?:geforce )?(?:rtx ?)?([2345]0[5-9]0)", "NVIDIA GeForce RTX {}", DeviceKind.CUDA),
    (r"(?:geforce )?(?:gtx ?)?(1[06][5-9]0)", "NVIDIA GeForce GTX {}", DeviceKind.CUDA),
    (r"h100", "NVIDIA H100 SXM{}", DeviceKind.CUDA),
    (r"(?:radeon )?(?:rx ?)?([6789]\d[0-9]0)", "AMD Radeon RX {}", DeviceKind.AMD),
    (r"(?:radeon )?(?:ai )?(?:pro )?(r9700)", "AMD Radeon AI PRO {}", DeviceKind.AMD),
    (r"(?:radeon )?(?:pro )?(w7[89]00)", "AMD Radeon PRO {}", DeviceKind.AMD),
    (r"(?:instinct )?(mi\d{2,3}x?)", "AMD Instinct {}", DeviceKind.AMD),
    (r"(?:arc ?)?(?:pro )?(b[56]0)", "Intel Arc Pro {}", DeviceKind.INTEL),
    (r"(?:arc ?)?([ab][357]\d0)", "Intel Arc {}", DeviceKind.INTEL),
)
"""What people call a GPU -> its maker's name and who drives it; anything else is taken for NVIDIA's."""

_COUNT = r"(?:(?P<count>\d{1,3}) ?[x*] ?)?"
_GPU = re.compile(rf"{_COUNT}(?P<name>[^:@]+?)(?::(?P<gib>[^@]*))?(?:@(?P<speed>.*))?", re.IGNORECASE)
_CARD = re.compile(rf"{_COUNT}(?P<name>.+?)(?: (?P<gib>[\d.]+) ?(?:gb|gib|g))?", re.IGNORECASE)
_SUFFIX = re.compile(r" *(ti super|ti|super|xtx|xt|gre|laptop|d)\Z")
_APPLE = re.compile(r"(?:apple|mac(?:book(?: pro| air)?)?)?[ -]?(m\d)[ -]?(pro|max|ultra)?", re.IGNORECASE)
_HALO = re.compile(r"(?:amd )?(?:strix ?halo|ryzen ai max(?: pro)?(?: 3\d\d)?)", re.IGNORECASE)
_SPARK = re.compile(r"(?:nvidia )?(?:dgx ?spark|gb10)", re.IGNORECASE)
_SIZE = re.compile(r"(?P<name>.*?)[ :]*(?P<gib>[\d.]+) ?(?:gb|gib|g)?", re.IGNORECASE)
_RAM = re.compile(
    r"(?:ram ?)?(?P<gib>[\d.]+) ?(?:gb|gib|g)(?: of)?(?: ram| memory| laptop| desktop| server)?",
    re.IGNORECASE,
)
_CORES = re.compile(r"(?P<count>\d+)[ -]?cores?(?: cpu)?", re.IGNORECASE)
_NO_GPU = re.compile(r"(?:no gpu|cpu(?: only)?|laptop|desktop|server)", re.IGNORECASE)

Gpu = tuple[str, DeviceKind, float, float]
"""Name, who drives it, GiB, and GB/s (0 where its name is enough)."""


@dataclass(frozen=True, slots=True)
class Simulated:
    """A machine that was described.

    Attributes:
        machine: The machine, idle.
        assumed: What the description left open: of `ram`, `cores` and `bandwidth`.
    """

    machine: Machine
    assumed: frozenset[str]


@dataclass
class _Parts:
    """A description, piece by piece."""

    gpus: list[Gpu] = field(default_factory=list)
    chip: str = ""
    ram: float = DEFAULT_RAM_GIB
    cores: int = 0
    gb_s: float = 0.0
    assumed: set[str] = field(default_factory=lambda: {"ram", "cores", "bandwidth"})


def simulate(text: str) -> Machine:
    """Return the machine that a description means, idle.

    Bandwidths of GPUs are filled in by their names elsewhere.

    Raises:
        UsageError: A part cannot be understood, or no such device is known.
    """
    return simulated(text).machine


def simulated(text: str) -> Simulated:
    """Return the machine that a description means, with what is assumed of it.

    Raises:
        UsageError: A part cannot be understood, or no such device is known.
    """
    parts = _Parts()
    plain = re.sub(r"\bmax\+", "max", text, flags=re.IGNORECASE)
    for piece in filter(None, (one.strip() for one in re.split(r"[,;+]| and | with ", plain))):
        key, equals, value = piece.partition("=")
        if equals:
            _take(parts, key.strip().lower(), value.strip(), piece)
        else:
            _understand(parts, piece)
    return Simulated(_built(parts), frozenset(parts.assumed))


def _take(parts: _Parts, key: str, value: str, piece: str) -> None:
    """Take a piece of the form `key=value`."""
    match key:
        case "gpu" | "gpus":
            if not _whole(parts, value, piece):
                parts.gpus += _gpus(value, piece)
        case "apple" | "mac":
            if not _whole(parts, value if _APPLE.match(value) else f"apple {value}", piece):
                raise _wrong(piece, "expected a chip and its memory in GiB, like apple=m3max:64")
        case "ram" | "memory":
            parts.ram = _number(re.sub(r" ?gi?b\Z", "", value, flags=re.IGNORECASE), piece)
            parts.assumed.discard("ram")
        case "cores" | "cpu" | "cpus":
            parts.cores = max(1, int(_number(value, piece)))
            parts.assumed.discard("cores")
        case "bandwidth":
            parts.gb_s = _number(value, piece)
            parts.assumed.discard("bandwidth")
        case _:
            raise _wrong(piece, "expected gpu=, apple=, ram=, cores= or bandwidth=")


def _understand(parts: _Parts, piece: str) -> None:
    """Take a piece as people write it: `2x3090`, `m4 max 64`, `64gb ram`, `8 cores`."""
    if found := _RAM.fullmatch(piece):
        _take(parts, "ram", found["gib"], piece)
    elif found := _CORES.fullmatch(piece):
        _take(parts, "cores", found["count"], piece)
    elif _NO_GPU.fullmatch(piece) or _whole(parts, piece, piece):
        return
    elif ":" in piece or "@" in piece:
        parts.gpus += _gpus(piece, piece)
    elif found := _CARD.fullmatch(piece):
        parts.gpus += _known(found, piece, 2)


def _whole(parts: _Parts, said: str, piece: str) -> bool:
    """Take the name of a whole machine with its memory; return whether it is one."""
    found = _SIZE.fullmatch(said.replace(":", " ").strip())
    name = (found["name"] if found else said).strip()
    if said.isdecimal() or not (chip := _chip(name) or _chip(said)):
        return False
    if not found or not _chip(name):
        if not _SPARK.fullmatch(said):
            raise _wrong(piece, f"how much memory has it? Like {said} 64")
        found = _SIZE.fullmatch("gb10 119")
    parts.chip, parts.ram = chip, _number(found["gib"] if found else "", piece)
    parts.assumed -= {"ram", "bandwidth"}
    return True


def _chip(name: str) -> str:
    """Return the processor of a machine whose GPU is in it; "" where no such machine is known."""
    if found := _APPLE.fullmatch(name):
        return " ".join(filter(None, ("Apple", found[1].upper(), (found[2] or "").title())))
    if _HALO.fullmatch(name):
        return "AMD Ryzen AI Max+ 395"
    return "NVIDIA GB10" if _SPARK.fullmatch(name) else ""


def _gpus(value: str, piece: str) -> Iterator[Gpu]:
    """Yield the devices of `NAME`, `2xNAME:GiB` or `NAME:GiB@GB/s`."""
    found = _GPU.fullmatch(value)
    if not found:
        raise _wrong(piece, "expected a name, like gpu=4090 or gpu=2x3090:24")
    if found["speed"] is not None:
        gib, speed = _number(found["gib"] or "", piece), _number(found["speed"], piece)
        _, kind = full_name(found["name"])
        yield from [(found["name"].strip(), kind, gib, speed)] * _count(found["count"], piece)
        return
    yield from _known(found, piece, MOST_TIMES)


def _known(found: re.Match[str], piece: str, most_times: float) -> Iterator[Gpu]:
    """Yield devices that a table has; memory beyond what they can have is refused."""
    name, kind = full_name(found["name"])
    sold = sold_with(name)
    if sold is None:
        raise _wrong(piece, f"no device {found['name']!r} is known")
    gib = sold if found["gib"] is None else _number(found["gib"], piece)
    if gib > most_times * sold:
        raise _wrong(piece, f"{name} is sold with {sold:g} GiB, not {gib:g}; RAM is ram={gib:g}")
    yield from [(name, kind, gib, 0.0)] * _count(found["count"], piece)


def _count(said: str | None, piece: str) -> int:
    count = int(said or 1)
    if not 0 < count <= MOST_GPUS:
        raise _wrong(piece, f"1 to {MOST_GPUS} devices are possible, not {count}")
    return count


def full_name(said: str) -> tuple[str, DeviceKind]:
    """Return what the maker calls a GPU, as far as its name shows: `4070ti` is NVIDIA GeForce RTX 4070 Ti."""
    plain = re.sub(r"[-_ ]+", " ", said.strip().lower())
    plain = re.sub(r"\A(?:nvidia|amd|intel) ", "", plain)
    suffix = _SUFFIX.search(plain)
    stem = plain[: suffix.start()] if suffix else plain
    for pattern, full, kind in NAMES:
        if found := re.fullmatch(pattern, stem):
            stem = full.format(*(found.groups() or ("",)))
            return f"{stem} {suffix[1].upper()}" if suffix else stem, kind
    return f"NVIDIA {re.sub(r'(?<=rtx)(?=[0-9])', ' ', plain)}", DeviceKind.CUDA


def _number(text: str, piece: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise _wrong(piece, f"{text or 'nothing'} is not a number") from None
    if not 0 < value <= MOST:
        raise _wrong(piece, f"{text} is out of reach")
    return value


def _wrong(piece: str, why: str) -> UsageError:
    return UsageError(f"--simulate cannot use {piece!r}: {why}", remedy=REMEDY)


def _built(parts: _Parts) -> Machine:
    if parts.chip.startswith("Apple"):
        return _mac(parts)
    if parts.chip:
        return _shared(parts)
    indexes = dict.fromkeys(DeviceKind, 0)
    gpus = []
    for name, kind, gib, speed in parts.gpus:
        total = Bytes(int(gib * GIB))
        free = Bytes(max(0, total - DRIVER_HELD))
        bandwidth = Bandwidth(speed, "catalogue", "--simulate") if speed else None
        gpus.append(Device(kind, indexes[kind], "", name, total, free, bandwidth=bandwidth))
        indexes[kind] += 1
    return Machine(
        os="linux",
        arch="x86_64",
        cpu=_cpu("simulated", parts.cores or DEFAULT_CORES, "pni ssse3 avx avx2 fma f16c bmi2"),
        memory=_memory(parts.ram, SYSTEM_HELD),
        gpus=tuple(gpus),
        ram_bandwidth=Bandwidth(parts.gb_s or DEFAULT_GB_S, "measured", "--simulate"),
    )


def _mac(parts: _Parts) -> Machine:
    share = next(share for start, share in METAL_SHARES if parts.ram >= start)
    memory = _memory(parts.ram, MACOS_RESERVE)
    wired = Bytes(min(int(memory.total * share), memory.available))
    return Machine(
        os="macos",
        arch="arm64",
        cpu=_cpu(parts.chip, parts.cores or DEFAULT_CORES, "asimd asimddp asimdhp i8mm"),
        memory=memory,
        gpus=(Device(DeviceKind.METAL, 0, "", parts.chip, wired, wired, unified=True),),
        ram_bandwidth=Bandwidth(parts.gb_s, "measured", "--simulate") if parts.gb_s else None,
    )


def _shared(parts: _Parts) -> Machine:
    """Return a Strix Halo or a DGX Spark: a GPU that computes in RAM."""
    halo = parts.chip.startswith("AMD")
    memory = _memory(parts.ram, SYSTEM_HELD)
    most = Bytes(min(int(memory.total * (HALO_SHARE if halo else 1.0)), memory.available))
    kind, name = (DeviceKind.AMD, "AMD Radeon 8060S") if halo else (DeviceKind.CUDA, "NVIDIA GB10")
    gpu = Device(kind, 0, "", name, most, most, unified=True)
    gpu = replace(gpu, architecture="gfx1151") if halo else replace(gpu, compute_capability=(12, 1))
    flags = HALO_FLAGS if halo else "asimd asimddp i8mm sve2"
    return Machine(
        os="linux",
        arch="x86_64" if halo else "arm64",
        cpu=_cpu(parts.chip, parts.cores or (16 if halo else 20), flags),
        memory=memory,
        gpus=(gpu,),
        ram_bandwidth=Bandwidth(parts.gb_s, "measured", "--simulate") if parts.gb_s else None,
    )


def _cpu(name: str, cores: int, flags: str) -> Cpu:
    return Cpu(name, cores, cores, cores, flags=frozenset(flags.split()))


def _memory(gib: float, held: Bytes) -> Memory:
    total = Bytes(int(gib * GIB))
    return Memory(total, Bytes(max(0, total - held)))
