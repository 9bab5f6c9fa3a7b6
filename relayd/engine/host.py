"""What of a machine decides which engine is installed on it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cuda:
    """An NVIDIA driver with at least one GPU.

    Attributes:
        driver: The newest CUDA it can run: major and minor.
        capability: The lowest compute capability among the GPUs.
    """

    driver: tuple[int, int]
    capability: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Host:
    """The machine, as releases and builds name it.

    Attributes:
        system: `linux` or `darwin`.
        machine: `x64`, `arm64`, or as the system names it.
        cpu_key: A name that is equal where the same machine code runs.
        cores: CPU cores this process may use.
        memory: Memory that a build may fill, in bytes.
        cuda: The NVIDIA driver, if there is one.
        vulkan: Whether a GPU and a Vulkan loader are here.
    """

    system: str
    machine: str
    cpu_key: str
    cores: int
    memory: int
    cuda: Cuda | None = None
    vulkan: bool = False
