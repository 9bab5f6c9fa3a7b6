"""What each machine of a fleet states: what it is, has and runs (values with one JSON form)."""

from msgspec import Raw, Struct

NO_BUDGET = Raw(b"null")


class StatedFile(Struct, frozen=True, omit_defaults=True):
    """A model on the disk of a machine.

    Attributes:
        name: As `relayd models` there lists it.
        model: Name of its entry in the catalogue; empty where that has none.
        quant: Its quantization; empty where its name has none.
        bytes: Of all parts.
        sha256: Of its first part; empty where it is not known.
    """

    name: str
    model: str = ""
    quant: str = ""
    bytes: int = 0
    sha256: str = ""


class PlacedModel(Struct, frozen=True, omit_defaults=True):
    """A model that a machine serves.

    Attributes:
        model: What clients ask for.
        header: That of its file (`gguf.packed`); empty where it cannot be read.
        bytes: Of its file; 0 where that is not there.
        replicas: How many it is to have in memory now.
        context: Tokens a slot holds, as it is planned there.
        slots: Requests at once of a replica.
        embeddings: Whether it answers with vectors.
        needs: Device → bytes that a replica takes there.
        tokens_per_second: What one request was last generated with, by the middle one; 0 where none was.
    """

    model: str
    header: str = ""
    bytes: int = 0
    replicas: int = 0
    context: int = 0
    slots: int = 0
    embeddings: bool = False
    needs: dict[str, int] = {}
    tokens_per_second: float = 0.0


class MachineReport(Struct, frozen=True, omit_defaults=True):
    """One machine.

    Attributes:
        name: What the hub calls it.
        state: `here`, or as in `NodeReport`.
        reason: Why nothing can be planned for it; empty where it can.
        budget: What models may take of it (`planner.budget.Budget`); null where that is not known.
        models: What it serves.
        files: What is on its disk.
        engine_build: llama.cpp's build number of its engine; 0 while it is not known.
    """

    name: str
    state: str = "here"
    reason: str = ""
    budget: Raw = NO_BUDGET
    models: tuple[PlacedModel, ...] = ()
    files: tuple[StatedFile, ...] = ()
    engine_build: int = 0


class MachinesReport(Struct, frozen=True, omit_defaults=True):
    """Every machine of a fleet.

    Attributes:
        machines: The hub's own first.
        bytes_per_second: How fast files travel between them, at most.
    """

    machines: tuple[MachineReport, ...] = ()
    bytes_per_second: float = 0.0
