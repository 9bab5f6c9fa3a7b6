"""How many CPU threads a replica gets whose line gives none."""

from relayd.hardware import DeviceKind, Machine


def shared_threads(replicas: int, machine: Machine) -> int:
    """Return the CPU threads of a replica; 0 leaves them to the engine.

    Without a GPU replicas share the cores: each llama-server would take all of them, and spin while it waits
    for its turn. The engine counts the cores of the machine, and not what a quota or an affinity leaves: with
    threads that are throttled, every token waits for the slowest. Prompts get as many threads (`-tb`).

    Args:
        replicas: How many are started; those on demand take turns with them.
        machine: Where.
    """
    cpu = machine.cpu
    # An integrated GPU serves only an engine that was built for it; CUDA's and Metal's always are.
    has_gpu = any(not gpu.unified or gpu.kind in (DeviceKind.CUDA, DeviceKind.METAL) for gpu in machine.gpus)
    if replicas > 1 and not has_gpu:
        return max(1, cpu.usable_cores // replicas)
    return cpu.usable_cores if cpu.usable_cores < cpu.physical_cores else 0
