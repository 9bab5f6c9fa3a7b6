"""Headers of every kind of model file, small enough to be damaged and judged by the thousand."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import msgspec

from relayd.catalog import Folders, load_catalog, shipped_folder
from relayd.catalog.entry import Dimensions
from relayd.errors import ModelFileError
from relayd.gguf.metadata import Tensor
from relayd.gguf.quants import QUANTS
from relayd.memory.synthetic import header as synthetic
from tests.fuzz import headers
from tests.fuzz.headers import Payload, TensorLine, header

LAYERS = 3
"""Of each original: enough for every kind of layer."""

EXPERTS = 4
"""Of each mixture."""

ALIGNMENT = 32


@dataclass(frozen=True, slots=True)
class Line:
    """A tensor without its place."""

    name: str
    shape: tuple[int, ...]
    type_id: int

    def named(self, name: str) -> "Line":
        return replace(self, name=name)

    def shaped(self, shape: tuple[int, ...], type_id: int) -> "Line":
        return replace(self, shape=shape, type_id=type_id)


@dataclass(slots=True)
class Original:
    """The values and tensors of one file."""

    architecture: str
    values: dict[str, Any]
    tensors: list[Line]

    @property
    def keys(self) -> list[str]:
        if not self.values:
            self.values["general.name"] = "x"
        return [*self.values]

    def copy(self) -> "Original":
        return Original(self.architecture, dict(self.values), list(self.tensors))

    def rename(self, architecture: str) -> None:
        """Make it one of another architecture, whose keys it has too."""
        begin = f"{self.architecture}."
        self.values = {
            f"{architecture}.{key.removeprefix(begin)}" if key.startswith(begin) else key: value
            for key, value in self.values.items()
        }
        self.architecture = architecture

    def written(self) -> tuple[bytearray, int]:
        """Return the bytes of its header, and the size of the whole file."""
        values = [(key, *_typed(value)) for key, value in self.values.items()]
        lines, offset = [], 0
        for one in self.tensors:
            lines.append(TensorLine(one.name, one.shape, one.type_id, offset % 2**64))
            offset += -(-_nbytes(one) // ALIGNMENT) * ALIGNMENT
        data = header(values, lines, architecture=self.architecture).data
        return data, len(data) + ALIGNMENT + offset


@cache
def originals() -> tuple[Original, ...]:
    """Return one file of each architecture of the catalogue, and of what is no model."""
    return (*_models(), *_others())


def _models() -> Iterator[Original]:
    nowhere = shipped_folder() / "none"
    seen = set()
    for entry in load_catalog(Folders(shipped_folder(), nowhere, nowhere)):
        if entry.dimensions and entry.dimensions.architecture not in seen:
            seen.add(entry.dimensions.architecture)
            found = synthetic(_small(entry.dimensions), 4096)
            lines = [Line(one.name, one.shape, one.type_id) for one in found.tensors]
            extra = {
                "general.name": entry.title,
                "general.file_type": 15,
                "tokenizer.ggml.tokens": ("a", "b"),
            }
            yield Original(found.architecture, {**found.values, **extra}, lines)


def _small(dims: Dimensions) -> Dimensions:
    """Return a shape with fewer layers and experts, and a vocabulary of two hundred."""

    def cut(value: int | tuple[int, ...]) -> int | tuple[int, ...]:
        return value[:LAYERS] if isinstance(value, tuple) else value

    experts = dims.experts and msgspec.structs.replace(
        dims.experts,
        n_expert=min(EXPERTS, dims.experts.n_expert),
        n_used=min(EXPERTS // 2, dims.experts.n_used),
        n_layer=min(LAYERS, dims.experts.n_layer),
    )
    recurrent = dims.recurrent and msgspec.structs.replace(
        dims.recurrent, n_layer=min(LAYERS - 2, dims.recurrent.n_layer)
    )
    return msgspec.structs.replace(
        dims,
        n_layer=min(LAYERS, dims.n_layer),
        n_head_kv=cut(dims.n_head_kv),
        n_ff=cut(dims.n_ff),
        n_vocab=256,
        experts=experts,
        recurrent=recurrent,
    )


def _others() -> Iterator[Original]:
    """Yield files that are no models: of each kind that is found in folders of models."""
    vision = {"general.type": "mmproj", "clip.has_vision_encoder": True, "clip.vision.projection_dim": 64}
    vision |= {
        "clip.vision.block_count": 2,
        "clip.projector_type": "gemma3",
        "clip.vision.embedding_length": 32,
    }
    yield Original(
        "clip", vision, [Line("v.blk.0.attn_q.weight", (32, 32), 1), Line("mm.0.weight", (32, 64), 1)]
    )
    lora = {"general.type": "adapter", "adapter.type": "lora", "adapter.lora.alpha": 16.0}
    yield Original("llama", lora, [Line(f"blk.0.attn_q.weight.lora_{part}", (64, 8), 0) for part in "ab"])
    steer = {"controlvector.model_hint": "llama", "controlvector.layer_count": 2}
    yield Original("controlvector", steer, [Line("direction.1", (64,), 0)])
    yield Original(
        "flux", {"general.file_type": 2}, [Line("double_blocks.0.img_attn.qkv.weight", (256, 768), 2)]
    )
    yield Original("llama", {"llama.block_count": 2, "tokenizer.ggml.tokens": ("a",) * 300}, [])
    heads = {"eagle3.block_count": 1, "eagle3.embedding_length": 64, "eagle3.attention.head_count": 4}
    yield Original(
        "eagle3", heads, [Line("fc.weight", (192, 64), 1), Line("blk.0.attn_q.weight", (128, 64), 1)]
    )
    yield Original(
        "",
        {"general.type": "imatrix", "imatrix.datasets": ("a",)},
        [Line("blk.0.attn_q.weight.in_sum2", (8,), 0)],
    )


def _typed(value: Any) -> tuple[int, Payload]:
    """Return a value with the type that holds it."""
    match value:
        case bool():
            return headers.BOOL, value
        case int():
            kind = headers.INT64 if value < 0 else headers.UINT32 if value < 2**32 else headers.UINT64
            return kind, max(-(2**63), min(value, 2**64 - 1))
        case float():
            return headers.FLOAT64, value
        case tuple():
            kinds = [_typed(item)[0] for item in value]
            kind = max(kinds, default=headers.UINT32)
            if headers.STRING in kinds:
                return headers.ARRAY, (headers.STRING, [str(item) for item in value])
            if headers.ARRAY in kinds:
                return headers.STRING, "nested"
            if headers.INT64 in kinds and headers.FLOAT64 not in kinds:
                return headers.ARRAY, (
                    headers.INT64,
                    [max(-(2**63), min(int(item), 2**63 - 1)) for item in value],
                )
            return headers.ARRAY, (
                kind,
                [min(item, 2**64 - 1) if kind == headers.UINT64 else item for item in value],
            )
    return headers.STRING, str(value)


def _nbytes(line: Line) -> int:
    try:
        return Tensor(line.name, line.shape, line.type_id, 0).nbytes
    except ModelFileError:  # a row that its type cannot hold has no size
        return QUANTS[0].block_bytes
