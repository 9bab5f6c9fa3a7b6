"""What does the operator want to run, in full?

From configuration and command line to one `ReplicaSpec` for each process.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import msgspec

from relayd.config import Config, Model, Paths, check_model_files, model_name, told_apart
from relayd.engine import Engine, check_extra_args
from relayd.errors import ModelFileError, UsageError
from relayd.gguf import find_companions, read_metadata
from relayd.hardware import DeviceKind, Machine
from relayd.planner import Facts, Lora, Planned, ReplicaSpec, Step, step_down

_QUANTIZATION = re.compile(r"[-_.](?:ud-)?(?:i?q\d\w*|tq\d\w*|bf16|f16|f32|mxfp4\w*|nvfp4)$")
"""How a file name says its quantization, at its end."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Everything a daemon is told.

    Attributes:
        config: What the operator wants.
        plan: The replicas that shall run.
        engine: The llama-server that runs them.
        paths: Where state, sockets and logs are; the folders exist.
        environ: The environment of which replicas see an allow-list.
        sources: Files and variables the configuration came from.
        warnings: What the operator should know, shown by `status`.
        on_terminal: Whether it was typed on a terminal, whose end is ours too.
        any_port: Whether a port that is taken is replaced by a free one.
    """

    config: Config
    plan: tuple[Planned, ...]
    engine: Engine
    paths: Paths
    environ: dict[str, str]
    sources: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    on_terminal: bool = False
    any_port: bool = False


Find = Callable[[str], Model]

DEMO = "demo"
"""What clients call the demo model."""


def demo_model() -> Model:
    """Return the demo model that ships with relayd; a token of it is a character, hence the context."""
    file = str(files("relayd") / "demo.gguf")
    return Model(name=DEMO, file=file, context=16384, embeddings=True, cache_ram_mib=64)


def chosen(config: Config, targets: Sequence[str], find: Find, *, demo: bool) -> Config:
    """Return the configuration reduced to what the command line names.

    Args:
        config: What the files and the environment say.
        targets: Names of configured models, GGUF files, or names of models on disk; empty for all
            that are configured.
        find: Returns a model on disk with its names; raises `UsageError` when none is meant.
        demo: Whether the demo model runs, alone unless targets name others.

    Raises:
        UsageError: A target is none of these.
    """
    if not targets and not demo:
        return config
    known = {name: model for model in config.model for name in (model.name, *model.aliases)}
    configured = {model.name: model for target in targets if (model := known.get(target))}
    others = [demo_model()] if demo else []
    others += [_unconfigured(target, find) for target in targets if target not in known]
    models = (*configured.values(), *told_apart(others, known))
    return msgspec.structs.replace(config, model=models)


def overridden(config: Config, *, listen: str | None = None, engine: str | None = None) -> Config:
    """Return the configuration with what the command line says instead."""
    if listen is not None:
        config = msgspec.structs.replace(config, server=msgspec.structs.replace(config.server, listen=listen))
    if engine is not None:
        config = msgspec.structs.replace(config, engine=msgspec.structs.replace(config.engine, path=engine))
    return config


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


def smaller(spec: ReplicaSpec, rung: int, *, host: bool) -> Step | None:
    """Return the next spec to try when memory is too small for one; None when nothing is left.

    Args:
        spec: What did not fit.
        rung: Where on the ladder to go on (`planner.smaller`).
        host: Whether it was RAM that ran out, and not a device's memory.
    """
    try:
        metadata = read_metadata(spec.file)
        context = metadata.whole("context_length")
        facts = Facts(context, metadata.whole("block_count"), _smaller_files(spec.file))
    except ModelFileError:
        return None
    return step_down(spec, facts, rung, host=host)


def _smaller_files(file: Path) -> list[Path]:
    """Return the same model in smaller quantizations beside `file`, by name, the largest first."""
    base = _without_quantization(file)
    others = [other for other in file.parent.glob("*.gguf") if _without_quantization(other) == base]
    sizes = {other: other.stat().st_size for other in others}
    fitting = [other for other in sizes if sizes[other] < file.stat().st_size]
    return sorted(fitting, key=sizes.__getitem__, reverse=True)


def _without_quantization(file: Path) -> str:
    return _QUANTIZATION.sub("", file.stem.casefold())


def is_demo(file: str) -> bool:
    """Return whether a model file is the demo model."""
    return file == demo_model().file


def _unconfigured(target: str, find: Find) -> Model:
    path = Path(target).expanduser().absolute()
    if path.is_dir() and target.startswith((".", "/", "~")):
        remedy = "Name a .gguf file in it, or add it to `folders` in [models] and serve its models by name."
        raise UsageError(f"{path} is a folder, not a model", remedy=remedy)
    if path.suffix != ".gguf" and not path.is_file():
        found = find(target)
        typed = () if target == found.name else (target,)
        return msgspec.structs.replace(found, aliases=(*found.aliases, *typed))
    projectors = find_companions(path).projectors if path.is_file() else ()
    projector = str(next(iter(projectors), ""))
    return Model(name=model_name(path.stem), file=str(path), projector=projector)
