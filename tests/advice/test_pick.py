"""Does what is served without a word fit, with everything that goes with it?"""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from relayd.advice.adviser import Adviser
from relayd.advice.files import find_files
from relayd.advice.known import IMAGES, configured_form, known_models
from relayd.advice.pick import MOST_LOADED, pick
from relayd.config.schema import MemoryBudget
from relayd.engine import Engine, Features
from relayd.gguf import ModelMetadata
from relayd.gguf.metadata import Tensor
from relayd.gguf.writer import write_sparse
from relayd.models.ondisk import Found
from relayd.planner.budget import Budget
from relayd.planner.placement import FREE, Placement
from relayd.planner.quality import Use
from relayd.planner.rank import Request
from relayd.planner.reserve import allowance
from relayd.units import GIB, Bytes
from tests.desired.desk import sparse
from tests.planner.models import machine, room

pytestmark = pytest.mark.system

FLAGS = frozenset({"--device", "--mmproj", "--flash-attn", "--kv-unified", "--n-cpu-moe"})
FEATURES = Features("b11434", 11434, FLAGS, {}, unix_sockets=True)
WEIGHTS = 4 * GIB


@pytest.fixture
def projector(tmp_path: Path) -> Path:
    """A projector of 4 GiB, none of it on the disk."""
    table = (Tensor("v.blk.0.attn_q.weight", (1024, 1024 * 1024), 0, 0),)
    write_sparse(tmp_path / "mmproj-F32.gguf", ModelMetadata("clip", {}, table, Bytes(0)))
    return tmp_path / "mmproj-F32.gguf"


@pytest.fixture
def seeing(tiny_model: Path, projector: Path) -> Found:
    return Found("tiny", (tiny_model,), tiny_model.stat().st_size, "folder", projectors=(projector,))


def test_a_model_is_served_with_its_projector(seeing: Found, projector: Path) -> None:
    (model,) = pick([seeing], room("ram=16,cores=4"), FEATURES).models
    assert str(projector) == model.projector


def test_the_memory_of_a_projector_is_counted(seeing: Found, tiny_model: Path, projector: Path) -> None:
    plain, with_it = (configured_form(tiny_model, one).build().beside for one in (None, projector))
    assert (0, WEIGHTS + IMAGES) == (plain, with_it)
    small = room("ram=4,cores=4")
    assert ["start"] == [
        model.load for model in pick([replace(seeing, projectors=())], small, FEATURES).models
    ]
    assert ["demand"] == [model.load for model in pick([seeing], small, FEATURES).models]


def test_an_engine_that_knows_no_projectors_goes_without(seeing: Found) -> None:
    old = msgspec.structs.replace(FEATURES, flags=FLAGS - {"--mmproj"})
    (model,) = pick([seeing], room("ram=4,cores=4"), old).models
    assert "" == model.projector


def test_of_two_quantizations_one_is_loaded_and_both_are_served(tiny_model: Path) -> None:
    size = tiny_model.stat().st_size
    lying = [
        Found(
            f"m:{quant}", (tiny_model,), size, "folder", quant=quant, model="m", aliases=("m", f"M-{quant}")
        )
        for quant in ("F32", "Q8_0")
    ]
    loaded, other = pick(lying, room("ram=16,cores=4"), FEATURES).models

    assert ("m:F32", "start", ("m", "M-F32")) == (loaded.name, loaded.load, loaded.aliases)
    assert ("m:Q8_0", "demand") == (other.name, other.load)


def test_the_largest_that_fit_together_are_loaded_and_all_others_on_demand(tmp_path: Path) -> None:
    names = ("qwen3-30b-a3b", "qwen3-8b", "qwen3.5-4b", "qwen3.5-9b")
    found = [
        Found(name, (Path(sparse(tmp_path, name)),), (tmp_path / f"{name}.gguf").stat().st_size, "folder")
        for name in names
    ]
    models = pick(found, room("ram=29,cores=8"), FEATURES).models
    load = {model.name: model.load for model in models}

    assert {*names} == load.keys()
    assert "start" == load["qwen3-30b-a3b"]
    assert "demand" in load.values()
    assert all(
        not model.context and not model.slots and model.placement == FREE
        for model in models
        if model.load == "demand"
    )


def test_a_file_that_is_too_large_is_not_even_read(tmp_path: Path) -> None:
    (tmp_path / "huge.gguf").write_bytes(b"GGUF")
    huge = Found("huge", (tmp_path / "huge.gguf",), 1 << 40, "folder")
    found = pick([huge], room("ram=16,cores=4"), FEATURES)

    assert (["demand"], ()) == ([model.load for model in found.models], found.skipped)


def test_a_file_that_cannot_be_read_is_skipped_and_not_served(tmp_path: Path) -> None:
    (tmp_path / "cut.gguf").write_bytes(b"GGUF")
    found = pick([Found("cut", (tmp_path / "cut.gguf",), 4, "folder")], room("ram=16,cores=4"), FEATURES)

    assert ((), [tmp_path / "cut.gguf"]) == (found.models, [one.path for one in found.skipped])


def test_advice_that_is_written_names_the_projector_and_counts_it(seeing: Found, projector: Path) -> None:
    files = find_files((), [seeing], [])
    (known,) = known_models((), files, None, Use.CHAT)
    assert WEIGHTS + IMAGES == known.forms[0].build().beside

    engine = Engine(Path("/engine"), "installed", FEATURES)
    adviser = Adviser(machine("ram=16,cores=4"), (), files, Path("/models"), engine)
    advice, _ = adviser.about("tiny", Request(use=Use.CHAT))
    assert isinstance(advice.outcome, Placement)
    written = adviser.settings("tiny", advice.outcome)
    assert ("tiny", str(projector)) == (written["name"], written["projector"])


def test_a_disk_full_of_small_models_starts_no_hundred_processes(tiny_model: Path) -> None:
    size = tiny_model.stat().st_size
    small = [Found(f"m{number}", (tiny_model,), size, "folder") for number in range(40)]
    models = pick(small, room("ram=64,cores=4"), FEATURES).models

    assert (MOST_LOADED, 40) == (sum(model.load == "start" for model in models), len(models))


def sizes_of(*names: str, folder: Path, budget: Budget, most: int = MOST_LOADED) -> list[tuple[int, int]]:
    """Return slots and context of those of some models that are loaded."""
    found = [
        Found(name, (Path(sparse(folder, name)),), (folder / f"{name}.gguf").stat().st_size, "folder")
        for name in names
    ]
    picked = pick(found, budget, FEATURES, most=most).models
    return [(one.slots, one.context) for one in picked if one.load == "start"]


def with_host(mib: int) -> Budget:
    return allowance(machine("ram=64,cores=8"), MemoryBudget(host_mib=mib), headless=True)


def test_as_many_models_as_possible_are_loaded_before_one_gets_more_than_a_slot(tmp_path: Path) -> None:
    names = ("qwen3.5-9b", "qwen3.5-4b")
    small, large = (sizes_of(*names, folder=tmp_path, budget=with_host(mib)) for mib in (9_500, 40_000))
    alone = sizes_of(names[0], folder=tmp_path, budget=with_host(9_500))

    assert [(4, 8192)] == alone
    assert [(2, 8192), (1, 8192)] == small
    assert [(4, 8192)] * 2 == large


def test_longer_contexts_are_taken_only_where_no_model_is_on_demand(tmp_path: Path) -> None:
    budget = room("gpu=4090:24,ram=32")
    alone = sizes_of("qwen3.5-9b", folder=tmp_path, budget=budget)
    beside = sizes_of("qwen3.5-9b", "qwen3.5-4b", folder=tmp_path, budget=budget, most=1)

    assert alone[0][1] > 8192
    assert [(4, 8192)] == beside
