"""Are model files that cannot be served named before anything starts?"""

import os
import re
from pathlib import Path

import pytest

from relayd.config.modelfiles import check_model_files
from relayd.config.schema import Config, LoraFile, Model
from relayd.errors import ModelFileError

pytestmark = pytest.mark.system


def config(*files: Path, lora: tuple[Path, ...] = ()) -> Config:
    adapters = tuple(LoraFile(file=str(one)) for one in lora)
    return Config(
        model=tuple(Model(name=f"m{at}", file=str(one), lora=adapters) for at, one in enumerate(files))
    )


def gguf(file: Path) -> Path:
    file.write_bytes(b"GGUF\x03\x00\x00\x00")
    return file


def refusal(wanted: Config) -> str:
    with pytest.raises(ModelFileError) as refused:
        check_model_files(wanted)
    return refused.value.message


def test_files_that_begin_as_gguf_pass(tmp_path: Path) -> None:
    check_model_files(config(gguf(tmp_path / "a.gguf"), lora=(gguf(tmp_path / "l.gguf"),)))


def test_a_missing_file_names_the_nearest_one(tmp_path: Path) -> None:
    gguf(tmp_path / "other.gguf")
    there = gguf(tmp_path / "qwen3-8b-q4_k_m.gguf")
    missing = tmp_path / "qwen3-8b-q4km.gguf"

    assert f"model m0: {missing} does not exist; did you mean {there}?" == refusal(config(missing))


def test_a_missing_file_in_a_folder_without_models_says_so(tmp_path: Path) -> None:
    missing = tmp_path / "a.gguf"

    assert f"model m0: {missing} does not exist, and {tmp_path} holds no .gguf file" == refusal(
        config(missing)
    )


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "models" / "a.gguf"

    expected = f"model m0: {missing} does not exist, nor does the folder {tmp_path / 'models'}"

    assert expected == refusal(config(missing))


def test_a_folder_is_no_model_but_one_in_it_may_be(tmp_path: Path) -> None:
    there = gguf(tmp_path / "a.gguf")

    assert f"model m0: {tmp_path} is not a regular file; did you mean {there}?" == refusal(config(tmp_path))


def test_r39_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    assert "is not a regular file" in refusal(config(tmp_path / "pipe"))


@pytest.mark.parametrize("content", [b"", b"GGU", b"version https://git-lfs"])
def test_a_file_that_does_not_begin_as_gguf_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.gguf").write_bytes(content)

    assert re.search(r"a\.gguf is not a GGUF file", refusal(config(tmp_path / "a.gguf")))


def test_a_path_that_goes_through_a_file_is_reported(tmp_path: Path) -> None:
    file = gguf(tmp_path / "a.gguf") / "b.gguf"

    assert f"model m0: {file} cannot be read: Not a directory" == refusal(config(file))


def test_every_bad_file_is_named_at_once(tmp_path: Path) -> None:
    good = gguf(tmp_path / "good.gguf")

    message = refusal(config(tmp_path / "x", good, lora=(tmp_path / "y",)))

    assert ["m0", "m0", "m1"] == re.findall(r"^model (\w+):", message, re.MULTILINE)
