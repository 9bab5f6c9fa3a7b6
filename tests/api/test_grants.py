"""Which models may a key use, in any spelling of their names?"""

import pytest

from relayd.api.grants import ANYONE, VisibleModels
from tests.api.conftest import view

pytestmark = pytest.mark.pure

MODELS = (view("qwen3-8b"), view("Qwen3-0.6B"), view("llama"))


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ((), ["qwen3-8b", "Qwen3-0.6B", "llama"]),
        (("*",), ["qwen3-8b", "Qwen3-0.6B", "llama"]),
        (("qwen*",), ["qwen3-8b", "Qwen3-0.6B"]),
        (("QWEN3-8B",), ["qwen3-8b"]),
        (("llama-alias",), ["llama"]),
        (("lla", "ama"), []),
        (("?lama", "qwen3-?b"), ["qwen3-8b", "llama"]),
    ],
)
def test_a_model_is_meant_by_its_name_or_an_alias_in_any_case(
    patterns: tuple[str, ...], expected: list[str]
) -> None:
    assert expected == [model.name for model in VisibleModels(patterns).among(MODELS)]


def test_other_models_are_looked_at_anew() -> None:
    visible = VisibleModels(("qwen*",))
    first = visible.among(MODELS)

    assert first is visible.among(MODELS)
    assert [] == list(visible.among((view("llama"),)))
    assert list(first) == list(visible.among(MODELS))


def test_without_a_rule_nothing_is_computed() -> None:
    assert MODELS is ANYONE.models.among(MODELS)
