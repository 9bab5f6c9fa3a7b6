"""The machine that `--simulate gpu=4090:24,ram=64` describes.

gpu=NAME:GIB      a GPU with memory of its own; `gpu=2x4090:24`, or given again, for several
apple=CHIP:GIB    a Mac: the chip and its memory (`apple=m3max:64`)
ram=GIB           RAM; 16 unless given
cores=N           cores of the CPU
bandwidth=GB/s    of the RAM
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

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
from relayd.units import GIB, MIB, Bytes

EXAMPLE = "gpu=4090:24,ram=64"

DEFAULT_RAM_GIB, DEFAULT_CORES, DEFAULT_GB_S = 16.0, 8, 60.0
"""A desktop of today: two channels of DDR5 read 60 GB/s, less than their peak of 83."""

SYSTEM_HELD = Bytes(1536 * MIB)
"""RAM that an idle system with its services has taken; a simulated machine runs nothing else."""

DRIVER_HELD = Bytes(384 * MIB)
"""Memory of a GPU that its driver keeps when nothing runs (NVML calls it reserved)."""

METAL_SHARES = ((128, 0.84), (64, 0.75), (0, 0.66))
"""(GiB of a Mac from, share of them that Metal may wire by default)."""

MOST, MOST_GPUS = 1 << 14, 16
"""GiB or cores, and devices, above which a number is a typing error; llama.cpp drives 16 devices."""

NAMES = (
    (r"(?:rtx ?)?([2345]0[5-9]0)", "NVIDIA GeForce RTX {}", DeviceKind.CUDA),
    (r"(?:gtx ?)?(1[06]\d0)", "NVIDIA GeForce GTX {}", DeviceKind.CUDA),
    (r"h100", "NVIDIA H100 SXM{}", DeviceKind.CUDA),
    (r"(?:rx ?)?([6789]\d[0-9]0)", "AMD Radeon RX {}", DeviceKind.AMD),
    (r"(mi\d{2,3}x?)", "AMD Instinct {}", DeviceKind.AMD),
    (r"(?:arc ?)?([ab][357]\d0)", "Intel Arc {}", DeviceKind.INTEL),
)
"""What people call a GPU -> its maker's name and who drives it; anything else is taken for NVIDIA's."""

_GPU = re.compile(r"(?:(?P<count>\d{1,2})x)?(?P<name>[^:]+):(?P<gib>[\d.]+)", re.IGNORECASE)
_SUFFIX = re.compile(r" *(ti super|ti|super|xtx|xt|gre|laptop|d)\Z")


@dataclass
class _Parts:
    """A description, piece by piece."""

    gpus: list[tuple[str, DeviceKind, float]] = field(default_factory=list)
    apple: str = ""
    ram: float = DEFAULT_RAM_GIB
    cores: int = DEFAULT_CORES
    gb_s: float = DEFAULT_GB_S


def simulate(text: str) -> Machine:
    """Return the machine that a description means, idle.

    Bandwidths of GPUs are filled in by their names elsewhere.

    Raises:
        UsageError: A part cannot be understood.
    """
    parts = _Parts()
    for piece in filter(None, (piece.strip() for piece in text.split(","))):
        key, _, value = piece.partition("=")
        _take(parts, key.strip().lower(), value.strip(), piece)
    return _mac(parts) if parts.apple else _machine(parts)


def _take(parts: _Parts, key: str, value: str, piece: str) -> None:
    match key:
        case "gpu":
            parts.gpus += _gpus(value, piece)
        case "apple":
            chip, _, gib = value.partition(":")
            parts.apple, parts.ram = _chip(chip, piece), _number(gib, piece)
        case "ram":
            parts.ram = _number(value, piece)
        case "cores":
            parts.cores = int(_number(value, piece))
        case "bandwidth":
            parts.gb_s = _number(value, piece)
        case _:
            raise _wrong(piece, "expected gpu=, apple=, ram=, cores= or bandwidth=")


def _gpus(value: str, piece: str) -> Iterator[tuple[str, DeviceKind, float]]:
    found = _GPU.fullmatch(value)
    if not found:
        raise _wrong(piece, "expected a name and its memory in GiB, like gpu=4090:24 or gpu=2x3090:24")
    count = int(found["count"] or 1)
    if not 0 < count <= MOST_GPUS:
        raise _wrong(piece, f"{count} devices make no sense")
    name, kind = full_name(found["name"])
    yield from [(name, kind, _number(found["gib"], piece))] * count


def full_name(said: str) -> tuple[str, DeviceKind]:
    """Return what the maker calls a GPU, as far as its name shows: `4070ti` is NVIDIA GeForce RTX 4070 Ti."""
    plain = re.sub(r"[-_ ]+", " ", said.strip().lower())
    suffix = _SUFFIX.search(plain)
    stem = plain[: suffix.start()] if suffix else plain
    for pattern, full, kind in NAMES:
        if found := re.fullmatch(pattern, stem):
            stem = full.format(*(found.groups() or ("",)))
            return f"{stem} {suffix[1].upper()}" if suffix else stem, kind
    return f"NVIDIA {re.sub(r'(?<=rtx)(?=[0-9])', ' ', plain)}", DeviceKind.CUDA


def _chip(said: str, piece: str) -> str:
    found = re.fullmatch(r"(?:apple)?[ -]?(m\d)[ -]?(pro|max|ultra)?", said.strip().lower())
    if not found:
        raise _wrong(piece, "expected a chip and its memory in GiB, like apple=m3max:64")
    return " ".join(filter(None, ("Apple", found[1].upper(), (found[2] or "").title())))


def _number(text: str, piece: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise _wrong(piece, f"{text or 'nothing'} is not a number") from None
    if not 0 < value <= MOST:
        raise _wrong(piece, f"{text} is out of reach")
    return value


def _wrong(piece: str, why: str) -> UsageError:
    return UsageError(
        f"--simulate cannot use {piece!r}: {why}", remedy=f"Write it like --simulate {EXAMPLE}."
    )


def _machine(parts: _Parts) -> Machine:
    indexes = dict.fromkeys(DeviceKind, 0)
    gpus = []
    for name, kind, gib in parts.gpus:
        total = Bytes(int(gib * GIB))
        gpus.append(Device(kind, indexes[kind], "", name, total, Bytes(max(0, total - DRIVER_HELD))))
        indexes[kind] += 1
    return Machine(
        os="linux",
        arch="x86_64",
        cpu=_cpu("simulated", parts.cores, "pni ssse3 avx avx2 fma f16c bmi2"),
        memory=_memory(parts.ram, SYSTEM_HELD),
        gpus=tuple(gpus),
        ram_bandwidth=Bandwidth(parts.gb_s, "measured", "--simulate"),
    )


def _mac(parts: _Parts) -> Machine:
    share = next(share for start, share in METAL_SHARES if parts.ram >= start)
    memory = _memory(parts.ram, MACOS_RESERVE)
    wired = Bytes(min(int(memory.total * share), memory.available))
    return Machine(
        os="macos",
        arch="arm64",
        cpu=_cpu(parts.apple, parts.cores, "asimd asimddp asimdhp i8mm"),
        memory=memory,
        gpus=(Device(DeviceKind.METAL, 0, "", parts.apple, wired, wired, unified=True),),
    )


def _cpu(name: str, cores: int, flags: str) -> Cpu:
    return Cpu(name, cores, cores, cores, flags=frozenset(flags.split()))


def _memory(gib: float, held: Bytes) -> Memory:
    total = Bytes(int(gib * GIB))
    return Memory(total, Bytes(max(0, total - held)))
