"""Which replicas a configuration asks for, one spec for each process."""

from pathlib import Path

from relayd.config import Config, Model, check_model_files
from relayd.engine import check_extra_args
from relayd.hardware import DeviceKind, Machine
from relayd.planner import Lora, Planned, ReplicaSpec


def check_models(config: Config) -> None:
    """Check what a configuration says of its models beyond its form.

    Raises:
        ConfigError: An engine flag of a model belongs to relayd.
        ModelFileError: A model file is missing or no GGUF.
    """
    check_model_files(config)
    for model in config.model:
        check_extra_args(model.args, f"model {model.name!r}")


def plan(config: Config, machine: Machine) -> tuple[Planned, ...]:
    """Return what shall run, replica by replica.

    Without a GPU, replicas that leave their threads to us share the cores: each llama-server
    would take all of them, and spin while it waits for its turn.

    Raises what `check_models` raises.
    """
    check_models(config)
    replicas = sum(model.replicas for model in config.model)
    # An integrated GPU serves only an engine that was built for it; CUDA's and Metal's always are.
    has_gpu = any(not gpu.unified or gpu.kind in (DeviceKind.CUDA, DeviceKind.METAL) for gpu in machine.gpus)
    threads = 0 if has_gpu or replicas < 2 else max(1, machine.cpu.usable_cores // replicas)
    return tuple(
        Planned(_spec(model, index, threads)) for model in config.model for index in range(model.replicas)
    )


def _spec(model: Model, index: int, threads: int) -> ReplicaSpec:
    return ReplicaSpec(
        model=model.name,
        index=index,
        file=Path(model.file),
        projector=Path(model.projector) if model.projector else None,
        context=model.context,
        slots=model.slots,
        threads=model.threads or threads,
        embeddings=model.embeddings,
        cache_ram_mib=model.cache_ram_mib,
        loras=tuple(Lora(Path(lora.file), lora.scale) for lora in model.lora),
        extra_args=model.args,
        fit=model.fit == "engine" or model.placement.gpu_layers is None,
        placement=model.placement,
    )
