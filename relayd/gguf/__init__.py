"""Model files (GGUF): header, tensors, and the files that belong to one model.

`read_metadata` reads a header and nothing after it; every value is checked against what the file
holds before it is used.
"""

from relayd.gguf.beside import Companions, find_companions
from relayd.gguf.companions import is_companion, part_names
from relayd.gguf.metadata import ArrayInfo, ModelMetadata, Tensor, Value
from relayd.gguf.quants import FILE_TYPES, QUANTS, Quant, bits_per_weight, row_bytes
from relayd.gguf.reader import model_files, read_metadata, read_model

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
    "model_files",
    "part_names",
    "read_metadata",
    "read_model",
    "row_bytes",
]
