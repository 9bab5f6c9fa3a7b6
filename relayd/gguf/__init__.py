"""What is in a model file: its header, its tensors, and the files that belong to it.

`read_metadata` reads a header and nothing after it; what a file says is checked against what the file
has before anything is made of it.
"""

from relayd.gguf.companions import Companions, find_companions, is_companion, part_names
from relayd.gguf.metadata import ArrayInfo, ModelMetadata, Tensor, Value
from relayd.gguf.quants import FILE_TYPES, QUANTS, Quant, bits_per_weight, row_bytes
from relayd.gguf.reader import read_metadata

__all__ = [
    "FILE_TYPES",
    "QUANTS",
    "ArrayInfo",
    "Companions",
    "ModelMetadata",
    "Quant",
    "Tensor",
    "Value",
    "bits_per_weight",
    "find_companions",
    "is_companion",
    "part_names",
    "read_metadata",
    "row_bytes",
]
