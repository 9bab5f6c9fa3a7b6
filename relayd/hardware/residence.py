"""The devices that a running llama-server works on.

The driver knows best: a process that holds memory of a GPU works there. Where no driver reports it, the
command line decides,
and where it leaves the choice to the engine, that is every GPU the engine lists.
"""

from collections.abc import Sequence
from itertools import pairwise

from relayd.hardware.machine import Machine

CPU = "cpu"

_LAYERS = ("--gpu-layers", "--n-gpu-layers", "-ngl")


def residence(
    machine: Machine, pid: int, command: Sequence[str], layers: int | None = None
) -> tuple[str, ...]:
    """Return the keys of the devices that a process works on, `("cuda0", "cpu")`.

    Args:
        machine: As its engine sees it.
        pid: The process.
        command: How it was started.
        layers: Layers of its model; None where that is not known.
    """
    gpus = [gpu.key for gpu in machine.gpus if pid in {holder.pid for holder in gpu.holders}]
    gpus = gpus or _told(machine, command)
    return (*gpus, CPU) if not gpus or _shared_with_cpu(command, layers) else tuple(gpus)


def _told(machine: Machine, command: Sequence[str]) -> list[str]:
    keys = {gpu.engine_name: gpu.key for gpu in machine.gpus if gpu.engine_name}
    asked = _value(command, "--device", "-dev")
    if asked == "none" or _value(command, *_LAYERS) == "0":
        return []
    return list(keys.values()) if asked is None else [keys.get(name, name) for name in asked.split(",")]


def _shared_with_cpu(command: Sequence[str], layers: int | None) -> bool:
    experts = {"--cpu-moe", "-cmoe", "--n-cpu-moe", "-ncmoe"} & set(command)
    placed = _value(command, *_LAYERS) or ""
    return bool(experts) or (layers is not None and placed.isdecimal() and int(placed) < layers)


def _value(command: Sequence[str], *flags: str) -> str | None:
    """Return what the last of some flags was given: the engine goes by that one."""
    given = [value for flag, value in pairwise(command) if flag in flags]
    return given[-1] if given else None
