"""What a daemon reports of batches as a whole (schema as in `report`)."""

from collections.abc import Mapping

from msgspec import Struct


class CollectedReport(Struct, frozen=True):
    """What was removed as its time was over."""

    batches: int = 0
    files: int = 0


class BatchesReport(Struct, frozen=True):
    """Batches as a whole.

    Attributes:
        states: State → how many batches are in it.
        lines_left: Lines that are still to be answered.
        lines_running: Those of them that wait for a slot, or have one.
        lines_per_second: How many are answered in a second.
        seconds_left: Until the last one is; None while that is not known.
        paused: Why none is begun; empty while some are.
    """

    states: Mapping[str, int] = {}
    lines_left: int = 0
    lines_running: int = 0
    lines_per_second: float = 0.0
    seconds_left: float | None = None
    paused: str = ""
