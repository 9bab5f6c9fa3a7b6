"""Which flags make a llama-server run one replica as it is specified."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from relayd.config.schema import Allocation
from relayd.endpoint import LocalAddress, UnixAddress
from relayd.errors import ConfigError, EngineError
from relayd.planner.plan import Lora, ReplicaSpec

_OLD = "Install a newer one with `relayd engine install`."


class Features(msgspec.Struct, frozen=True):
    """The version of an engine and the flags it knows.

    Attributes:
        version: As people write it: `b6895`, `0.6.0-dev`, or `unknown`.
        build: llama.cpp's build number; None when the binary was built without one.
        flags: Every spelling `--help` lists, negatives included, removed ones not.
        hints: What a flag takes, as `--help` shows it: `N`, `[on|off|auto]`; absent for a switch.
        unix_sockets: Whether `--host` takes the name of a socket file.
    """

    version: str
    build: int | None
    flags: frozenset[str]
    hints: Mapping[str, str]
    unix_sockets: bool

    def first(self, *spellings: str) -> str | None:
        """Return the first of some spellings, newest first, that the engine knows."""
        return next((flag for flag in spellings if flag in self.flags), None)


def command(spec: ReplicaSpec, features: Features, address: LocalAddress, key_file: Path) -> tuple[str, ...]:
    """Return the arguments of a llama-server, its own path not among them.

    Every setting that decides what runs is given, so that no default of a build does; a flag that
    the build does not know is left out, or an error where the replica would be another one without it.

    The context: llama-server's `-c` is the sum over slots, so it is `context` times `slots`. A
    `context` of 0 becomes `-c 0`, and with `--fit on` each slot gets what the model was trained on, or as
    much of it as memory holds (never under 4096 tokens); a build from before `--fit` divides the
    trained context among the slots. Fitting changes nothing that is given here.

    Args:
        spec: What shall run.
        features: What the engine knows.
        address: Where it listens; of a socket only the name is passed, as the runtime directory is the
            working directory.
        key_file: The file with the key; absolute.

    Raises:
        EngineError: The engine is too old for a socket, a key file or embeddings.
        ConfigError: The path of an adapter cannot be written as a flag.
    """
    return tuple(_flags(spec, features, address, key_file))


def _flags(spec: ReplicaSpec, features: Features, address: LocalAddress, key_file: Path) -> Iterator[str]:
    yield from ("--model", str(spec.file), "--alias", spec.model)
    if spec.projector:
        yield from (_needed(features, "--mmproj"), str(spec.projector))
    yield from _listen(features, address)
    yield from (_needed(features, "--api-key-file"), str(key_file))
    yield from ("--parallel", str(spec.slots), "--ctx-size", str(spec.context * spec.slots))
    yield from _known(features, "--cache-ram", str(spec.cache_ram_mib))
    yield from _known(features, "--fit", "on" if spec.fit else "off")
    yield from _placed(features, spec.placement)
    if spec.threads:
        yield from ("--threads", str(spec.threads))
    if spec.embeddings:
        yield _needed(features, "--embeddings", "--embedding")
    if spec.pooling == "rank":
        yield _needed(features, "--reranking", "--rerank")
    elif spec.pooling:
        yield from _known(features, "--pooling", spec.pooling)
    for lora in spec.loras:
        yield from _lora(features, lora)
    yield from _known(features, "--metrics")
    yield from _known(features, "--slots")
    yield from _known(features, "--offline")
    if no_page := features.first("--no-ui", "--no-webui"):
        yield no_page
    # Where it can be switched off it is on; older builds ignore a model's own template without it.
    if "--no-jinja" not in features.flags:
        yield from _known(features, "--jinja")
    yield from spec.extra_args


def _placed(features: Features, placement: Allocation) -> Iterator[str]:
    """Yield the flags of what is decided, those equal to an engine's default included."""
    if placement.gpu_layers is not None:
        yield from ("--gpu-layers", str(placement.gpu_layers))
    if placement.devices is not None:
        yield from (_needed(features, "--device"), ",".join(placement.devices) or "none")
    if placement.shares:
        yield from ("--split-mode", "layer")
        yield from ("--tensor-split", ",".join(f"{share:g}" for share in placement.shares))
    if placement.experts_on_cpu:
        yield from (_needed(features, "--n-cpu-moe"), str(placement.experts_on_cpu))
    if placement.cache_type_k is not None:
        yield from ("--cache-type-k", placement.cache_type_k)
    if placement.cache_type_v is not None:
        yield from ("--cache-type-v", placement.cache_type_v)
    yield from _flash_attention(features, placement.flash_attention)
    if placement.batch is not None:
        yield from ("--batch-size", str(placement.batch))
    if placement.micro_batch is not None:
        yield from ("--ubatch-size", str(placement.micro_batch))
    if placement.unified:
        yield _needed(features, "--kv-unified")
    elif placement.unified is not None:
        yield from _known(features, "--no-kv-unified")


def _flash_attention(features: Features, wanted: bool | None) -> tuple[str, ...]:
    if wanted is None:
        return ()
    # Before it took a value it was a switch, off without it.
    if "on" in features.hints.get("--flash-attn", ""):
        return ("--flash-attn", "on" if wanted else "off")
    return (_needed(features, "--flash-attn"),) if wanted else ()


def _listen(features: Features, address: LocalAddress) -> tuple[str, ...]:
    if not isinstance(address, UnixAddress):
        return ("--host", address.host, "--port", str(address.port))
    if not features.unix_sockets:
        raise EngineError(
            f"llama-server {features.version} cannot listen on a socket file",
            remedy=f'{_OLD} Or set [replicas] listen = "tcp".',
        )
    return ("--host", address.path.name)


def _lora(features: Features, lora: Lora) -> tuple[str, ...]:
    """Return the flags of an adapter; newer builds split at commas, and before the scale at a colon."""
    name = str(lora.file)
    flags: tuple[str, ...]
    if lora.scale == 1:
        forbidden, flags = ",", ("--lora", name)
    elif ":" in features.hints.get("--lora-scaled", ""):
        forbidden, flags = ",:", ("--lora-scaled", f"{name}:{lora.scale:g}")
    else:
        forbidden, flags = "", ("--lora-scaled", name, f"{lora.scale:g}")
    if any(sign in name for sign in forbidden):
        raise ConfigError(
            f"the adapter's path {name} contains one of {' '.join(forbidden)}, where llama-server splits",
            remedy="Rename the file or its folder.",
        )
    return flags


def _known(features: Features, flag: str, *value: str) -> tuple[str, ...]:
    return (flag, *value) if flag in features.flags else ()


def _needed(features: Features, *spellings: str) -> str:
    flag = features.first(*spellings)
    if flag is None:
        raise EngineError(f"llama-server {features.version} does not know {spellings[0]}", remedy=_OLD)
    return flag
