"""The shapes of a model's weights by their names: the one place where tensor shapes are looked up."""

from collections.abc import Mapping
from dataclasses import dataclass

from relayd.errors import ModelFileError


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of one block, or of what is outside all blocks.

    Attributes:
        shapes: Every weight of the model by its full name.
        prefix: What the names of this block begin with: `blk.3.`.
    """

    shapes: Mapping[str, tuple[int, ...]]
    prefix: str = ""

    def block(self, index: int) -> "Weights":
        """Return the weights of block `index`."""
        return Weights(self.shapes, f"blk.{index}.")

    def has(self, name: str) -> bool:
        """Return whether there is such a weight, named with its suffix."""
        return self.prefix + name in self.shapes

    def rows(self, name: str) -> int:
        """Return the rows of the matrix `name`, 0 where there is none."""
        shape = self.shapes.get(f"{self.prefix}{name}.weight", ())
        return shape[1] if len(shape) > 1 else 0

    def size(self, name: str) -> tuple[int, int]:
        """Return the columns and rows of the matrix `name`, which its layer cannot do without.

        Raises:
            ModelFileError: The file has none, or none with two dimensions that are not 0.
        """
        full = f"{self.prefix}{name}.weight"
        columns, rows, *_ = (*self.shapes.get(full, ()), 0, 0)
        if columns and rows:
            return columns, rows
        found = (
            f"has the shape {[*self.shapes[full]]}: expected a matrix"
            if full in self.shapes
            else "is missing"
        )
        raise ModelFileError(f"its tensors are not what its header promises: {full} {found}")
