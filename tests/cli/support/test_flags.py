import pytest

from relayd.cli.support.flags import overrides_of
from relayd.config import Config, Model
from relayd.config.schema import Allocation
from relayd.desired.arguments import Overrides
from relayd.desired.overrides import with_overrides
from relayd.errors import UsageError

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("", Overrides()),
        ("-c 8192", Overrides(context=8192)),
        ("-c 8192 -np 4", Overrides(context=2048, slots=4)),
        ("--ctx_size=4096 --n-gpu-layers 20", Overrides(context=4096, gpu_layers=20)),
        ("-ngl=99 --top-k 20 --jinja", Overrides(gpu_layers=99, flags=("--top-k", "20", "--jinja"))),
    ],
)
def test_flags_that_relayd_plans_with_are_its_own_settings(flags: str, expected: Overrides) -> None:
    assert expected == overrides_of(None, None, None, flags.split())


def test_options_of_relayd_go_before_flags_of_the_engine() -> None:
    expected = Overrides(1024, 2, 7, ("--top-k", "20"))

    assert expected == overrides_of(1024, 2, 7, ["-c", "9", "-np", "8", "-ngl", "1", "--top-k", "20"])


@pytest.mark.parametrize("flags", ["-c", "-c x", "-np=", "-ngl -1"])
def test_a_flag_without_its_number_is_refused(flags: str) -> None:
    with pytest.raises(UsageError, match="is not a number"):
        overrides_of(None, None, None, flags.split())


def test_settings_hold_for_the_models_that_are_named() -> None:
    own = Model(name="a", file="/a", args=("--jinja",), placement=Allocation(unified=True))
    config = Config(model=(own, Model(name="b", file="/b")))
    typed = Overrides(4096, 2, 7, ("--top-k", "20"))
    changed, other = with_overrides(config, typed, frozenset({"a"})).model

    assert (4096, 2, ("--jinja", "--top-k", "20")) == (changed.context, changed.slots, changed.args)
    assert Allocation(gpu_layers=7, unified=True) == changed.placement
    assert config.model[1] == other
    assert config == with_overrides(config, Overrides(), frozenset())


def test_settings_for_no_model_are_refused_with_the_remedy() -> None:
    with pytest.raises(UsageError) as refused:
        with_overrides(Config(), Overrides(context=1), frozenset())

    assert "relayd serve MODEL" in refused.value.remedy
