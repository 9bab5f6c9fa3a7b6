"""Is a model that is written to run kept beside the others, in a file that a person may have opened?"""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from relayd.config.migrate import WRITTEN
from relayd.config.written import FILE_NAME, drop, keep, written
from relayd.errors import StateError

pytestmark = pytest.mark.system

A = {"name": "a", "file": "/models/a.gguf", "aliases": ["first"], "placement": {"gpu_layers": 3}}
B = {"name": "b", "file": "/models/b.gguf"}


def kept(state: Path) -> list[dict[str, Any]]:
    models: list[dict[str, Any]] = tomllib.loads((state / FILE_NAME).read_text())["model"]
    return models


def test_models_add_up(tmp_path: Path) -> None:
    keep(A, tmp_path)
    keep(B, tmp_path)

    assert [A, B] == kept(tmp_path)


@pytest.mark.parametrize("name", ["a", "first"])
def test_a_model_takes_the_place_of_one_that_answers_to_its_name(tmp_path: Path, name: str) -> None:
    keep(A, tmp_path)
    keep(B, tmp_path)
    keep({"name": name, "file": "/models/newer.gguf"}, tmp_path)

    assert ["/models/b.gguf", "/models/newer.gguf"] == [one["file"] for one in kept(tmp_path)]


def test_the_file_carries_the_number_of_its_layout(tmp_path: Path) -> None:
    path = keep(A, tmp_path)

    assert WRITTEN == tomllib.loads(path.read_text())["schema"]


def test_what_the_last_release_wrote_is_kept_in_the_present_layout(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(
        '[[model]]\nname = "old"\nfile = "/old.gguf"\nfit = false\nargs = ["--gpu-layers", "7"]\n'
    )
    keep(B, tmp_path)

    old, new = kept(tmp_path)
    assert {"name": "old", "file": "/old.gguf", "fit": "plan", "placement": {"gpu_layers": 7}} == old
    assert B == new


def test_other_tables_stay(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("[logs]\nbackups = 9\n")
    path = keep(A, tmp_path)

    assert {"backups": 9} == tomllib.loads(path.read_text())["logs"]


def test_a_folder_that_is_missing_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    path = keep(A, tmp_path / "state")

    assert 0o700 == path.parent.stat().st_mode & 0o777


@pytest.mark.parametrize("content", ["[[model", "\xff"])
def test_a_damaged_file_is_not_replaced(tmp_path: Path, content: str) -> None:
    path = tmp_path / FILE_NAME
    path.write_text(content, "latin-1")
    with pytest.raises(StateError):
        keep(A, tmp_path)

    assert content == path.read_text("latin-1")


def test_virtual_models_have_a_table_of_their_own(tmp_path: Path) -> None:
    keep({"name": "m", "file": "/m.gguf"}, tmp_path)
    keep({"name": "v", "models": ["m"]}, tmp_path, "virtual")
    keep({"name": "v", "models": ["m"], "system": "x"}, tmp_path, "virtual")

    assert {"v": {"name": "v", "models": ["m"], "system": "x"}} == written(tmp_path, "virtual")
    drop("v", tmp_path, "virtual")
    assert ({}, ["m"]) == (written(tmp_path, "virtual"), [*written(tmp_path, "model")])
