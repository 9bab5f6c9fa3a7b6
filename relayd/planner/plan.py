"""What exactly shall run: the specification of one replica."""

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Lora:
    """A LoRA adapter and the scale it is applied with."""

    file: Path
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Allocation:
    """Where a plan puts a replica, and in which form; the engine is told all of it and decides nothing.

    Attributes:
        devices: What `--device` calls them, in the order of their layers; none is the CPU alone.
        shares: Layers of each, relative to the others; empty for one device.
        experts_on_cpu: Layers, counted from the first, whose experts stay in RAM.
        type_k: Type of the keys in the cache.
        type_v: Type of the values.
        flash_attention: Whether attention is computed without its score matrix.
        unified: Whether the slots share one cache.
        batch: Tokens of one request to decode.
        micro_batch: Tokens of one pass.
    """

    devices: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()
    experts_on_cpu: int = 0
    type_k: str = "f16"
    type_v: str = "f16"
    flash_attention: bool = True
    unified: bool = False
    batch: int = 2048
    micro_batch: int = 512


@dataclass(frozen=True, slots=True)
class ReplicaSpec:
    """One llama-server process, completely described.

    Two specs that compare equal run the same process; `digest` is that identity on disk.

    Attributes:
        model: The name clients ask for.
        index: Which replica of the model, from 0.
        file: The GGUF, or the first part of a split one; absolute.
        projector: The GGUF that lets the model see or hear; None for none.
        context: Tokens a slot can hold; 0 is what the model was trained on.
        slots: Requests the replica works on at once.
        gpu_layers: Layers on the device; None lets the engine choose.
        threads: CPU threads for generation; 0 lets the engine choose.
        embeddings: Whether `/v1/embeddings` is served.
        cache_ram_mib: Host memory for prompts of earlier requests, in MiB.
        loras: Adapters, applied at load.
        aliases: Other names the model answers to.
        demo: Whether this is the demo model, to be labelled so wherever it is listed.
        extra_args: Engine flags of the operator, already checked against the reserved ones.
        fit: Whether the engine may change context and layers until they fit; never with an allocation.
        allocation: Where a plan puts it; None leaves that to the engine.
    """

    model: str
    index: int
    file: Path
    projector: Path | None = None
    context: int = 0
    slots: int = 4
    gpu_layers: int | None = None
    threads: int = 0
    embeddings: bool = False
    cache_ram_mib: int = 8192
    loras: tuple[Lora, ...] = ()
    aliases: tuple[str, ...] = ()
    demo: bool = False
    extra_args: tuple[str, ...] = ()
    fit: bool = True
    allocation: Allocation | None = None

    @property
    def name(self) -> str:
        """The replica as people write it: `MODEL#N`."""
        return f"{self.model}#{self.index}"

    @property
    def digest(self) -> str:
        """Identity of everything that needs a new process when it changes (16 hex digits).

        What has its default does not count, so that a new field of a later version changes nothing:
        running replicas are adopted.
        """
        values = ((field, getattr(self, field.name)) for field in fields(self))
        text = "\n".join(f"{field.name}={value!r}" for field, value in values if value != field.default)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
