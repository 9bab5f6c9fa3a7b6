"""On which node is a model loaded: by ledger, file, and speed?"""

from typing import Any

import pytest

from relayd.remote.choice import LoadChoice, best_load
from relayd.remote.messages import Inventory, NodeAccount, ServedReplica
from relayd.units import GIB

pytestmark = pytest.mark.pure


def choice(
    node: str, *, free: int = 8 * GIB, is_here: bool = True, load_seconds: float = 10.0, **more: Any
) -> LoadChoice:
    served = ServedReplica(
        "m#0", "m", state="cold", needs={"cuda0": 6 * GIB}, load_seconds=load_seconds, is_here=is_here
    )
    inventory = Inventory(accounts=(NodeAccount("cuda0", 24 * GIB, free=free),), replicas=(served,))
    return LoadChoice(f"m#0@{node}", node, served, inventory, **{"is_awake": True, **more})


def best(*choices: LoadChoice) -> str:
    found = best_load(choices)
    return found.node if found else ""


def test_where_its_memory_is_free_nothing_else_has_to_go() -> None:
    assert "roomy" == best(choice("full", free=2 * GIB, tokens_per_second=90), choice("roomy"))


def test_a_file_that_is_there_counts_more_than_free_memory() -> None:
    assert "has" == best(choice("lacks", is_here=False), choice("has", free=2 * GIB))


def test_of_equals_the_faster_one_then_the_quicker_load_then_the_nearer() -> None:
    assert "fast" == best(choice("slow", tokens_per_second=20), choice("fast", tokens_per_second=60))
    assert "quick" == best(choice("slow"), choice("quick", load_seconds=2.0))
    assert "near" == best(choice("far", cost=0.08), choice("near", cost=0.01))


def test_a_machine_is_woken_only_where_none_that_is_awake_could_load_it() -> None:
    asleep = choice("asleep", is_awake=False, tokens_per_second=90)
    assert "awake" == best(asleep, choice("awake", free=2 * GIB))
    assert "asleep" == best(asleep)
    assert not best()
