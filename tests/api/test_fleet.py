"""Does a request get the model it means, and an error that helps otherwise?"""

from dataclasses import replace
from typing import Any

import pytest

from relayd.api.fleet import ModelView, find_model
from relayd.errors import ModelNotFoundError
from tests.api.conftest import view

pytestmark = pytest.mark.pure

MODELS = tuple(view(name) for name in ("qwen3", "llama", "gemma"))


@pytest.mark.parametrize("name", ["llama", "llama-alias"])
def test_a_model_answers_to_its_name_and_aliases(name: str) -> None:
    assert "llama" == find_model(name, MODELS).name


def test_the_only_model_needs_no_name() -> None:
    assert "llama" == find_model(None, (view("llama"),)).name


@pytest.mark.parametrize("name", ["llama ", "", "../llama", "llama:q8", None])
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


def _named(name: str, *aliases: str, **more: Any) -> ModelView:
    return replace(view(name), aliases=aliases, **more)


@pytest.mark.parametrize("name", ["Llama", "LLAMA:latest", "llama:latest", "Llama-Alias"])
def test_a_name_is_found_in_any_case_and_with_the_tag_of_names_without_one(name: str) -> None:
    assert "llama" == find_model(name, MODELS).name


def test_a_name_in_its_own_case_is_preferred() -> None:
    models = (_named("Qwen"), _named("qwen"))

    assert ["Qwen", "qwen", "qwen"] == [
        find_model(name, models).name for name in ("Qwen", "qwen", "qwen:latest")
    ]


def test_a_name_that_differs_from_two_by_its_case_is_not_found() -> None:
    with pytest.raises(ModelNotFoundError):
        find_model("QWEN", (_named("Qwen"), _named("qwen")))


def test_a_model_with_a_tag_is_found_without_it() -> None:
    assert "qwen:latest" == find_model("qwen", (_named("qwen:latest"),)).name


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("claude-opus-4-8", "big"),
        ("claude-haiku-4-5", "small"),
        ("Claude-Haiku-4-5", "small"),
        ("gpt-4o-mini:latest", "small"),
        ("gpt-mini", "small"),
    ],
)
def test_the_longest_pattern_that_fits_is_meant(name: str, meant: str) -> None:
    models = (_named("big", "claude-*"), _named("small", "claude-haiku-*", "gpt-*mini"))

    assert meant == find_model(name, models).name


@pytest.mark.parametrize("name", ["aclaude-x", "claude", "gpt-", "gpt-mini-x", "gptmini"])
def test_what_no_pattern_fits_is_not_found(name: str) -> None:
    with pytest.raises(ModelNotFoundError):
        find_model(name, (_named("big", "claude-*", "gpt-*mini*mini"),))


def test_a_name_is_preferred_to_a_pattern() -> None:
    assert "gpt-4" == find_model("GPT-4", (_named("big", "*"), _named("gpt-4"))).name


@pytest.mark.parametrize(("ability", "meant"), [("completion", "chat"), ("embedding", "embed")])
def test_the_only_model_that_can_answer_needs_no_name(ability: str, meant: str) -> None:
    models = (_named("chat"), _named("embed", abilities=("embedding",)))

    assert meant == find_model(None, models, ability).name


def test_the_default_model_needs_no_name() -> None:
    models = (_named("a"), _named("b", is_default=True), _named("c", abilities=("embedding",)))

    assert ["b", "c"] == [find_model(None, models, one).name for one in ("completion", "embedding")]


def test_a_model_for_chats_alone_is_meant_before_one_that_makes_vectors_too() -> None:
    models = (_named("chat"), _named("both", abilities=("completion", "embedding")))

    assert ["chat", "both"] == [find_model(None, models, one).name for one in ("completion", "embedding")]
