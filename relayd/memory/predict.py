"""Memory prediction: how much a model takes, on which device, and why.

Every term is one line of the table that `relayd explain` prints, and names where its number comes from.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from relayd.gguf.metadata import ModelMetadata
from relayd.memory.cache import cache_bytes, indexer_bytes, state_bytes
from relayd.memory.compute import compute_bytes, grown_bytes, margin_bytes, unknown_compute
from relayd.memory.setup import Extent, Setup
from relayd.memory.shape import Shape, read_shape
from relayd.memory.weights import CPU, layer_devices, placed_weights
from relayd.units import MIB, Bytes

Part = Literal["model", "context", "compute", "beside", "limit"]
"""The column of the engine's breakdown a term belongs to; `beside` is in none of them.

`limit` is what may come on top as prompts come: totals leave it out.
"""

Basis = Literal["measured", "modelled", "catalogue"]
"""What a number rests on: a file or an experiment, the engine's rules, or dimensions of the catalogue."""

CUDA_OVERHEAD = Bytes(457 * MIB)
"""What a CUDA context and its libraries take on each device.

The minimum that Ollama reserves. It depends on driver and card, is in no breakdown, and was not measured
for relayd: the ledger replaces it by what NVML shows after a load.
"""

PROCESS = Bytes(9 * MIB)
"""What a llama-server takes before it has a model (measured, b11434, CPU build, Pss)."""

MARGIN = "margin, not confirmed"
"""The name of the term that pads figures which are only roughly right, until the engine confirms them."""

CHECKPOINTS, CHECKPOINT_SPACING = 32, 8192
"""Most states a slot keeps to go back to, and tokens between two (`--ctx-checkpoints` and its spacing)."""


@dataclass(frozen=True, slots=True)
class Term:
    """One reason for memory.

    Attributes:
        name: What it is.
        device: Where it is: `cpu`, `cuda0`.
        nbytes: How much it takes.
        source: Where the number is from.
        part: Its column in the engine's breakdown.
        basis: What the number rests on.
        repacked: Whether it is weights in the CPU's own order, which the engine reports by themselves.
    """

    name: str
    device: str
    nbytes: Bytes
    source: str
    part: Part
    basis: Basis = "modelled"
    repacked: bool = False


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model takes in one setup.

    Attributes:
        terms: The reasons; all but limits add up to the whole.
        unknown: What has no closed form here, and why; the engine has to be asked.
    """

    terms: tuple[Term, ...]
    unknown: tuple[str, ...] = ()

    @property
    def closed_form(self) -> bool:
        """Whether every term could be derived."""
        return not self.unknown

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices that take part, GPUs first."""
        return tuple(sorted({term.device for term in self.terms}, key=lambda key: (key == CPU, key)))

    def total(self, device: str) -> Bytes:
        """Return what `device` has to hold in all; what is a limit only does not count."""
        return Bytes(
            sum(term.nbytes for term in self.terms if term.device == device and term.part != "limit")
        )

    def limit(self, device: str) -> Bytes:
        """Return what may come on top of the total, at most."""
        return Bytes(sum(term.nbytes for term in self.terms if (term.device, term.part) == (device, "limit")))

    def part(self, device: str, part: Part, *, repacked: bool = False) -> Bytes:
        """Return one cell of the engine's breakdown, in bytes."""
        return Bytes(
            sum(
                term.nbytes
                for term in self.terms
                if (term.device, term.part, term.repacked) == (device, part, repacked)
            )
        )


def predict(
    model: ModelMetadata,
    setup: Setup,
    *,
    basis: Basis = "measured",
    projector: ModelMetadata | None = None,
    draft: ModelMetadata | None = None,
    loras: Iterable[ModelMetadata] = (),
) -> Prediction:
    """Return what `model` takes in `setup`.

    Args:
        model: Its header.
        setup: How it runs.
        basis: What the header rests on: a file, or the catalogue.
        projector: The header of its multimodal projector, if it has one.
        draft: The header of the model that drafts for it, if one does.
        loras: The headers of its adapters.

    Raises:
        ModelFileError: A header lacks what its architecture needs.
    """
    shape = read_shape(model)
    asked = shape.extent(setup)
    terms = [*_model(model, shape, setup, asked, basis), *beside(shape, setup, asked)]
    terms += _later(model, shape, setup, asked)
    unknown = [*filter(None, (shape.unknown, unknown_compute(shape)))]
    if projector is not None:
        terms.append(_beside("projector weights", projector, setup))
        unknown.append("the buffer in which the projector encodes images depends on their size")
    if draft is not None:
        terms += _draft(draft, setup)
    terms += [_beside("adapter weights", lora, setup) for lora in loras]
    return Prediction(tuple(terms), tuple(unknown))


def _model(model: ModelMetadata, shape: Shape, setup: Setup, asked: Extent, basis: Basis) -> Iterator[Term]:
    """Yield the terms that the engine's own breakdown has."""
    for placed in placed_weights(model, shape, setup):
        table = "tensor table" if basis == "measured" else "dimensions"
        source = table + (", copied by the CPU backend" if placed.repacked else "")
        name = f"{placed.kind} weights" + (", repacked" if placed.repacked else "")
        yield Term(name, placed.device, placed.nbytes, source, "model", basis, placed.repacked)
    devices = layer_devices(shape, setup)
    yield from _cache(shape, setup, asked, devices)
    computed = compute_bytes(model, shape, setup, asked)
    for device in dict.fromkeys(devices):
        yield Term("compute buffer", device, computed, _compute_source(device), "compute")
    if CPU not in devices:
        host = Bytes(4 * asked.tokens * shape.n_embd)
        yield Term("compute buffer", CPU, host, "embedded tokens; not measured beside GPUs", "compute")


def _later(model: ModelMetadata, shape: Shape, setup: Setup, asked: Extent) -> Iterator[Term]:
    """Yield what buffers take beyond the engine's first answer, and the margin of figures that are rough."""
    grown, rough = grown_bytes(model, shape, setup, asked), margin_bytes(model, shape, setup, asked)
    for device in dict.fromkeys(layer_devices(shape, setup)):
        if grown:
            source = "the same graph once prompts are as long as the context"
            yield Term("larger passes", device, grown, source, "beside")
        if rough:
            source = "its graph is not derived here: the engine's answer takes the place of this"
            yield Term(MARGIN, device, rough, source, "beside")


def _compute_source(device: str) -> str:
    replay = "graph of the largest batch, allocated as ggml-alloc.c does"
    return replay if device == CPU else f"{replay} on a CPU; not measured on GPUs"


def _cache(shape: Shape, setup: Setup, asked: Extent, devices: tuple[str, ...]) -> Iterator[Term]:
    """Yield what the layers keep, added up for each device and kind of layer."""
    sums: dict[tuple[str, str, str], int] = {}
    for device, layer in zip(devices[:-1], shape.layers, strict=True):
        cells = asked.window_cells if layer.window else asked.cells
        kind = "sliding-window KV cache" if layer.window else "KV cache"
        formula = f"{cells} cells x {asked.streams} of K {setup.type_k} and V {setup.type_v}"
        for name, source, nbytes in (
            (kind, formula, cache_bytes(shape, layer, setup, asked)),
            ("indexer cache", f"{asked.cells} cells x {asked.streams}", indexer_bytes(layer, setup, asked)),
            ("recurrent state", f"F32, {asked.sequences} slots", state_bytes(layer, setup, asked)),
        ):
            if nbytes:
                key = (device, name, source)
                sums[key] = sums.get(key, 0) + nbytes
    for (device, name, source), total in sums.items():
        yield Term(name, device, Bytes(total), source, "context")


def beside(shape: Shape, setup: Setup, asked: Extent) -> Iterator[Term]:
    """Yield what a llama-server takes beside its breakdown."""
    outputs = max(asked.outputs, asked.sequences)
    logits = Bytes(4 * shape.n_vocab * outputs + (4 * shape.n_embd * outputs if setup.embeddings else 0))
    yield Term("output buffer", CPU, logits, "vocabulary x slots x F32 (llama-context.cpp)", "beside")
    if setup.cache_ram_mib and shape.cached:
        limit = Bytes(setup.cache_ram_mib * MIB)
        yield Term("prompt cache", CPU, limit, "--cache-ram: a limit, filled as prompts come", "limit")
    if checkpoints := _checkpoints(shape, setup, asked):
        source = "an estimate: one each 8192 tokens and two at the end of a prompt, at most 32 a slot"
        yield Term("context checkpoints", CPU, checkpoints, source, "beside")
    yield Term("process", CPU, PROCESS, "Pss of a CPU build of b11434 without a model", "beside", "measured")
    for gpu in setup.gpus:
        if gpu.key.startswith("cuda"):
            source = "CUDA context: what Ollama reserves, not measured by relayd"
            yield Term("device context", gpu.key, CUDA_OVERHEAD, source, "beside")


def _checkpoints(shape: Shape, setup: Setup, asked: Extent) -> Bytes:
    """Return what the states take that a server keeps of models that cannot drop single tokens.

    Those are models with sliding layers or a recurrent state; each slot keeps its window, or its state, at
    several places of its prompt (server-context.cpp `create_checkpoint`).
    """
    tokens = min(shape.window, asked.cells)
    one = 0
    for layer in shape.layers:
        if layer.window and layer.key and not setup.window_full and asked.window_cells:
            one += cache_bytes(shape, layer, setup, asked) // (asked.window_cells * asked.streams) * tokens
        one += 4 * layer.state
    count = min(CHECKPOINTS, asked.cells // CHECKPOINT_SPACING + 2)
    return Bytes(one * count * asked.sequences)


def _beside(name: str, file: ModelMetadata, setup: Setup) -> Term:
    """Return the weights of a file that goes with the model to its first device."""
    device = setup.gpus[0].key if setup.gpus else CPU
    nbytes = Bytes(sum(tensor.nbytes for tensor in file.tensors))
    return Term(name, device, nbytes, "its tensor table", "beside", "measured")


def _draft(draft: ModelMetadata, setup: Setup) -> Iterator[Term]:
    shape = read_shape(draft)
    asked = shape.extent(setup)
    for term in _model(draft, shape, setup, asked, "measured"):
        yield replace(term, name=f"draft: {term.name}", part="beside")
