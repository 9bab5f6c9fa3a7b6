"""One model: its file, its replicas, and where it runs."""

from typing import Annotated, Literal

from msgspec import Meta

from relayd.config.schema.section import Section
from relayd.config.values import (
    AliasName,
    CacheType,
    Count,
    CountOrZero,
    FilePath,
    Minutes,
    ModelName,
    OptionalFilePath,
    ReplicaCount,
    Seconds,
    Share,
)


class LoraFile(Section, frozen=True):
    """An adapter applied to a model.

    Attributes:
        file: The adapter, a GGUF.
        scale: Strength it is applied with; 1 is as trained.
    """

    file: FilePath
    scale: float = 1.0


class Allocation(Section, frozen=True, repr_omit_defaults=True):
    """Where a model runs, and in which form. What is not set here, relayd decides.

    Attributes:
        gpu_layers: Layers on the devices, the output layer counted; 0 is none.
        devices: What `llama-server --list-devices` calls them, in the order of their layers; an empty
            list is the CPU alone.
        shares: Layers of each device, relative to the others; empty for one device.
        experts_on_cpu: Layers, counted from the first, whose experts stay in RAM.
        cache_type_k: Type of the keys in the cache: f16, q8_0, …
        cache_type_v: Type of the values in it.
        flash_attention: Whether attention is computed without its score matrix.
        unified: Whether the slots share one cache.
        batch: Tokens of one request to decode.
        micro_batch: Tokens of one pass.
    """

    gpu_layers: CountOrZero | None = None
    devices: tuple[str, ...] | None = None
    shares: tuple[Share, ...] | None = None
    experts_on_cpu: CountOrZero | None = None
    cache_type_k: CacheType | None = None
    cache_type_v: CacheType | None = None
    flash_attention: bool | None = None
    unified: bool | None = None
    batch: Count | None = None
    micro_batch: Count | None = None


class ReplicaRange(Section, frozen=True, kw_only=True):
    """How many processes serve a model: as few as suffice, as many as pay.

    Attributes:
        min: Processes that are there as long as the model is in memory.
        max: Processes it may grow to while requests wait and memory is free.
    """

    min: Count = 1
    max: Count


class Model(Section, frozen=True):
    """A model that clients can ask for.

    Attributes:
        name: What clients ask for.
        file: The GGUF, or the first part of a split one.
        projector: The GGUF that lets the model take images or audio (`mmproj`); empty for none.
        aliases: Other names that clients may use; `*` is any characters.
        context: Tokens a slot can hold; 0 is what the model was trained on.
        slots: Requests one replica works on at once; 0 leaves their number to the plan.
        replicas: Processes that serve the model; a range is from `min`, all started, to `max`, started while
            its queue is long enough for another to pay.
        strategy: How a replica is chosen where there are several: by what it has read of the prompt before
            and by how much it has to do (`prefix_affinity`); the one that is least busy (`least_connection`
            is the same); in turns; by chance; or in turns weighted by how much of each is unused.
        load: When the model is loaded: as relayd starts, if it fits beside the others, or on demand, when a
            client asks for it. What does not fit is loaded on demand too.
        idle_minutes: Minutes after its last request after which the model is unloaded; 0 keeps it until
            another one needs its memory.
        pin: Whether the model, once loaded, stays: no other takes its place.
        home: Whether the model is loaded again when the machine is idle, after another took its place.
        max_tokens_default: Tokens of an answer whose request names no number; 0 leaves that open.
        max_tokens_limit: Tokens of any answer; 0 sets none.
        first_byte_seconds: As in [server], for this model; 0 is as there.
        token_gap_seconds: As in [server], likewise.
        total_seconds: As in [server], likewise.
        threads: CPU threads of a replica, for prompts too; 0 is its share where replicas, a quota or an
            affinity leave fewer than the engine counts, else the engine's choice.
        embeddings: Whether a model for chat answers `/v1/embeddings` too, inputs up to its context; a model
            that is made for vectors or for ranking is served so without it.
        cache_ram_mib: Host memory for the prompts of earlier requests, in MiB, at most: each replica gets a
            share of what is left over; 0 is none.
        fit: Who decides what is not set here: relayd plans it, or the engine shortens the context and
            moves layers until the model fits.
        args: Further flags for llama-server, one string each; they win over what relayd decides.
        placement: Where it runs, and in which form.
        lora: Adapters applied at load.
    """

    name: ModelName
    file: FilePath
    projector: OptionalFilePath = ""
    aliases: tuple[AliasName, ...] = ()
    context: CountOrZero = 0
    slots: Annotated[int, Meta(ge=0, le=256)] = 0
    replicas: ReplicaCount | ReplicaRange = 1
    strategy: Literal[
        "prefix_affinity", "least_busy", "least_connection", "round_robin", "random", "real_time_metrics"
    ] = "prefix_affinity"
    load: Literal["start", "demand"] = "start"
    idle_minutes: Minutes = 0
    pin: bool = False
    home: bool = False
    max_tokens_default: CountOrZero = 0
    max_tokens_limit: CountOrZero = 0
    first_byte_seconds: Seconds = 0
    token_gap_seconds: Seconds = 0
    total_seconds: Seconds = 0
    threads: CountOrZero = 0
    embeddings: bool = False
    cache_ram_mib: CountOrZero = 8192
    fit: Literal["plan", "engine"] = "plan"
    args: tuple[str, ...] = ()
    placement: Allocation = Allocation()
    lora: tuple[LoraFile, ...] = ()

    @property
    def least_replicas(self) -> int:
        """Replicas that are there as long as the model is in memory."""
        return self.replicas.min if isinstance(self.replicas, ReplicaRange) else self.replicas

    @property
    def most_replicas(self) -> int:
        """Replicas that there may be."""
        return self.replicas.max if isinstance(self.replicas, ReplicaRange) else self.replicas
