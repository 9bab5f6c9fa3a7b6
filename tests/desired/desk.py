"""A machine, an engine and model lines to plan with; files are sparse headers or tiny models."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

from relayd.advice.known import catalogue_header
from relayd.config import Config, Model
from relayd.config.schema import MemoryBudget
from relayd.desired.plans import ModelPlanner, ModelPlans
from relayd.desired.remembered import RememberedModel
from relayd.engine import Engine, Features
from relayd.gguf.writer import write_sparse
from relayd.planner.reserve import allowance
from tests.planner.models import catalogue, machine

FLAGS = """--api-key-file --device --fit --mmproj --flash-attn --kv-unified --n-cpu-moe --cache-ram
--embeddings --reranking"""
HINTS = {"--flash-attn": "[on|off|auto]"}
FEATURES = Features("b11434", 11434, frozenset(FLAGS.split()), HINTS, unix_sockets=True)
ENGINE = Engine(Path("/engine"), "installed", FEATURES)


def sparse(folder: Path, name: str) -> str:
    """Write a model of the catalogue without its weights, and return its path."""
    path = folder / f"{name}.gguf"
    entry = next(one for one in catalogue() if one.name == name)
    write_sparse(path, catalogue_header(entry, "Q4_K_M"))
    return str(path)


def planner(description: str, engine: Engine = ENGINE, **memory: int) -> ModelPlanner:
    here = machine(description)
    return ModelPlanner(engine, here, allowance(here, MemoryBudget(**memory)))


def plans(planner: ModelPlanner, *models: Model) -> ModelPlans:
    return planner.plans(Config(model=models))


def later(
    planner: ModelPlanner, remembered: Iterable[RememberedModel], running: Collection[str] = ()
) -> ModelPlanner:
    """Return a planner that remembers what another has planned."""
    return replace(planner, remembered={one.model: one for one in remembered}, running=running)
