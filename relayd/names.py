"""What replicas are called: `MODEL`, `MODEL#N`, `MODEL@NODE` or `MODEL#N@NODE` (names)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReplicaName:
    """A name of a model, or of one of its replicas, in its parts; a slash belongs to the model.

    Attributes:
        model: The model.
        index: Which of its replicas, from 0; None means all of them.
        node: The machine; empty means this one.
    """

    model: str
    index: int | None = None
    node: str = ""

    @classmethod
    def parse(cls, text: str) -> "ReplicaName":
        """Return the parts of a name.

        Raises:
            ValueError: What follows `#` is not a number.
        """
        name, _, node = text.partition("@")
        model, mark, index = name.partition("#")
        if mark and not index.isdecimal():
            raise ValueError(f"invalid replica number {index!r} in {text!r}")
        return cls(model, int(index) if mark else None, node)

    def __str__(self) -> str:
        """Return the name as people write it."""
        index = "" if self.index is None else f"#{self.index}"
        return f"{self.model}{index}{f'@{self.node}' if self.node else ''}"

    def covers(self, other: "ReplicaName") -> bool:
        """Return whether a replica is this one, or one of this model."""
        return (self.model, self.node) == (other.model, other.node) and self.index in (None, other.index)
