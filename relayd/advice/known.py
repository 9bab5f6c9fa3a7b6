"""Which models could run, from the catalogue and from the disk?"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from relayd.advice.files import File
from relayd.catalog import CatalogEntry, ModelFile
from relayd.errors import ModelFileError
from relayd.gguf import ModelMetadata, read_metadata, read_model
from relayd.gguf.quants import FILE_TYPES
from relayd.memory.synthetic import F16, Q4_K, Q6_K, Q8_0, header
from relayd.planner.demand import Demand, Pass
from relayd.planner.divergence import Quantization
from relayd.planner.placement import Form
from relayd.planner.quality import ModelFacts, Use, made_for
from relayd.planner.recommend import Known
from relayd.units import GIB, Bytes

PROJECTOR_RESERVE = Bytes(1 * GIB)
"""For a vision projector whose size is not known: most have 0.6 to 0.9 GiB; images take the rest."""

IMAGES = Bytes(GIB // 4)
"""For the images of a projector on this disk: what is left for them of that with one of usual size."""

SHORT_CONTEXT = 4096
"""Trained context that is assumed where the catalogue has none, in tokens."""

READ_LEAST, TABLE_MOST = 0.75, 2.0
"""Bits of a weight that is read, at least, and of one that is looked up, at most, relative to the mean."""

STORED: Mapping[str, tuple[int, int]] = {
    "F16": (F16, F16), "Q8_0": (Q8_0, Q8_0), "Q6_K": (Q6_K, Q6_K), "Q5_K_M": (13, Q6_K), "Q4_0": (2, Q6_K),
    "Q4_1": (3, Q6_K), "MXFP4_MOE": (39, Q8_0), "UD-IQ2_M": (22, 13),
}  # fmt: skip
"""Quantisation -> types of most of its matrices and of its head; others are made like Q4_K_M."""


def known_models(
    entries: Iterable[CatalogEntry], files: Sequence[File], build: int | None, use: Use
) -> list[Known]:
    """Return every model of the catalogue and of the disk, ready to be fitted.

    Args:
        entries: The catalogue.
        files: What is on disk.
        build: llama.cpp's build number of the engine; None does not rule out any model.
        use: What for: vision needs room for a projector.
    """
    known = [_known(entry, files, build, use) for entry in entries if entry.files and entry.dimensions]
    return [*known, *(_own(file) for file in files if file.entry is None)]


def _known(entry: CatalogEntry, files: Sequence[File], build: int | None, use: Use) -> Known:
    here = {file.quant: file for file in files if file.entry is entry}
    computed: dict[Pass, Bytes] = {}
    reserve = PROJECTOR_RESERVE if use is Use.VISION else Bytes(0)
    forms = [_form(entry, listed, here.get(listed.quant), computed, reserve) for listed in entry.files]
    listed_too = {listed.quant for listed in entry.files}
    forms += [_disk_form(file, entry, reserve) for quant, file in here.items() if quant not in listed_too]
    needed = entry.min_engine_build
    old = needed is not None and build is not None and build < needed
    obstacle = f"it needs llama.cpp b{needed}, and this one is b{build}" if old else ""
    if not here and not _is_placed(entry):
        obstacle = "no file of it is known to fetch"
    return Known(
        entry.name,
        facts_of(entry),
        tuple(forms),
        license=entry.license,
        obstacle=obstacle,
    )


def _is_placed(entry: CatalogEntry) -> bool:
    """Return whether a repository or an address of a model's files is known."""
    return bool(entry.repos or entry.unchecked_repos or any(one.repo or one.url for one in entry.files))


def facts_of(entry: CatalogEntry) -> ModelFacts:
    """Return what quality depends on."""
    return ModelFacts(
        parameters=float(entry.parameters or entry.published_parameters or 1),
        active_parameters=entry.active_parameters,
        released=entry.released,
        capabilities=frozenset(entry.capabilities),
        context=entry.context or SHORT_CONTEXT,
        benchmarks=tuple((one.test, one.score) for one in entry.benchmarks),
    )


def _form(
    entry: CatalogEntry, listed: ModelFile, file: File | None, computed: dict[Pass, Bytes], reserve: Bytes
) -> Form:
    size = file.metadata.file_bytes if file else listed.bytes
    parameters = entry.parameters or entry.published_parameters or 0
    trained = "qat" in f"{listed.repo}/{listed.file}".casefold() or "MXFP4" in listed.quant
    quantization = Quantization(
        listed.quant,
        bits_per_weight=size * 8 / parameters if parameters else 0.0,
        imatrix=listed.quant.startswith("UD-"),
        trained=trained,
    )

    @functools.cache
    def build() -> Demand:
        if file:
            beside = projector_bytes(file.projector) or reserve
            return Demand(file.metadata, beside=beside, computed=computed)
        return Demand(
            catalogue_header(entry, listed.quant), file_bytes=listed.bytes, beside=reserve, computed=computed
        )

    share = _table_share(entry)
    return Form(
        quantization,
        size,
        size * READ_LEAST * _read_share(entry),
        build,
        sparse=entry.active_parameters is not None,
        aside=float("inf") if share is None or file else TABLE_MOST * share * size,
    )


def _table_share(entry: CatalogEntry) -> float | None:
    """Return the part of the weights that are looked up; None where the shape is not known."""
    shape, total = entry.dimensions, float(entry.parameters or entry.published_parameters or 0)
    if shape is None or not total:
        return None
    rows = shape.n_embd_per_layer * shape.n_layer + shape.n_embd
    return rows * shape.n_vocab / total


def _read_share(entry: CatalogEntry) -> float:
    """Return the part of the weights that a token reads at least: what works on it, without tables."""
    shape, total = entry.dimensions, float(entry.parameters or entry.published_parameters or 0)
    if shape is None or not total:
        return 0.0
    tables = shape.n_embd_per_layer * shape.n_layer * shape.n_vocab
    tables += 0 if shape.tied else shape.n_embd * shape.n_vocab
    # Counts of working weights leave a table out at times and at times do not.
    return max(0.0, min(entry.active_parameters or total, total) - tables) / total


def catalogue_header(entry: CatalogEntry, quant: str) -> ModelMetadata:
    """Return the header that a file of the catalogue would have, as far as memory depends on it.

    Raises:
        ModelFileError: The catalogue has no dimensions of it.
    """
    if entry.dimensions is None:
        raise ModelFileError(f"the catalogue does not know the shape of {entry.name}")
    weights, head = STORED.get(quant, (Q4_K, Q6_K))
    return header(entry.dimensions, entry.context or SHORT_CONTEXT, weights=weights, head=head)


def _disk_form(file: File, entry: CatalogEntry | None, reserve: Bytes) -> Form:
    parameters = (entry.parameters if entry else None) or _elements(file.metadata)
    quantization = Quantization(file.quant, bits_per_weight=file.metadata.file_bytes * 8 / parameters)
    beside = projector_bytes(file.projector) or reserve
    build = functools.cache(functools.partial(Demand, file.metadata, beside=beside))
    return Form(quantization, file.metadata.file_bytes, 0.0, build)


def projector_bytes(projector: Path | None) -> Bytes:
    """Return what a projector takes on the first device; 0 without one.

    Raises:
        ModelFileError: It is missing or damaged.
    """
    if projector is None:
        return Bytes(0)
    return Bytes(sum(tensor.nbytes for tensor in read_metadata(projector).tensors) + IMAGES)


def configured_form(
    path: Path,
    projector: Path | None = None,
    loras: Sequence[Path] = (),
    draft: Path | None = None,
    build_number: int | None = None,
) -> Form:
    """Return a file with what goes with it, ready to be fitted.

    Args:
        path: The model.
        projector: The file with which it takes images or sound.
        loras: Its adapters.
        draft: The model that drafts for it.
        build_number: llama.cpp's of the engine; None while it is not known.

    Raises:
        ModelFileError: One of them is missing or damaged, or the model is none to serve.
    """
    metadata = read_model(path, build_number)
    kind = metadata.values.get("general.file_type")
    quantization = Quantization(FILE_TYPES.get(kind, "") if isinstance(kind, int) else "")
    adapters = sum(tensor.nbytes for lora in loras for tensor in read_metadata(lora).tensors)
    drafting = read_metadata(draft) if draft else None

    @functools.cache
    def build() -> Demand:
        helper = Demand(drafting) if drafting else None
        return Demand(metadata, beside=projector_bytes(projector) + adapters, draft=helper).check()

    return Form(quantization, metadata.file_bytes, 0.0, build)


def _elements(model: ModelMetadata) -> int:
    return max(1, Demand(model).parameters)


def _own(file: File) -> Known:
    """Return a model that only the disk has."""
    embeds = made_for(file.metadata) is Use.EMBEDDING
    return Known(
        file.name,
        ModelFacts(_elements(file.metadata), capabilities=frozenset({"embedding" if embeds else "chat"})),
        (_disk_form(file, None, Bytes(0)),),
        has_template="tokenizer.chat_template" in file.metadata.values,
    )
