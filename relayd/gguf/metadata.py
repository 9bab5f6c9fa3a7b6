"""The metadata of a model file, as planners use it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeGuard

from relayd.errors import ModelFileError
from relayd.gguf.quants import row_bytes
from relayd.units import Bytes

ITEMS_READ = 65_536
"""Longest array that is read; no model has as many layers."""

LARGEST = (1 << 32) - 1
"""Largest size in a header: llama.cpp reads them as uint32 (llama-hparams.h)."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One line of the tensor table.

    Attributes:
        name: As the file spells it, for example `blk.0.attn_q.weight`.
        shape: Elements in each dimension, in ggml's order: the length of a row first.
        type_id: Number of its type, a key of `QUANTS`.
        offset: Bytes from the start of its file's data section.
    """

    name: str
    shape: tuple[int, ...]
    type_id: int
    offset: int

    @property
    def row(self) -> int:
        """Elements of a row; 1 where it has no dimensions."""
        return self.shape[0] if self.shape else 1

    @property
    def nbytes(self) -> Bytes:
        """Bytes its data takes, without the padding after it (ggml.c `ggml_nbytes`)."""
        row, *rows = self.shape or (1,)
        return Bytes(row_bytes(self.type_id, row) * math.prod(rows))


@dataclass(frozen=True, slots=True)
class ArrayInfo:
    """An array that was skipped: strings, or more than `ITEMS_READ` items.

    Attributes:
        item_type: Number of the items' type (gguf.h `enum gguf_type`).
        length: How many items there are.
        longest: Bytes of the longest string; 0 for numbers.
    """

    item_type: int
    length: int
    longest: int = 0


Item = int | float | bool | str
Value = Item | tuple[Item, ...] | ArrayInfo


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """The header of a model file, all parts of a split model together.

    Attributes:
        architecture: `general.architecture`, the prefix of the model's own keys.
        values: Full key -> value; strings are whatever the file's maker wrote.
        tensors: The tensor tables of all parts, in the order of the files.
        file_bytes: Size of the files.
    """

    architecture: str
    values: Mapping[str, Value]
    tensors: tuple[Tensor, ...]
    file_bytes: Bytes

    def number(self, suffix: str, default: float | None = None) -> int | float | None:
        """Return the number under `{architecture}.{suffix}`, or `default` where the key is missing.

        Raises:
            ModelFileError: The value is not a finite number.
        """
        value = self._own(suffix)
        if value is None:
            return default
        if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
            return value
        raise self._unfit(suffix, value, "a number")

    def whole(self, suffix: str, default: int = 0) -> int:
        """Return the size or count under `{architecture}.{suffix}`, or `default` where the key is missing.

        Raises:
            ModelFileError: The value is not a whole number from 0 to `LARGEST`.
        """
        value = self._own(suffix)
        if value is None:
            return default
        if _is_size(value):
            return value
        raise self._unfit(suffix, value, f"a whole number from 0 to {LARGEST}")

    def positive(self, suffix: str) -> int:
        """Return the size or count under `{architecture}.{suffix}`, which the model cannot do without.

        Raises:
            ModelFileError: The key is missing, or its value is not a whole number from 1 to `LARGEST`.
        """
        value = self._own(suffix)
        if value is None:
            raise ModelFileError(f"its header has no {self.architecture}.{suffix}")
        if _is_size(value) and value:
            return value
        raise self._unfit(suffix, value, f"a whole number from 1 to {LARGEST}")

    def listed(self, suffix: str) -> tuple[Item, ...] | None:
        """Return the array under `{architecture}.{suffix}`; None where there is none."""
        value = self._own(suffix)
        return value if isinstance(value, tuple) else None

    def has(self, suffix: str) -> bool:
        """Return whether the header has the key `{architecture}.{suffix}`."""
        return f"{self.architecture}.{suffix}" in self.values

    def per_layer(self, suffix: str, n_layer: int, default: int = 0) -> tuple[int, ...]:
        """Return one whole number (or bool) for each of the first `n_layer` layers.

        A single number in the file, or `default` where the key is missing, counts for every layer.

        Raises:
            ModelFileError: The value is of another kind, or is an array for fewer layers.
        """
        value = self._own(suffix)
        if not 0 <= n_layer <= ITEMS_READ:
            raise ModelFileError(f"a model of {n_layer} layers is out of reach: the limit is {ITEMS_READ}")
        if value is None or _is_size(value):
            return (default if value is None else value,) * n_layer
        if isinstance(value, tuple) and len(value) >= n_layer:
            items = tuple(item for item in value[:n_layer] if _is_size(item))
            if len(items) == n_layer:
                return items
        raise self._unfit(suffix, value, f"{n_layer} whole numbers from 0 up, one a layer")

    @property
    def n_vocab(self) -> int:
        """Tokens in the vocabulary; 0 where the file does not say."""
        match self.values.get("tokenizer.ggml.tokens"):
            case ArrayInfo(length=length):
                return length
            case _:
                return self.whole("vocab_size")

    @property
    def longest_token(self) -> int:
        """Bytes of text that one token can stand for, at most; 0 where that is not known.

        Vocabularies of other kinds leave out spaces, or have one token for any unknown word.
        """
        kind, tokens = (self.values.get(f"tokenizer.ggml.{name}") for name in ("model", "tokens"))
        return tokens.longest if kind in ("llama", "gpt2") and isinstance(tokens, ArrayInfo) else 0

    def _own(self, suffix: str) -> Value | None:
        return self.values.get(f"{self.architecture}.{suffix}")

    def _unfit(self, suffix: str, value: Value, expected: str) -> ModelFileError:
        shown = repr(value[:9] if isinstance(value, tuple) else value)[:60]
        return ModelFileError(f"{self.architecture}.{suffix} is {shown}: expected {expected}")


def _is_size(value: Value) -> TypeGuard[int]:
    return isinstance(value, int) and 0 <= value <= LARGEST
