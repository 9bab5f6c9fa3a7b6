"""Does a request get the model it means, and an error that helps otherwise?"""

import pytest

from relayd.api.fleet import find_model
from relayd.errors import ModelNotFoundError
from tests.api.conftest import view

pytestmark = pytest.mark.pure

MODELS = tuple(view(name) for name in ("qwen3", "llama", "gemma"))


@pytest.mark.parametrize("name", ["llama", "llama-alias"])
def test_a_model_answers_to_its_name_and_aliases(name: str) -> None:
    assert "llama" == find_model(name, MODELS).name


def test_the_only_model_needs_no_name() -> None:
    assert "llama" == find_model(None, (view("llama"),)).name


@pytest.mark.parametrize("name", ["Llama", "llama ", "", "../llama", None])
def test_any_other_name_is_not_found(name: str | None) -> None:
    with pytest.raises(ModelNotFoundError) as missing:
        find_model(name, MODELS)

    assert "model" == missing.value.param
    assert "qwen3, llama, gemma" in missing.value.remedy


def test_the_nearest_name_is_offered() -> None:
    with pytest.raises(ModelNotFoundError) as missing:
        find_model("qwen", MODELS)

    assert "Did you mean 'qwen3'?" in missing.value.remedy


def test_a_wrong_name_is_not_served_by_the_only_model() -> None:
    with pytest.raises(ModelNotFoundError):
        find_model("gpt-4o", (view("llama"),))


def test_ten_names_are_listed_and_the_rest_counted() -> None:
    with pytest.raises(ModelNotFoundError) as missing:
        find_model("x", [view(f"m{index}") for index in range(12)])

    assert missing.value.remedy.endswith("m9 and 2 more.")


def test_without_any_model_the_remedy_is_the_configuration() -> None:
    with pytest.raises(ModelNotFoundError) as missing:
        find_model("x", ())

    assert "relay.toml" in missing.value.remedy
