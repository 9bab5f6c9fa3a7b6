"""How far is the predicted memory from what the engine itself says?

    python -m tests.oracle.memory [--models DIR ...] [--seed N] [--share S] [--workers N]

Asks a real llama-server, on headers without weights, about every shape of the catalogue and about every GGUF
in the folders given; `test-llama-archs -o DIR` of a full llama.cpp build writes a tiny model of each
architecture. Prints how many cases agree to the MiB, the worst errors, and every miss by name.
"""

import argparse
import itertools
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relayd.catalog import Folders, load_catalog, shipped_folder
from relayd.engine.memory import Row, breakdown, probe_flags
from relayd.errors import EngineError, ModelFileError
from relayd.gguf.metadata import ModelMetadata
from relayd.gguf.reader import read_metadata
from relayd.gguf.writer import write_sparse
from relayd.hardware import probe
from relayd.memory.predict import predict
from relayd.memory.refused import refused_by_engine
from relayd.memory.setup import Setup
from relayd.memory.shape import read_shape
from relayd.memory.synthetic import header
from relayd.memory.weights import repacked_types
from relayd.units import MIB

REPACKED = repacked_types(platform.machine(), probe().cpu.flags)
CONTEXTS = (4096, 8193, 32768, 131072)
SLOTS = (0, 1, 3, 4, 8)
MICRO_BATCHES = (512, 2048)
CACHES = (
    ("f16", "f16", True), ("q8_0", "q8_0", True), ("q4_0", "q4_0", True), ("f16", "f16", False),
    ("q8_0", "f16", True), ("f16", "q8_0", True), ("q8_0", "f16", False),
)  # fmt: skip
"""Types of keys and values, with flash attention or without; quantized values need it."""

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "plain": {}, "unified": {"unified": True}, "full windows": {"window_full": True},
    "small batch": {"batch": 256}, "repacked": {"repacked": REPACKED}, "embeddings": {"embeddings": True},
}  # fmt: skip
"""What else a setup may ask for, one at a time."""


@dataclass(frozen=True, slots=True)
class Case:
    """One model in one setup."""

    name: str
    file: Path
    model: ModelMetadata
    setup: Setup


@dataclass(frozen=True, slots=True)
class Answer:
    """What both sides say to a case, in whole MiB: weights, cache, buffers, weights in another order.

    `said` is None where the engine refuses, and `refused` where relayd expects that.
    """

    case: Case
    predicted: tuple[int, int, int, int]
    closed_form: bool
    said: tuple[int, int, int, int] | None
    refusal: str
    refused: str
    predict_seconds: float
    probe_seconds: float

    @property
    def is_moe(self) -> bool:
        return self.case.model.whole("expert_count") > 0


@dataclass(slots=True)
class Tally:
    """What the answers of one group come to."""

    cases: int = 0
    model: int = 0
    context: int = 0
    compute: int = 0
    worst_dense: int = 0
    worst_moe: float = 0.0
    short: int = 0
    misses: Counter[str] = field(default_factory=Counter)

    def add(self, answer: Answer) -> None:
        said = answer.said
        if said is None:
            return
        self.cases += 1
        self.model += answer.predicted[::3] == said[::3]
        self.context += answer.predicted[1] == said[1]
        self.compute += answer.predicted[2] == said[2]
        error = abs(answer.predicted[2] - said[2])
        self.short = min(self.short, sum(answer.predicted) - sum(said))
        if answer.is_moe:
            self.worst_moe = max(self.worst_moe, error / max(1, said[2]))
        else:
            self.worst_dense = max(self.worst_dense, error)
        if answer.predicted[:2] != said[:2] or answer.predicted[3] != said[3]:
            self.misses[f"{answer.case.name}: model or context"] += 1
        if error:
            self.misses[f"{answer.case.name}: compute, {answer.predicted[2] - said[2]:+d} MiB"] += 1


def setups() -> Iterator[Setup]:
    """Yield the whole matrix."""
    for context, slots, micro_batch, (key, value, flash), more in itertools.product(
        CONTEXTS, SLOTS, MICRO_BATCHES, CACHES, VARIANTS.values()
    ):
        yield Setup(
            context=context,
            slots=slots,
            micro_batch=micro_batch,
            type_k=key,
            type_v=value,
            flash_attention=flash,
            **more,
        )


def catalogue_models(folder: Path) -> Iterator[tuple[str, Path]]:
    """Write a header for every shape of the catalogue and yield its name and file."""
    for entry in load_catalog(Folders(shipped=shipped_folder(), state=folder, own=folder, cache=None)):
        if entry.dimensions is not None and not entry.dimensions.unknown:
            file = folder / f"{entry.name}.gguf"
            write_sparse(file, header(entry.dimensions, entry.context or 8192))
            yield entry.name, file


def cases(models: list[tuple[str, Path]], share: float, seed: int) -> Iterator[Case]:
    """Yield a seeded draw of models times setups, every model at least once."""
    draw = random.Random(seed)
    for name, file in models:
        try:
            model = read_metadata(file)
        except ModelFileError as error:
            print(f"{name} cannot be read: {error}", file=sys.stderr)
            continue
        matrix = list(setups())
        chosen = draw.sample(matrix, max(1, round(share * len(matrix))))
        yield from (Case(name, file, model, setup) for setup in chosen)


def ask(case: Case, engine: Path) -> Answer:
    """Return both sides' numbers."""
    started = time.perf_counter()
    prediction = predict(case.model, case.setup)
    predicted = time.perf_counter()
    rows: tuple[Row, ...] = ()
    refusal = ""
    try:
        rows = breakdown(engine, case.file, probe_flags(case.setup), os.environ)
    except EngineError as error:
        refusal = error.message
    host = next((row for row in rows if row.kind == "host"), None)
    repacked = sum(row.model for row in rows if row.name == "CPU_REPACK")
    return Answer(
        case,
        (
            prediction.part("cpu", "model") // MIB,
            prediction.part("cpu", "context") // MIB,
            prediction.part("cpu", "compute") // MIB,
            prediction.part("cpu", "model", repacked=True) // MIB,
        ),
        prediction.closed_form,
        (host.model, host.context, host.compute, repacked) if host else None,
        refusal,
        refused_by_engine(read_shape(case.model), case.setup),
        predicted - started,
        time.perf_counter() - predicted,
    )


def report(group: str, answers: list[Answer]) -> None:
    """Print what the answers of one group come to, and every miss by name."""
    tally = Tally()
    for answer in answers:
        tally.add(answer)
    names = {answer.case.name for answer in answers}
    architectures = {answer.case.model.architecture for answer in answers}
    refused = Counter(answer.case.name for answer in answers if answer.said is None and not answer.refused)
    expected = sum(answer.said is None and bool(answer.refused) for answer in answers)
    wrongly = Counter(answer.case.name for answer in answers if answer.said and answer.refused)
    print(f"\n{group}: {len(names)} models, {len(architectures)} architectures, {tally.cases} cases")
    print(f"  model rows exact    {tally.model}")
    print(f"  context rows exact  {tally.context}")
    print(f"  compute rows exact  {tally.compute}")
    print(f"  furthest short of the engine {-tally.short} MiB")
    print(f"  worst compute error {tally.worst_dense} MiB dense, {tally.worst_moe:.1%} MoE")
    for miss, count in sorted(tally.misses.items()):
        print(f"  MISS {miss}, {count} cases")
    print(f"  refused by the engine as expected: {expected}")
    for name, count in sorted(wrongly.items()):
        print(f"  NOT refused by the engine: {name}, {count} cases")
    for name, count in sorted(refused.items()):
        why = next(one.refusal for one in answers if one.case.name == name and one.refusal)
        print(f"  MISS refused by the engine: {name}, {count} cases ({why[:150]})")


def times(answers: list[Answer]) -> None:
    """Print how long a prediction and an answer of the engine took."""
    for what, values in (
        ("predict", [answer.predict_seconds for answer in answers]),
        ("confirm", [answer.probe_seconds for answer in answers]),
    ):
        middle = statistics.median(values) * 1000
        print(f"time to {what}: median {middle:.1f} ms, longest {max(values) * 1000:.1f} ms")


def main() -> None:
    """Run the comparison that the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, nargs="*", default=[], help="folders of GGUF files")
    parser.add_argument("--no-catalogue", action="store_true", help="leave the catalogue's shapes out")
    parser.add_argument("--engine", type=Path, default=os.environ.get("LLAMA_SERVER_PATH"), required=False)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=0.1, help="part of the matrix asked of each model")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if options.engine is None:
        parser.error("set LLAMA_SERVER_PATH or --engine")
    os.nice(10)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="relayd-oracle-") as folder:
        models = [] if options.no_catalogue else list(catalogue_models(Path(folder)))
        found = (file for place in options.models for file in sorted(place.glob("*.gguf")))
        models += [(file.stem, file) for file in found]
        with ThreadPoolExecutor(options.workers) as pool:
            answers = list(
                pool.map(lambda case: ask(case, options.engine), cases(models, options.share, options.seed))
            )
    report("closed form", [answer for answer in answers if answer.closed_form])
    report("not in closed form (measured by the engine instead)", [a for a in answers if not a.closed_form])
    times(answers)
    print(f"seed {options.seed}, share {options.share}, {time.perf_counter() - started:.0f} s in all")


if __name__ == "__main__":
    main()
