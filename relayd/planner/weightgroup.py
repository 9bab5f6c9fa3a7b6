"""Weights that are always placed together, and the bytes they take on each kind of device."""

import math
from dataclasses import dataclass

from relayd.gguf.metadata import Tensor
from relayd.memory.weights import CPU, stored

CUDA = "cuda"
"""How the keys of devices begin on which rows are padded (`weights.stored`)."""


@dataclass(slots=True)
class WeightGroup:
    """Weights that are always placed together.

    Attributes:
        plain: Their bytes on most devices.
        cuda: Their bytes on a CUDA device, padding included.
        elements: How many there are.
    """

    plain: int = 0
    cuda: int = 0
    elements: int = 0

    def on(self, device: str) -> int:
        """Return the bytes they take on a device."""
        return self.cuda if device.startswith(CUDA) else self.plain

    def add(self, other: "WeightGroup") -> None:
        """Take more weights in."""
        self.plain += other.plain
        self.cuda += other.cuda
        self.elements += other.elements


def lump(tensor: Tensor) -> WeightGroup:
    """Return what one tensor takes."""
    return WeightGroup(stored(tensor, CPU), stored(tensor, CUDA), math.prod(tensor.shape))
