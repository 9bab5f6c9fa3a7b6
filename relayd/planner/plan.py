"""What exactly shall run: the specification of one replica, and what was planned for it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from relayd.config.schema import Allocation
from relayd.units import Bytes


@dataclass(frozen=True, slots=True)
class Lora:
    """A LoRA adapter and the scale it is applied with."""

    file: Path
    scale: float = 1.0


ENGINES_OWN = Allocation()
"""Nothing decided: every value is the engine's default."""


@dataclass(frozen=True, slots=True)
class ReplicaSpec:
    """One llama-server process, completely described, and nothing that does not change it.

    Two specs that compare equal run the same process; `digest` is that identity on disk. How clients
    may call the model, and how it is labelled, is `config.Model`'s.

    Attributes:
        model: The name clients ask for.
        index: Which replica of the model, from 0.
        file: The GGUF, or the first part of a split one; absolute.
        projector: The GGUF that lets the model take images or audio; None for none.
        context: Tokens a slot can hold; 0 is what the model was trained on.
        slots: Requests the replica works on at once; 0 in the spec of a line that leaves them open.
        threads: CPU threads for generation; 0 lets the engine choose.
        embeddings: Whether `/v1/embeddings` is served.
        pooling: How it makes one vector of an input, where its file does not decide it: `mean`; `rank` if it
            scores documents for a query.
        cache_ram_mib: Host memory for prompts of earlier requests, in MiB.
        loras: Adapters, applied at load.
        extra_args: Engine flags of the operator, already checked against the reserved ones; given last,
            so that each wins over what relayd decided.
        fit: Whether the engine may change context and layers until they fit; never in a plan of ours.
        placement: Where it runs and in which form; what is None in it is the engine's own default.
    """

    model: str
    index: int
    file: Path
    projector: Path | None = None
    context: int = 0
    slots: int = 4
    threads: int = 0
    embeddings: bool = False
    cache_ram_mib: int = 8192
    loras: tuple[Lora, ...] = ()
    extra_args: tuple[str, ...] = ()
    fit: bool = True
    placement: Allocation = ENGINES_OWN
    pooling: Literal["", "mean", "rank"] = ""

    @property
    def name(self) -> str:
        """The replica as people write it: `MODEL#N`."""
        return f"{self.model}#{self.index}"

    @property
    def digest(self) -> str:
        """Identity of everything that needs a new process when it changes (16 hex digits).

        What has its default does not count, so that a new field of a later version changes nothing:
        running replicas are adopted. Nor do slots that are open: they had a number by default once.
        """
        values = ((field, getattr(self, field.name)) for field in fields(self))
        text = "\n".join(
            f"{field.name}={value!r}"
            for field, value in values
            if value != field.default and not (field.name == "slots" and value == 0)
        )
        return hashlib.sha256(text.encode()).hexdigest()[:16]


Value = TypeVar("Value")

NO_BYTES = Bytes(0)


def to_document(value: object) -> Any:
    """Return a spec, or a value that holds one, as JSON-ready builtins."""
    return msgspec.to_builtins(value, enc_hook=str)


def from_document(document: object, kind: type[Value]) -> Value:
    """Return the value that `to_document` has written.

    Raises:
        msgspec.ValidationError: It is not one, or a later version's that this one does not know.
    """
    return msgspec.convert(document, kind, dec_hook=lambda wanted, text: wanted(text))


class Basis(StrEnum):
    """How the bytes that a plan counts with are known, from the weakest to the strongest."""

    UNKNOWN = "unknown"
    PREDICTED = "predicted"
    CONFIRMED = "confirmed by the engine"
    MEASURED = "measured"


@dataclass(frozen=True, slots=True)
class Residence:
    """When a replica is in memory. It belongs to no process: it may change while one runs.

    Attributes:
        demand: Whether it is loaded when a client asks for its model, and not as the daemon starts.
        pin: Whether it stays, once loaded: no other takes its place.
        home: Whether it is loaded again when the machine is idle.
        idle_seconds: Time after its last request after which it is unloaded; None keeps it.
        growth: Whether it is one of those that come and go with the length of the queue.
    """

    demand: bool = False
    pin: bool = False
    home: bool = False
    idle_seconds: float | None = None
    growth: bool = False


STAYS = Residence()
"""Loaded as the daemon starts, until another replica needs its memory."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One replica as it was planned: what runs, and what of the machine it needs.

    `needs` and `basis` do not belong to what runs: they follow every new estimate, and change no process.

    Attributes:
        spec: The process.
        needs: Device (`cuda0`, `host`) → bytes it has to hold; empty where nothing was planned.
        basis: How these bytes are known.
        line: The spec with only what the operator's `[[model]]` line fixes, nothing that was planned; None
            where it is the spec itself. A running process is adopted by it, with the placement it has.
        cold: Why it is not started with the daemon: it does not fit beside the others, or is on demand; ""
            where it is started.
        residence: When it is in memory.
        others: Other sizes that would do, the better ones first; the plan itself is better than all.
        refused: Why it can never be loaded on this machine; "" where it can.
        weights: What of its needs of RAM are weights: whole, mapped or not; 0 where that is not known.
    """

    spec: ReplicaSpec
    needs: Mapping[str, Bytes] = field(default_factory=dict)
    basis: Basis = Basis.UNKNOWN
    line: ReplicaSpec | None = None
    cold: str = ""
    residence: Residence = STAYS
    others: tuple["Planned", ...] = ()
    refused: str = ""
    weights: Bytes = NO_BYTES

    @property
    def name(self) -> str:
        """The replica as people write it: `MODEL#N`."""
        return self.spec.name

    @property
    def model(self) -> str:
        """The name of its model."""
        return self.spec.model
