"""Where the weights of a model are, and how much they take there."""

import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from relayd.gguf.metadata import ModelMetadata, Tensor
from relayd.gguf.quants import row_bytes
from relayd.memory.graph import ALIGNMENT
from relayd.memory.setup import Setup
from relayd.memory.shape import Shape
from relayd.units import Bytes

CPU = "cpu"
"""The key of the device that always exists."""

INPUTS = frozenset({"token_embd.weight", "position_embd.weight", "token_types.weight"})
"""Tables that tokens are looked up in; they stay on the host (llama-model.cpp `dev_input`)."""

PER_LAYER_INPUT = "per_layer_token_embd.weight"
"""Gemma's table of embeddings for every layer; an input too."""

FIRST_LAYER = ("token_embd_norm", "per_layer_model_proj", "per_layer_proj_norm", "rope_f")
"""Tensors outside all blocks that go where layer 0 goes."""

QUANTISED_ROW = 512
"""Weights; CUDA reads past the end of a quantized row up to a multiple of this (ggml-cuda.cu)."""

HEAD_FIRST = frozenset({"gemma3n", "gemma4"})
"""Architectures that load the head before the embedding, so that a tied one is there twice even on a CPU."""

_BLOCK = re.compile(r"(?:enc\.|dec\.)?blk\.(\d+)\.")
_EXPERTS = re.compile(r"\.ffn_(up|down|gate|gate_up)_(ch|)exps")
"""What `--n-cpu-moe` keeps in RAM (common/common.h `LLM_FFN_EXPS_REGEX`)."""

_CONVOLUTION = ("ssm_conv1d", "shortconv.conv", "ffn_gate_tid2eid")


@dataclass(frozen=True, slots=True)
class Placed:
    """Weights of one kind on one device.

    Attributes:
        kind: `embedding`, `per-layer embedding`, `head`, `expert`, `layer`.
        device: Key of the device.
        repacked: Whether the CPU keeps them in another order, in memory of their own.
        nbytes: What they take there, padding included.
    """

    kind: str
    device: str
    repacked: bool
    nbytes: Bytes


def repacked_types(arch: str, instruction_sets: AbstractSet[str]) -> frozenset[int]:
    """Return the types that the CPU backend copies into an order of its own by default.

    Source: ggml-cpu/repack.cpp `ggml_repack_get_optimal_repack_type` of b11434. Builds with AMX keep some
    types in a third order, which this does not tell apart.
    """
    if arch == "x86_64":
        types = {2, 12, 20, 39} if "avx2" in instruction_sets else set[int]()
        return frozenset(types | {10} if "avx512f" in instruction_sets else types)
    if instruction_sets & {"asimddp", "i8mm"}:
        return frozenset({2, 8, 12, 13, 14, 20, 39, 41})
    return frozenset()


def placed_weights(model: ModelMetadata, shape: Shape, setup: Setup) -> list[Placed]:
    """Return the weights of a model by kind and place."""
    devices = layer_devices(shape, setup)
    sums: dict[tuple[str, str, bool], int] = {}

    def add(tensor: Tensor, kind: str, device: str, *, lookup: bool) -> None:
        repacked = device == CPU and not lookup and repacks(tensor, setup.repacked)
        key = (kind, device, repacked)
        sums[key] = sums.get(key, 0) + stored(tensor, device)

    for tensor in model.tensors:
        for kind, device in homes(tensor, shape, setup, devices):
            add(tensor, kind, device, lookup=kind.endswith("embedding"))
    for tensor, device in tied_heads(model, devices):
        again = model.architecture in HEAD_FIRST or repacks(tensor, setup.repacked)
        if device != CPU or again:
            add(tensor, "head", device, lookup=False)
    return [Placed(*key, Bytes(nbytes)) for key, nbytes in sums.items()]


def homes(tensor: Tensor, shape: Shape, setup: Setup, devices: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield the kind of a tensor with each device that holds it; none for what is not loaded."""
    name = tensor.name
    if name in INPUTS:
        yield "embedding", CPU
    elif name == PER_LAYER_INPUT:
        yield "per-layer embedding", CPU
    elif found := _BLOCK.match(name):
        index = int(found[1])
        if index >= shape.n_layers and index < shape.n_blocks and not shape.keeps_drafts:
            return
        on_cpu = _EXPERTS.search(name) and index < setup.experts_on_cpu
        device = CPU if on_cpu else devices[min(index, len(devices) - 1)]
        yield ("expert" if _EXPERTS.search(name) else "layer"), device
    elif name.startswith("rope_f"):
        for device in dict.fromkeys(devices[:-1]):
            yield "layer", device
    elif name.startswith(FIRST_LAYER):
        yield "layer", devices[0]
    else:
        yield "head", devices[-1]


def layer_devices(shape: Shape, setup: Setup) -> tuple[str, ...]:
    """Return the device of each block, and last that of the head (llama-model.cpp `get_layer_buft_list`)."""
    count = shape.n_blocks + 1
    if not setup.gpus:
        return (CPU,) * count
    start = max(count - setup.gpu_layers, 0)
    active = min(setup.gpu_layers, count)
    total = sum(gpu.share for gpu in setup.gpus)
    bounds, reached = [], 0.0
    for gpu in setup.gpus:
        reached += gpu.share / total
        bounds.append(reached)
    return tuple(
        CPU if index < start else setup.gpus[_upper(bounds, (index - start) / active)].key
        for index in range(count)
    )


def _upper(bounds: list[float], value: float) -> int:
    return next((index for index, bound in enumerate(bounds) if bound > value), len(bounds) - 1)


def tied_heads(model: ModelMetadata, devices: tuple[str, ...]) -> Iterator[tuple[Tensor, str]]:
    """Yield the embedding as the head of a model without one, where that is another copy of it."""
    tensors: Mapping[str, Tensor] = {tensor.name: tensor for tensor in model.tensors}
    if "output.weight" not in tensors and "token_embd.weight" in tensors:
        yield tensors["token_embd.weight"], devices[-1]


def repacks(tensor: Tensor, types: AbstractSet[int]) -> bool:
    """Return whether the CPU backend keeps a weight in another order."""
    if tensor.type_id not in types or len(tensor.shape) < 2 or any(n in tensor.name for n in _CONVOLUTION):
        return False
    stacked = len(tensor.shape) > 2 and tensor.shape[2] > 1
    return tensor.shape[1] % 8 == 0 and (not stacked or bool(_EXPERTS.search(tensor.name)))


def stored(tensor: Tensor, device: str) -> int:
    """Return the bytes a weight takes on `device`, aligned as its backend asks."""
    nbytes, unit = int(tensor.nbytes), ALIGNMENT
    if device.startswith("cuda"):
        unit = 128
        rest = tensor.row % QUANTISED_ROW
        if rest and len(tensor.shape) > 1 and tensor.type_id not in {0, 1, 30}:
            nbytes += row_bytes(tensor.type_id, QUANTISED_ROW - rest)
    return -(-nbytes // unit) * unit
