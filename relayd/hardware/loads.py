"""How busy are the devices of this machine now, as their driver reports (load, temperature, power)?"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from relayd.hardware.nvidia import load_nvml


@dataclass(frozen=True, slots=True)
class DeviceLoad:
    """One device; None is what its driver does not report.

    Attributes:
        device: `cuda0`.
        utilization: How busy it is, 0 to 1.
        celsius: Its temperature.
        watts: Power that it draws.
        used_bytes: Memory that is used, by whatever program.
    """

    device: str
    utilization: float | None = None
    celsius: float | None = None
    watts: float | None = None
    used_bytes: int | None = None


def device_loads(load: Callable[[], Any] = load_nvml) -> tuple[DeviceLoad, ...]:
    """Return the load of each NVIDIA device; none where there is no driver. Blocks.

    Args:
        load: Returns the module `pynvml`.
    """
    try:
        nvml = load()
    except (ImportError, OSError):
        return ()
    try:
        nvml.nvmlInit()
        return tuple(_load(nvml, number) for number in range(nvml.nvmlDeviceGetCount()))
    except nvml.NVMLError:
        return ()
    finally:
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()


def _load(nvml: Any, number: int) -> DeviceLoad:
    handle = nvml.nvmlDeviceGetHandleByIndex(number)

    def read(ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except nvml.NVMLError:
            return None

    rates = read(lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
    memory = read(lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
    milliwatts = read(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
    return DeviceLoad(
        f"cuda{number}",
        rates.gpu / 100 if rates is not None else None,
        read(lambda: float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))),
        milliwatts / 1000 if milliwatts is not None else None,
        int(memory.used) if memory is not None else None,
    )
