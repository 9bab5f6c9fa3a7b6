"""Models of the shipped catalogue, ready to be fitted, and machines to fit them to."""

from functools import cache

from relayd.advice.known import known_models
from relayd.catalog import CatalogEntry, Folders, load_catalog, shipped_folder
from relayd.hardware import Machine
from relayd.hardware.bandwidth import catalogued
from relayd.planner.budget import Budget, budget
from relayd.planner.placement import Form
from relayd.planner.quality import Use
from relayd.planner.recommend import Known, best_first
from relayd.planner.simulate import simulate


@cache
def catalogue() -> tuple[CatalogEntry, ...]:
    shipped = shipped_folder()
    return load_catalog(Folders(shipped, shipped / "none", shipped / "none"))


@cache
def known(use: Use = Use.CHAT) -> dict[str, Known]:
    return {one.name: one for one in known_models(catalogue(), [], None, use)}


def forms(name: str) -> tuple[Form, ...]:
    return best_first(known()[name])


def machine(description: str) -> Machine:
    return catalogued(simulate(description))


def room(description: str) -> Budget:
    return budget(machine(description))
