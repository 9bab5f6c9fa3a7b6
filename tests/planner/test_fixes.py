"""What would make room for a model that is not whole on its devices, and what each costs."""

import pytest

from relayd.planner.fixes import Fixes, fixes
from relayd.planner.quality import Use
from relayd.planner.rank import Request
from tests.planner.chains import room
from tests.planner.models import known

pytestmark = pytest.mark.pure


def of(machine: str, name: str, quant: str, request: Request | None = None) -> Fixes | None:
    model = known(Use.CHAT)[name]
    form = next(one for one in model.forms if one.quantization.name == quant)
    return fixes(form, model.forms, room(machine), request or Request())


def test_a_model_that_is_whole_on_its_card_needs_nothing() -> None:
    assert of("4090,ram=64", "qwen3.5-9b", "Q4_K_M") is None


def test_layers_on_the_cpu_make_room_and_cost_speed() -> None:
    found = of("4060,ram=16", "qwen3.5-9b", "Q8_0")
    assert found is not None
    assert found.need > found.have
    moved = next(one for one in found.fixes if "of 33 layers on the CPU" in one.what)
    assert moved.enough
    assert moved.slower > 0
    assert found.need - moved.saves <= found.have
    assert found.speed == pytest.approx(moved.speed + moved.slower)


def test_a_smaller_file_makes_room_and_is_faster() -> None:
    found = of("4060,ram=16", "qwen3.5-9b", "Q8_0")
    assert found is not None
    smaller = next(one for one in found.fixes if one.what == "Q6_K instead of Q8_0")
    assert smaller.enough
    assert smaller.slower < 0
    assert smaller is min(found.fixes, key=lambda one: one.slower) or smaller.saves > 0


def test_experts_are_named_apart_and_cost_less_speed_than_layers() -> None:
    found = of("4060,ram=32", "gpt-oss-20b", "MXFP4_MOE")
    assert found is not None
    experts = next(one for one in found.fixes if one.what.startswith("experts of"))
    layers = next(one for one in found.fixes if "25 layers on the CPU" in one.what)
    assert experts.enough
    assert experts.slower < layers.slower


def test_what_is_not_enough_says_so() -> None:
    found = of("8gb laptop, 4 cores, bandwidth=35", "qwen3-8b", "Q8_0")
    assert found is not None
    assert not next(one for one in found.fixes if one.what == "a cache in q8_0").enough
    assert all("CPU" not in one.what for one in found.fixes)


def test_fewer_users_at_once_make_room() -> None:
    found = of("4060,ram=16", "qwen3.5-9b", "Q8_0", Request(users=4))
    assert found is not None
    assert any(one.what == "2 of 4 users at once" for one in found.fixes)
