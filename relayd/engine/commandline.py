"""Which setup does the command line of a llama-server make, as far as that decides its memory?"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from relayd.memory.setup import EVERY_LAYER, Gpu, Setup

_SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "context": ("--ctx-size", "-c"),
    "slots": ("--parallel", "-np"),
    "type_k": ("--cache-type-k", "-ctk"),
    "type_v": ("--cache-type-v", "-ctv"),
    "batch": ("--batch-size", "-b"),
    "micro_batch": ("--ubatch-size", "-ub"),
    "cache_ram": ("--cache-ram", "-cram"),
    "layers": ("--gpu-layers", "--n-gpu-layers", "-ngl"),
    "experts": ("--n-cpu-moe", "-ncmoe"),
    "devices": ("--device", "-dev"),
    "shares": ("--tensor-split", "-ts"),
    "attention": ("--flash-attn", "-fa"),
    "projector": ("--mmproj", "-mm"),
}
"""What decides memory -> the flags that say it (llama.cpp, common/arg.cpp)."""


def setup_of(command: Sequence[str], trained: int, gpus: Sequence[Gpu], repacked: frozenset[int]) -> Setup:
    """Return the setup that a server was started with.

    Args:
        command: Its argv.
        trained: Tokens its model was trained on: what a slot gets when no context was asked for.
        gpus: What it takes when it was told no device.
        repacked: Types whose weights its CPU backend copies.

    Raises:
        UsageError: It is a setup that does not work.
        ValueError: A value is no number.
    """
    given = {name: _value(command, name) for name in _SPELLINGS}
    slots = int(given["slots"] or 0)
    layers = given["layers"] or "all"
    return Setup(
        context=int(given["context"] or 0) or trained * max(1, slots),
        slots=slots,
        unified=_has(command, "--kv-unified", "-kvu"),
        type_k=given["type_k"] or "f16",
        type_v=given["type_v"] or "f16",
        batch=int(given["batch"] or 2048),
        micro_batch=int(given["micro_batch"] or 512),
        flash_attention=given["attention"] != "off",
        window_full=_has(command, "--swa-full"),
        embeddings=_has(command, "--embeddings", "--embedding"),
        gpus=() if layers == "0" else tuple(_gpus(given["devices"], given["shares"], gpus)),
        gpu_layers=int(layers) if layers.isdecimal() else EVERY_LAYER,
        experts_on_cpu=EVERY_LAYER if _has(command, "--cpu-moe", "-cmoe") else int(given["experts"] or 0),
        repacked=frozenset() if _has(command, "--no-repack", "-nr") else repacked,
        cache_ram_mib=int(given["cache_ram"] or 8192),
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
    given = [value for flag, value in pairwise(command) if flag in _SPELLINGS[name]]
    return given[-1] if given else None


def _has(command: Sequence[str], *flags: str) -> bool:
    return not set(flags).isdisjoint(command)
