"""Which setup does the command line of a llama-server make, as far as that decides its memory?"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import msgspec

from relayd.config.schema import Allocation
from relayd.engine.differences import flags_of
from relayd.engine.reserved import canonical
from relayd.memory.setup import EVERY_LAYER, Gpu, Setup
from relayd.planner.plan import ReplicaSpec

_SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "context": ("--ctx-size", "-c"),
    "slots": ("--parallel", "-np"),
    "cache_type_k": ("--cache-type-k", "-ctk"),
    "cache_type_v": ("--cache-type-v", "-ctv"),
    "batch": ("--batch-size", "-b"),
    "micro_batch": ("--ubatch-size", "-ub"),
    "cache_ram_mib": ("--cache-ram", "-cram"),
    "gpu_layers": ("--gpu-layers", "--n-gpu-layers", "-ngl"),
    "experts_on_cpu": ("--n-cpu-moe", "-ncmoe"),
    "devices": ("--device", "-dev"),
    "shares": ("--tensor-split", "-ts"),
    "flash_attention": ("--flash-attn", "-fa"),
    "projector": ("--mmproj", "-mm"),
    "file": ("--model", "-m"),
    "draft": ("--spec-draft-model", "--model-draft", "-md"),
}
"""Field of a spec or of its placement -> the flags that set it (llama.cpp, common/arg.cpp)."""

_SWITCHES: Mapping[str, tuple[str, ...]] = {
    "experts_on_cpu": ("--cpu-moe", "-cmoe"),
    "unified": ("--kv-unified", "-kvu", "--no-kv-unified", "-no-kvu"),
}
"""The same for flags without a value."""


_BATCH = 2048
"""What `--batch-size` is by default."""


_GGUF_FILES = (*_SPELLINGS["projector"], *_SPELLINGS["draft"], "--control-vector", "--model-vocoder", "-mv")
_TEXT_FILES = ("--chat-template-file", "--grammar-file", "--json-schema-file", "-jf")
"""Flags that name files which a server opens as it starts."""


def fixed_by(args: Iterable[str]) -> frozenset[str]:
    """Return the fields of a spec and of its placement that arguments set; given last, they win over it."""
    given = {canonical(arg) for arg in args}
    return frozenset(
        field
        for flags in (_SPELLINGS, _SWITCHES)
        for field, spellings in flags.items()
        if not given.isdisjoint(spellings)
    )


_NOT_PLANNED = """
--override-tensor -ot --no-kv-offload -nkvo --split-mode -sm --main-gpu -mg --swa-full --no-repack
-nr --no-host --lazy-mode -lzm --override-kv --kv-unified-per-slot --ctx-checkpoints -ctxcp
--swa-checkpoints --fit-target -fitt --fit-ctx -fitc --mmproj-device -mmdev --no-mmproj-offload
--no-mmproj --no-mmproj-auto --control-vector --control-vector-scaled --spec-draft-override-tensor
-otd --override-tensor-draft --spec-draft-cpu-moe -cmoed --cpu-moe-draft --spec-draft-n-cpu-moe
--spec-draft-ncmoe -ncmoed --n-cpu-moe-draft --spec-draft-device -devd --device-draft
--spec-draft-ngl -ngld --gpu-layers-draft --n-gpu-layers-draft --spec-draft-type-k -ctkd
--cache-type-k-draft --spec-draft-type-v -ctvd --cache-type-v-draft --spec-type --spec-default
"""
"""Flags that decide memory in ways that relayd does not plan: with them the engine fits the model itself."""


def placement_in(args: Sequence[str]) -> Allocation:
    """Return the placement that arguments fix, as far as they fix any.

    Raises:
        ValueError: A value of them is invalid.
    """
    given = {name: _value(args, name) for name in Allocation.__struct_fields__ if name in _SPELLINGS}
    found: dict[str, object] = {}
    for name, value in given.items():
        if value is not None:
            found[name] = _placed_value(name, value)
    if found.get("gpu_layers") == "all":
        del found["gpu_layers"]
    if _has(args, "--cpu-moe", "-cmoe"):
        found["experts_on_cpu"] = EVERY_LAYER
    if _has(args, "--kv-unified", "-kvu"):
        found["unified"] = True
    try:
        return msgspec.convert(found, Allocation)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error


def unplanned(args: Iterable[str]) -> tuple[str, ...]:
    """Return the flags among arguments whose effect on memory relayd does not plan."""
    not_planned = _NOT_PLANNED.split()
    return tuple(arg for arg in map(canonical, args) if arg in not_planned)


def batch_of(command: Sequence[str]) -> int:
    """Return how many tokens of a prompt a server decodes at once, by its flags or by default."""
    try:
        return int(_value(command, "batch") or _BATCH)
    except ValueError:  # the engine refuses it
        return _BATCH


def batch_tokens(spec: ReplicaSpec) -> int:
    """Return how many tokens of a prompt a replica decodes at once."""
    planned = () if spec.placement.batch is None else ("--batch-size", str(spec.placement.batch))
    return batch_of((*planned, *spec.extra_args))


def draft_of(command: Sequence[str]) -> str | None:
    """Return the file of the model that drafts for another (speculative decoding)."""
    return _value(command, "draft")


def files_named(command: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the GGUFs, and the other files, that a server opens as it starts, but for its model."""
    given = [(canonical(flag), value) for flag, value in pairwise(command)]
    ggufs = (name for flag, value in given if flag in _GGUF_FILES for name in value.split(","))
    return tuple(ggufs), tuple(value for flag, value in given if flag in _TEXT_FILES)


def _placed_value(name: str, value: str) -> object:
    match name:
        case "devices":
            return [] if value == "none" else value.split(",")
        case "shares":
            return [float(share) for share in value.split(",")]
        case "cache_type_k" | "cache_type_v":
            return value
        case "flash_attention":
            return value != "off"
        case "gpu_layers" if value in {"all", "auto", "-1"}:
            return "all"
        case _:
            return int(value)


def same_process(one: Sequence[str], other: Sequence[str]) -> bool:
    """Return whether two command lines start the same process, whatever the order of their flags."""
    if tuple(one) == tuple(other):
        return True
    flags, others = flags_of(one), flags_of(other)
    # Of a repeated flag the engine takes the last: there the order counts.
    repeated = len({flag for flag, *_ in flags}) < len(flags)
    return not repeated and sorted(flags) == sorted(others)


def setup_of(command: Sequence[str], trained: int, gpus: Sequence[Gpu], repacked: frozenset[int]) -> Setup:
    """Return the setup that a server was started with.

    Args:
        command: Its argv.
        trained: Tokens its model was trained on: what a slot gets when no context was asked for.
        gpus: What it takes when no device was given.
        repacked: Types whose weights its CPU backend copies.

    Raises:
        UsageError: It is a setup that does not work.
        ValueError: A value is not a number.
    """
    given = {name: _value(command, name) for name in _SPELLINGS}
    slots = int(given["slots"] or 0)
    layers, experts = given["gpu_layers"] or "all", int(given["experts_on_cpu"] or 0)
    return Setup(
        context=int(given["context"] or 0) or trained * max(1, slots),
        slots=slots,
        unified=_has(command, "--kv-unified", "-kvu"),
        type_k=given["cache_type_k"] or "f16",
        type_v=given["cache_type_v"] or "f16",
        batch=int(given["batch"] or _BATCH),
        micro_batch=int(given["micro_batch"] or 512),
        flash_attention=given["flash_attention"] != "off",
        window_full=_has(command, "--swa-full"),
        embeddings=_has(command, "--embeddings", "--embedding"),
        gpus=() if layers == "0" else tuple(_gpus(given["devices"], given["shares"], gpus)),
        gpu_layers=int(layers) if layers.isdecimal() else EVERY_LAYER,
        experts_on_cpu=EVERY_LAYER if _has(command, "--cpu-moe", "-cmoe") else experts,
        repacked=frozenset() if _has(command, "--no-repack", "-nr") else repacked,
        cache_ram_mib=int(given["cache_ram_mib"] or 8192),
    )


def projector_of(command: Sequence[str]) -> str | None:
    """Return the file of the projector that a server was started with."""
    return _value(command, "projector")


def _gpus(devices: str | None, shares: str | None, gpus: Sequence[Gpu]) -> list[Gpu]:
    if devices == "none":
        return []
    chosen = gpus if devices is None else [Gpu(name.casefold()) for name in devices.split(",")]
    if not shares:
        return list(chosen)
    return [Gpu(gpu.key, float(share)) for gpu, share in zip(chosen, shares.split(","), strict=False)]


def _value(command: Sequence[str], name: str) -> str | None:
    """Return what the last flag of that name was given: the engine goes by that one."""
    given = [value for flag, value in pairwise(command) if canonical(flag) in _SPELLINGS[name]]
    return given[-1] if given else None


def _has(command: Sequence[str], *flags: str) -> bool:
    return not set(flags).isdisjoint(map(canonical, command))
