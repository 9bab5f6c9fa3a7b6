"""Values that describe a machine: CPU, memory, devices."""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from relayd.units import GIB, Bytes

X86_SETS = """
pni ssse3 sse4_1 sse4_2 popcnt movbe aes pclmulqdq abm bmi1 bmi2 adx f16c fma fma4 xop sha_ni gfni vaes
vpclmulqdq avx avx2 avx_vnni avx_vnni_int8 avx_vnni_int16 avx_ifma avx_ne_convert avx512f avx512cd avx512bw
avx512dq avx512vl avx512ifma avx512vbmi avx512_vbmi2 avx512_vnni avx512_bitalg avx512_vpopcntdq avx512_bf16
avx512_fp16 amx_tile amx_int8 amx_bf16 amx_fp16
"""
ARM_SETS = "asimd asimdhp asimddp asimdrdm asimdfhm atomics i8mm bf16 sve sve2 svei8mm svebf16 sme sme2"
INSTRUCTION_SETS = frozenset(f"{X86_SETS} {ARM_SETS}".split())
"""Flags, by the Linux kernel's names, whose instructions a compiler emits for `-march=native`.

The other flags name bugs, power states and virtualisation: they come and go with the kernel.
"""

MACOS_RESERVE = Bytes(4 * GIB)
"""RAM that macOS keeps whatever a GPU may wire: Macs of 8 GB stall when it takes more."""


class DeviceKind(StrEnum):
    """The family of a device: whose driver runs it."""

    CUDA = "cuda"
    METAL = "metal"
    AMD = "amd"
    INTEL = "intel"
    VULKAN = "vulkan"
    """Known only to the engine, which drives it through Vulkan."""
    CPU = "cpu"


@dataclass(frozen=True, slots=True)
class Cpu:
    """The processors of the machine, and how much of them this process may use.

    Attributes:
        model: The name its maker gave it; may be empty.
        physical_cores: Cores of the machine; hyper-threads are not counted.
        logical_cores: What the operating system schedules on, hyper-threads included.
        allowed_cores: Physical cores that this process's affinity and cpuset leave it.
        quota_cores: CPU time its control group may use, in cores; None is unlimited.
        flags: Everything the CPU can do, by the Linux kernel's names.
    """

    model: str
    physical_cores: int
    logical_cores: int
    allowed_cores: int
    quota_cores: float | None = None
    flags: frozenset[str] = frozenset()

    @property
    def usable_cores(self) -> int:
        """Threads worth starting: allowed physical cores, within the quota, at least one.

        A thread over the quota does not help: every thread of a graph waits for the throttled one.
        """
        quota = self.allowed_cores if self.quota_cores is None else int(self.quota_cores)
        return max(1, min(self.allowed_cores, quota))

    @property
    def instruction_sets(self) -> tuple[str, ...]:
        """The flags a compiler uses, sorted."""
        return tuple(sorted(self.flags & INSTRUCTION_SETS))


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """The control group that leaves this process the least memory.

    Attributes:
        limit: What the group may hold.
        usage: What it holds now, page cache included.
        reclaimable: The part of `usage` that is page cache, which the kernel gives back.
    """

    limit: Bytes
    usage: Bytes
    reclaimable: Bytes

    @property
    def headroom(self) -> Bytes:
        """What can still be allocated in the group; page cache counts as free."""
        return Bytes(max(0, self.limit - max(0, self.usage - self.reclaimable)))


@dataclass(frozen=True, slots=True)
class NumaNode:
    """RAM and the CPUs that are near it.

    Attributes:
        index: The kernel's number.
        memory_total: Its RAM.
        memory_available: Free, or page cache.
        cpus: Logical CPUs; none where only memory was added.
        allowed: Whether the cpuset lets this process allocate on it.
    """

    index: int
    memory_total: Bytes
    memory_available: Bytes
    cpus: frozenset[int]
    allowed: bool = True


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """How fast weights are read.

    Attributes:
        gb_s: 10**9 bytes a second.
        basis: `catalogue`, the peak of a specification; or `measured` here, which is less than any peak.
        source: Where the number comes from.
        disturbed: Whether other programs had the cores while it was measured.
    """

    gb_s: float
    basis: Literal["catalogue", "measured"]
    source: str
    disturbed: bool = False


@dataclass(frozen=True, slots=True)
class MemoryHolder:
    """A process that holds memory of a device.

    Attributes:
        pid: Its process id, as this process sees it.
        name: Its command; empty where it is hidden.
        memory: What it holds; None where the driver does not report it.
    """

    pid: int
    name: str
    memory: Bytes | None


@dataclass(frozen=True, slots=True)
class Memory:
    """The RAM of the machine, and the limit on this process if there is one."""

    total: Bytes
    available: Bytes
    limit: MemoryLimit | None = None

    @property
    def ceiling(self) -> Bytes:
        """What this process could ever hold: RAM, or the limit below it."""
        return self.total if self.limit is None else min(self.total, self.limit.limit)

    @property
    def usable(self) -> Bytes:
        """What this process can allocate now without swapping or being killed."""
        return self.available if self.limit is None else min(self.available, self.limit.headroom)


@dataclass(frozen=True, slots=True)
class Device:
    """Something that holds weights and computes.

    Attributes:
        kind: Whose driver runs it.
        index: Position among its kind, in PCI order: for CUDA the NVML index, which is the order of
            `CUDA_DEVICE_ORDER=PCI_BUS_ID` and not of CUDA's own default.
        uuid: Identity that survives a reboot, as `CUDA_VISIBLE_DEVICES` and `ROCR_VISIBLE_DEVICES` take
            it; empty where there is none.
        name: What its maker calls it.
        memory_total: What can ever be allocated on it.
        memory_free: What can be allocated now; 0 when it could not be read.
        unified: Its memory is RAM, shared with the CPU: never add the two.
        driver: Version of its driver, if it has one.
        compute_capability: CUDA's (major, minor).
        cuda_version: The newest CUDA its driver can run (major, minor).
        architecture: What AMD's compilers call it: `gfx1100`.
        pci: Its address on the bus: `0000:01:00.0`.
        instance: Number of a MIG instance on GPU `index`. A process sees one instance and no other
            device beside it, so a model cannot be split over them (NVIDIA MIG User Guide, "CUDA").
        display: A screen hangs on it: its desktop takes more memory whenever it likes.
        bandwidth: How fast its memory is read, where that is known.
        holders: Who holds its memory, the largest first, as far as the driver reports.
        engine_name: What `--device` of the engine calls it; empty when the engine does not list it,
            None when it was not asked.
    """

    kind: DeviceKind
    index: int
    uuid: str
    name: str
    memory_total: Bytes
    memory_free: Bytes
    unified: bool = False
    driver: str = ""
    compute_capability: tuple[int, int] | None = None
    cuda_version: tuple[int, int] | None = None
    architecture: str = ""
    pci: str = ""
    instance: int | None = None
    display: bool = False
    bandwidth: Bandwidth | None = None
    holders: tuple[MemoryHolder, ...] = ()
    engine_name: str | None = None

    @property
    def key(self) -> str:
        """The key of the device, in output and ledgers: `cuda0`, `cuda0.2` for a MIG instance, `cpu`."""
        if self.kind is DeviceKind.CPU:
            return "cpu"
        return f"{self.kind}{self.index}" + ("" if self.instance is None else f".{self.instance}")


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine as it was at one moment.

    Attributes:
        os: `linux` or `macos`.
        arch: `x86_64`, `arm64`, or as the system reports it.
        cpu: Its processors.
        memory: Its RAM.
        gpus: The devices that the environment lets this process use, in that order.
        notes: What could not be read or will not be used, and what to do about it.
        nodes: Its NUMA nodes; none where the kernel does not report them.
        ram_bandwidth: How fast the CPU reads RAM, where that is known.
    """

    os: str
    arch: str
    cpu: Cpu
    memory: Memory
    gpus: tuple[Device, ...] = ()
    notes: tuple[str, ...] = ()
    nodes: tuple[NumaNode, ...] = ()
    ram_bandwidth: Bandwidth | None = None

    @property
    def devices(self) -> tuple[Device, ...]:
        """The GPUs, then the CPU with the RAM it may use."""
        return (*self.gpus, self._cpu_device())

    @property
    def usable_devices(self) -> tuple[Device, ...]:
        """The devices without the GPUs that the engine was asked for and does not list."""
        return (*(gpu for gpu in self.gpus if gpu.engine_name != ""), self._cpu_device())

    @property
    def cuda_order(self) -> tuple[str, ...]:
        """UUIDs that, as `CUDA_VISIBLE_DEVICES`, make the engine list the CUDA devices in our order.

        Empty when one is without. Of MIG instances only the first is named: a process sees no more.
        """
        cuda = [gpu for gpu in self.gpus if gpu.kind is DeviceKind.CUDA]
        if not all(gpu.uuid for gpu in cuda):
            return ()
        divided = [gpu.uuid for gpu in cuda if gpu.instance is not None]
        return tuple(divided[:1] or (gpu.uuid for gpu in cuda))

    @property
    def usable_ram(self) -> Bytes:
        """What this process can allocate in RAM now, limits of its control group included."""
        return self.memory.usable

    def _cpu_device(self) -> Device:
        memory = self.memory
        return Device(
            DeviceKind.CPU,
            0,
            "",
            self.cpu.model,
            memory.ceiling,
            memory.usable,
            bandwidth=self.ram_bandwidth,
        )

    def cpu_key(self) -> str:
        """Return `linux-x86_64-1f0c2a9b`: equal on machines that can run each other's builds."""
        digest = hashlib.sha256(" ".join(self.cpu.instruction_sets).encode()).hexdigest()[:8]
        return f"{self.os}-{self.arch}-{digest}"
