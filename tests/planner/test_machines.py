"""Does a fleet place its models as an expert would: five fleets, each with the reasons?"""

from collections.abc import Mapping
from typing import Any

import pytest

from relayd.planner.fleet import Wanted
from relayd.planner.machines import Box, MachinesPlan, plan_machines
from relayd.planner.placement import Aim, Form, Place, Placement
from relayd.units import GIB, MIB, Bytes
from tests.planner.models import forms, room

pytestmark = pytest.mark.pure

AIM = Aim(context=8192, least_context=8192, slots=2, least_slots=1)


def file_of(name: str) -> Form:
    """Return the file that people have most often: 4 bits."""
    found = forms(name)
    return next((form for form in found if form.quantization.name == "Q4_K_M"), found[-1])


def wanted(name: str, replicas: int = 1) -> Wanted:
    return Wanted(name, (file_of(name),), AIM, replicas)


def box(name: str, machine: str, *files: str, **more: Any) -> Box:
    sizes = {model: Bytes(file_of(model).nbytes) for model in files}
    return Box(name, room(machine), files=sizes, **more)


def where(plan: MachinesPlan) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for seat in plan.seats:
        found.setdefault(seat.model, []).append(seat.box)
    return found


def test_a_card_at_home_takes_the_large_model_and_the_old_desktop_what_is_quick_enough_on_it() -> None:
    """A 4090, and an office machine without a card.

    The 27B model fits whole on the card only. The 0.6B one would be faster there too, but nobody reads more
    than `ENOUGH`, and beside the large model it would take context from it: it goes where nothing else is.
    """
    fleet = [box("gaming", "gpu=4090:24,ram=64"), box("office", "ram=32,cpu=8")]
    plan = plan_machines([wanted("qwen3.6-27b"), wanted("qwen3-0.6b")], fleet)

    assert plan.complete
    assert {"qwen3.6-27b": ["gaming"], "qwen3-0.6b": ["office"]} == where(plan)
    large = plan.seats[0]
    assert isinstance(large.outcome, Placement)
    assert Place.ONE_GPU is large.outcome.place


def test_two_alike_boxes_get_a_model_each_and_each_stays_where_its_file_is() -> None:
    """Two machines with a 4090, two models of which either fills most of a card.

    Both on one card would spill to the CPU. Either way round is as fast, so what decides is which file is
    where: the other way round, 30 GiB would travel for nothing.
    """
    fleet = [
        box("left", "gpu=4090:24,ram=64", "gpt-oss-20b"),
        box("right", "gpu=4090:24,ram=64", "qwen3.6-27b"),
    ]
    plan = plan_machines([wanted("gpt-oss-20b"), wanted("qwen3.6-27b")], fleet)

    assert {"gpt-oss-20b": ["left"], "qwen3.6-27b": ["right"]} == where(plan)
    assert [None, None] == [seat.move for seat in plan.seats]
    assert all("its file is there" in seat.reasons for seat in plan.seats)


def test_a_mac_holds_what_no_card_can_and_the_card_serves_what_reads_fast_there() -> None:
    """A Mac with 128 GB of unified memory, and a 3090.

    120B parameters fit in one place only. The 8B model is faster on the card, and the Mac's bandwidth is the
    large one's: two models that generate at once share it.
    """
    fleet = [box("studio", "m4 max 128", "qwen3-8b"), box("tower", "gpu=3090:24,ram=32")]
    plan = plan_machines([wanted("qwen3-8b"), wanted("gpt-oss-120b")], fleet)

    assert plan.complete
    assert ["studio"] == where(plan)["gpt-oss-120b"]
    small = next(seat for seat in plan.seats if seat.model == "qwen3-8b")
    speeds = small.outcome.decoding.each.value if isinstance(small.outcome, Placement) else 0.0
    assert speeds >= 40  # enough on either: so it stays where its file is, and nothing moves
    assert ("studio", None) == (small.box, small.move)


def test_a_file_moves_where_the_gain_is_worth_it_and_the_plan_states_what_that_costs() -> None:
    """The file is on a machine without a card, which generates about 4 tokens a second.

    The card is many times faster: 5 GiB travel once, at 64 MiB/s in about a minute and a half.
    """
    fleet = [box("nas", "ram=64,cpu=4", "qwen3-8b"), box("tower", "gpu=4090:24,ram=32")]
    (seat,) = plan_machines([wanted("qwen3-8b")], fleet, bytes_per_second=64 * MIB).seats

    assert "tower" == seat.box
    assert seat.move is not None
    assert ("nas", file_of("qwen3-8b").nbytes) == (seat.move.source, seat.move.nbytes)
    assert seat.move.nbytes / (64 * MIB) == pytest.approx(seat.move.seconds)
    assert any(reason.startswith("nas: ") for reason in seat.reasons)


def test_replicas_go_to_different_machines_and_only_to_those_that_keep_up() -> None:
    """Four alike cards and a machine without one; a model with four replicas, an embedding model with one.

    One replica a card, so that the end of one machine takes a quarter of the slots. The fifth machine is too
    slow to share the load of the cards.
    """
    names = ("a", "b", "c", "d")
    fleet = [*(box(name, "gpu=3090:24,ram=64") for name in names), box("old", "ram=32,cpu=4")]
    plan = plan_machines([wanted("qwen3.6-27b", replicas=4)], fleet)
    assert {*names} == {*where(plan)["qwen3.6-27b"]}

    five = plan_machines([wanted("qwen3.6-27b", replicas=5)], fleet)
    assert "old" not in where(five)["qwen3.6-27b"]


def test_a_machine_that_sleeps_is_left_asleep_unless_nothing_else_has_room() -> None:
    asleep = box("tower", "gpu=4090:24,ram=64", "qwen3-4b", is_awake=False)
    awake = box("mini", "ram=32,cpu=8")
    plan = plan_machines([wanted("qwen3-4b"), wanted("qwen3.6-27b")], [asleep, awake])

    assert ["mini"] == where(plan)["qwen3-4b"]
    (large,) = (seat for seat in plan.seats if seat.model == "qwen3.6-27b")
    assert "tower" == large.box
    assert "tower has to be woken for it" in large.reasons


def test_what_was_measured_counts_before_what_is_predicted() -> None:
    slow = box("throttled", "gpu=4090:24,ram=64", "qwen3.6-27b", speeds={"qwen3.6-27b": 4.0})
    plan = plan_machines([wanted("qwen3.6-27b")], [slow, box("cool", "gpu=4090:24,ram=64")])

    assert ["cool"] == where(plan)["qwen3.6-27b"]


def test_what_fits_nowhere_names_what_each_machine_is_short_of() -> None:
    plan = plan_machines([wanted("gpt-oss-120b")], [box("a", "ram=16,cpu=4"), box("b", "ram=8,cpu=4")])

    assert not plan.complete
    (seat,) = plan.seats
    assert ["a", "b"] == [reason.partition(":")[0] for reason in seat.reasons]
    assert not seat.box


def test_a_model_that_is_moved_away_is_named_with_the_machine_that_drops_it() -> None:
    here = box("nas", "ram=64,cpu=4", "qwen3-8b", runs={"qwen3-8b": 1})
    plan = plan_machines([wanted("qwen3-8b")], [here, box("tower", "gpu=4090:24,ram=32")])

    assert (("qwen3-8b", "nas"),) == plan.leaves


def test_no_machine_is_planned_beyond_what_it_has() -> None:
    fleet = [box(f"n{number}", "gpu=4090:24,ram=64") for number in range(3)]
    models = [wanted(name) for name in ("qwen3.6-27b", "gpt-oss-20b", "qwen3-8b", "qwen3-0.6b", "qwen3-14b")]
    plan = plan_machines(models, fleet)

    assert plan.complete
    for each in plan.plans.values():
        assert all(room.usable >= 0 and not room.over for room in each.left.rooms)
        assert each.before.host.total > 32 * GIB
