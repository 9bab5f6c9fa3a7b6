"""Which files beside a model are smaller ones of the same model."""

from pathlib import Path

import pytest

from relayd.desired.smaller import smaller_files
from tests.ggufs import TINY, Shape, make_model

pytestmark = pytest.mark.system


def test_what_is_beside_a_model_and_cannot_be_served_is_no_smaller_file_of_it(tmp_path: Path) -> None:
    file = make_model(tmp_path / "m-F32.gguf", Shape(n_layer=4))
    smaller = make_model(tmp_path / "m-Q8_0.gguf", TINY)
    (tmp_path / "m-Q4_0.gguf").symlink_to(tmp_path / "gone.gguf")
    (tmp_path / "m-Q5_0.gguf").write_bytes(smaller.read_bytes()[:5000])
    (tmp_path / "other-Q8_0.gguf").write_bytes(smaller.read_bytes())
    assert [smaller] == smaller_files(file)
    assert [] == smaller_files(tmp_path / "nowhere" / "m-F32.gguf")
