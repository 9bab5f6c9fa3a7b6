import pytest

from relayd.config import Model, model_name, told_apart

pytestmark = pytest.mark.pure


def model(name: str, *aliases: str, file: str = "") -> Model:
    return Model(name=name, file=file or f"/{name}.gguf", aliases=aliases)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("qwen3-8b:Q4_K_M", "qwen3-8b:Q4_K_M"),
        ("My model (v2)", "My-model-v2"),
        ("maker/model:Q4", "maker/model:Q4"),
        ("../x//y/", "x/y"),
        ("…", "model"),
        ("a" * 200, "a" * 120),
    ],
)
def test_a_name_has_only_what_names_may_have(text: str, name: str) -> None:
    assert name == model_name(text)


def test_models_of_one_name_are_numbered_and_one_named_twice_is_there_once() -> None:
    same, other = model("x", file="/a/x.gguf"), model("x", file="/b/x.gguf")
    assert ["x", "x-2"] == [one.name for one in told_apart([same, other, same])]
    assert ["x-3"] == [one.name for one in told_apart([same], taken=["x", "x-2"])]


def test_an_alias_that_two_models_would_answer_to_is_nobodys() -> None:
    first, second = told_apart(
        [model("x:Q4", "x", "y", "y", "no alias"), model("x:Q8", "x", "x:Q4", "z")], ["z"]
    )
    assert (("y",), ()) == (first.aliases, second.aliases)
