"""Does a command line mean the models that were named?"""

from functools import partial
from pathlib import Path

import pytest

from relayd.config import Config, Model
from relayd.desired.demo import demo_model, is_demo
from relayd.desired.disk import names_of_file
from relayd.desired.selection import chosen, overridden
from relayd.desired.site import Site
from relayd.errors import UsageError

pytestmark = pytest.mark.system

ONE = Model(name="one", file="/one.gguf", aliases=("first",))
TWO = Model(name="two", file="/two.gguf")
CONFIG = Config(model=(ONE, TWO))


def found(name: str) -> Model:
    return Model(name=f"{name}-full", file=f"/store/{name}.gguf")


def missing(name: str) -> Model:
    raise UsageError(f"no model on this disk is called {name!r}")


def names(*targets: str, demo: bool = False) -> list[str]:
    return [model.name for model in chosen(CONFIG, targets, found, demo=demo).model]


def test_without_a_target_every_configured_model_is_meant() -> None:
    assert CONFIG == chosen(CONFIG, (), missing, demo=False)


def test_a_configured_model_is_meant_by_its_name_and_by_an_alias() -> None:
    assert ["one"] == names("one") == names("first")
    assert ["two", "one"] == names("two", "first")


def test_a_model_that_is_named_twice_is_served_once() -> None:
    assert ["one"] == names("one", "first")


def test_another_name_is_looked_for_on_disk_and_answers_to_what_was_typed() -> None:
    (model,) = chosen(CONFIG, ("qwen",), found, demo=False).model

    assert ("qwen-full", ("qwen",)) == (model.name, model.aliases)


def test_a_file_is_served_under_its_name(tmp_path: Path) -> None:
    file = tmp_path / "My Model.gguf"
    file.touch()

    (model,) = chosen(CONFIG, (str(file),), missing, demo=False).model
    assert ("My-Model", str(file)) == (model.name, model.file)


def test_a_file_of_a_known_model_has_the_name_that_lists_have(tmp_path: Path) -> None:
    file = tmp_path / "Llama-3.1-8B-Instruct-Q4_K_M.gguf"
    file.touch()
    site = Site({}, tmp_path, tmp_path)

    (model,) = chosen(
        Config(), (str(file),), missing, demo=False, name_file=partial(names_of_file, site=site)
    ).model
    assert "llama-3.1-8b-instruct:Q4_K_M" == model.name
    assert {"llama-3.1-8b-instruct", "llama-3.1-8b", file.stem} <= {*model.aliases}


def test_a_file_that_is_not_known_keeps_its_name(tmp_path: Path) -> None:
    assert ("My Model (v2)",) == names_of_file(tmp_path / "My Model (v2).gguf", Site({}, tmp_path, tmp_path))


def test_a_folder_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder") as refused:
        chosen(CONFIG, (str(tmp_path),), missing, demo=False)

    assert "folders" in refused.value.remedy


def test_the_demo_runs_alone_unless_models_are_named() -> None:
    assert ["demo"] == names(demo=True)
    assert ["one", "demo"] == names("one", demo=True)
    assert is_demo(demo_model().file)


def test_what_is_typed_goes_before_what_is_configured() -> None:
    config = overridden(CONFIG, listen="127.0.0.1:1", engine="/llama-server")

    assert ("127.0.0.1:1", "/llama-server") == (config.server.listen, config.engine.path)
    assert CONFIG == overridden(CONFIG)
