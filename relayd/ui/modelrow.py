"""A model on disk or in the catalogue, as a line of `relayd models`; without what draws tables."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model, as the table shows it.

    Attributes:
        name: What people type.
        bytes: Its size; None while unknown.
        quant: Its quantization; "" when not known.
        where: Whose folder it is in, or that it is only in the catalogue.
        state: Whether it runs.
        fits: Whether this machine can hold it; None when not known.
        tags: What it can be used for.
    """

    name: str
    bytes: int | None
    quant: str
    where: str
    state: str
    fits: bool | None
    tags: tuple[str, ...] = ()
