"""How are models run that answer with vectors or scores?"""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from relayd.advice.known import catalogue_header
from relayd.config import Model
from relayd.endpoint import TcpAddress
from relayd.engine import command
from relayd.gguf.writer import write_sparse
from relayd.planner.placement import Placement
from tests.desired.desk import FEATURES, planner, plans, sparse
from tests.planner.models import catalogue

pytestmark = pytest.mark.system


@pytest.fixture
def small(tmp_path: Path) -> Model:
    return Model(name="small", file=sparse(tmp_path, "qwen3-8b"), slots=1)


def pooling(model: Model, folder: Path, kind: int, trained: int = 2048) -> Model:
    """Return a model whose file has a way to pool the vectors of its tokens."""
    header = catalogue_header(next(one for one in catalogue() if one.name == "qwen3-8b"), "Q4_K_M")
    header = replace(
        header, values={**header.values, "qwen3.pooling_type": kind, "qwen3.context_length": trained}
    )
    path = folder / f"pools-{kind}-{trained}.gguf"
    write_sparse(path, header)
    return msgspec.structs.replace(model, file=str(path))


@pytest.fixture
def pooled(small: Model, tmp_path: Path) -> Model:
    return pooling(small, tmp_path, 3)


def test_an_embedding_model_has_no_earlier_prompts_to_keep(pooled: Model) -> None:
    (one,) = plans(planner("ram=64"), pooled).plan

    assert 0 == one.spec.cache_ram_mib


def test_a_model_that_pools_is_served_for_vectors_without_a_setting(pooled: Model) -> None:
    (one,) = plans(planner("ram=64"), pooled).plan
    placement = one.spec.placement

    assert (True, "") == (one.spec.embeddings, one.spec.pooling)
    assert (one.spec.context, one.spec.context) == (placement.micro_batch, placement.batch)
    assert one.line
    assert not one.line.embeddings


@pytest.mark.parametrize(("context", "held"), [(0, 8192), (16384, 16384)])
def test_a_model_for_vectors_takes_what_openais_take_unless_its_line_sets_more(
    small: Model, tmp_path: Path, context: int, held: int
) -> None:
    line = msgspec.structs.replace(pooling(small, tmp_path, 3, 32768), context=context)
    (one,) = plans(planner("ram=64"), line).plan

    assert (held, held) == (one.spec.context, one.spec.placement.micro_batch)


def test_a_model_that_ranks_is_served_as_one(small: Model, tmp_path: Path) -> None:
    (one,) = plans(planner("ram=64"), pooling(small, tmp_path, 4)).plan

    assert (True, "rank") == (one.spec.embeddings, one.spec.pooling)
    assert "--reranking" in command(
        one.spec, FEATURES, TcpAddress(1), Path("/key")
    )  # fmt: skip


@pytest.mark.parametrize("fit", ["plan", "engine"])
def test_a_model_for_chat_that_answers_with_vectors_too_takes_inputs_up_to_its_context(
    small: Model, fit: str
) -> None:
    line = msgspec.structs.replace(small, embeddings=True, context=3000, fit=fit)
    (plain,) = plans(planner("ram=64"), msgspec.structs.replace(line, embeddings=False)).plan
    (one,) = plans(planner("ram=64"), line).plan

    assert ("mean", "") == (one.spec.pooling, plain.spec.pooling)
    assert one.spec.placement.batch
    assert one.spec.placement.micro_batch
    assert 3000 <= one.spec.placement.micro_batch <= one.spec.placement.batch
    assert one.needs["host"] > plain.needs["host"] + 3000 * 150_000 * 4


def test_shorter_inputs_are_taken_before_a_model_is_not_run_and_the_length_is_named(small: Model) -> None:
    line = msgspec.structs.replace(small, embeddings=True, context=8192)
    (one,) = (found := plans(planner("ram=64", host_mib=8 * 1024), line)).plan
    (outcome,) = [each.outcome for each in found.fleet.assignments]

    assert not one.cold
    assert one.spec.placement.micro_batch
    assert one.spec.placement.micro_batch < 8192
    assert isinstance(outcome, Placement)
    assert any(f"may have {one.spec.placement.micro_batch} tokens" in reason for reason in outcome.reasons)
