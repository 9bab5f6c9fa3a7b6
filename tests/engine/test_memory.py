"""The engine is asked on a header, answers once, and agrees with the prediction."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from relayd.catalog import CatalogEntry, Folders, load_catalog, shipped_folder
from relayd.clock import SystemClock
from relayd.engine import Engine
from relayd.engine.explain import explain
from relayd.engine.memory import MemoryProbe, breakdown, digest, probe_flags
from relayd.errors import EngineError
from relayd.gguf.metadata import ModelMetadata
from relayd.gguf.reader import read_metadata
from relayd.gguf.writer import write_sparse
from relayd.memory.architectures import HEADLESS
from relayd.memory.predict import predict
from relayd.memory.setup import Setup
from relayd.memory.synthetic import header
from relayd.units import MIB

pytestmark = pytest.mark.real

SETUPS = (
    Setup(context=8193, slots=0),
    Setup(context=32768, slots=4, micro_batch=2048, type_k="q8_0", type_v="q8_0"),
    Setup(context=4096, slots=1, batch=512, flash_attention=False),
)


@pytest.fixture
def probe(engine: Engine, tmp_path: Path) -> MemoryProbe:
    return MemoryProbe(engine, tmp_path / "cache", os.environ)


def smallest_of_each_architecture(folder: Path) -> Iterator[tuple[str, ModelMetadata]]:
    """Yield the catalogue's model with the fewest layers for each architecture it knows completely."""
    folders = Folders(shipped=shipped_folder(), state=folder, own=folder, cache=None)
    smallest: dict[str, CatalogEntry] = {}
    for entry in load_catalog(folders):
        dims = entry.dimensions
        if dims is None or dims.unknown:
            continue
        known = smallest.get(dims.architecture)
        if known is None or known.dimensions is None or dims.n_layer < known.dimensions.n_layer:
            smallest[dims.architecture] = entry
    for name, entry in sorted(smallest.items()):
        if entry.dimensions is not None:
            yield name, header(entry.dimensions, entry.context or 8192)


def test_the_prediction_is_the_engines_own_number_for_forty_architectures(
    engine: Engine, tmp_path: Path
) -> None:
    misses, compared = [], set()
    for name, model in smallest_of_each_architecture(tmp_path):
        file = tmp_path / f"{name}.gguf"
        write_sparse(file, model)
        for setup in SETUPS:
            prediction = predict(model, setup)
            if not prediction.closed_form:
                continue
            row = breakdown(engine.path, file, probe_flags(setup), os.environ)[0]
            parts = (prediction.part("cpu", "model"), prediction.part("cpu", "context"))
            allowed = max(2, 0.15 * row.compute) if model.whole("expert_count") else 2
            wrong = abs(prediction.part("cpu", "compute") // MIB - row.compute) > allowed
            compared.add(name)
            if wrong or (row.model, row.context) != tuple(part // MIB for part in parts):
                misses.append((name, setup, row))

    assert [] == misses
    assert 40 <= len(compared)


@pytest.mark.parametrize("micro_batch", [512, 2048])
def test_an_encoder_has_no_head_and_takes_what_the_engine_says(
    engine: Engine, tmp_path: Path, micro_batch: int
) -> None:
    encoders = {name: model for name, model in smallest_of_each_architecture(tmp_path) if name in HEADLESS}
    setup = Setup(context=2048, slots=4, micro_batch=micro_batch, embeddings=True)
    predicted, said = {}, {}
    for name, model in encoders.items():
        file = tmp_path / f"{name}.gguf"
        write_sparse(file, model)
        predicted[name] = predict(model, setup).part("cpu", "compute") // MIB
        said[name] = breakdown(engine.path, file, probe_flags(setup), os.environ)[0].compute

    assert {"bert", "gemma-embedding", "nomic-bert"} <= encoders.keys()
    assert said == predicted


def test_a_header_with_a_hole_takes_what_the_file_takes(
    engine: Engine, tiny_model: Path, tmp_path: Path
) -> None:
    hollow = tmp_path / "hollow.gguf"
    write_sparse(hollow, read_metadata(tiny_model))
    flags = probe_flags(SETUPS[0])

    said = [breakdown(engine.path, file, flags, os.environ) for file in (tiny_model, hollow)]
    assert said[0] == said[1]
    assert hollow.stat().st_blocks * 512 < tiny_model.stat().st_size


def test_an_answer_is_remembered_for_the_same_header_and_flags(
    engine: Engine, probe: MemoryProbe, tiny_model: Path, tmp_path: Path
) -> None:
    model = read_metadata(tiny_model)
    first = probe.ask(tiny_model, model, SETUPS[0])
    nothing = msgspec.structs.replace(engine.features, flags=engine.features.flags)
    deaf = MemoryProbe(Engine(engine.path, engine.source, nothing), tmp_path / "cache", os.environ)

    assert first == deaf.ask(tmp_path / "missing.gguf", model, SETUPS[0])
    with pytest.raises(EngineError):
        deaf.ask(tmp_path / "missing.gguf", model, SETUPS[1])


def test_an_engine_that_cannot_tell_is_not_started(engine: Engine, tmp_path: Path, tiny_model: Path) -> None:
    old = msgspec.structs.replace(engine.features, flags=frozenset({"--port"}))
    probe = MemoryProbe(Engine(engine.path, engine.source, old), tmp_path, os.environ)

    with pytest.raises(EngineError, match="--log-jsonl"):
        probe.ask(tiny_model, read_metadata(tiny_model), SETUPS[0])


def test_a_file_the_engine_refuses_is_an_error_with_its_words(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "nothing.gguf"
    file.write_bytes(b"GGUF")

    with pytest.raises(EngineError, match=r"nothing\.gguf"):
        breakdown(engine.path, file, probe_flags(SETUPS[0]), os.environ)


def test_a_silent_engine_is_given_up(tmp_path: Path) -> None:
    engine = tmp_path / "llama-server"
    engine.write_text("#!/bin/sh\nexec sleep 60\n")
    engine.chmod(0o700)

    with pytest.raises(EngineError, match="no output"):
        breakdown(engine, tmp_path, (), os.environ, timeout_seconds=0.2)


def test_headers_are_alike_whatever_the_file_is_called(tiny_model: Path, slow_model: Path) -> None:
    tiny, slow = read_metadata(tiny_model), read_metadata(slow_model)

    assert digest(tiny) == digest(read_metadata(tiny_model))
    assert digest(tiny) != digest(slow)


def test_an_explanation_has_both_numbers(probe: MemoryProbe, tiny_model: Path) -> None:
    found = explain(tiny_model, SETUPS[2], probe, SystemClock())

    assert all(cell.agrees for cell in found.cells())
    assert ["model", "context", "compute"] == [cell.part for cell in found.cells()]
    assert found.document()["confirmed"]
