"""Do clients of a daemon that starts wait, or are they refused until an engine is installed?"""

from pathlib import Path

import pytest

from relayd.cli.serve import has_engine

pytestmark = pytest.mark.pure


@pytest.mark.parametrize("named", ["/opt/llama/llama-server", Path("/opt/llama/llama-server")])
def test_an_engine_of_ones_own_is_not_installed_first(tmp_path: Path, named: object) -> None:
    assert has_engine(tmp_path, named)


def test_an_installed_engine_is_one_and_a_log_of_its_build_is_none(tmp_path: Path) -> None:
    (tmp_path / "engines").mkdir()
    (tmp_path / "engines" / "build.log").touch()
    assert not has_engine(tmp_path, "")

    (tmp_path / "engines" / "b1-cpu").mkdir()
    assert has_engine(tmp_path, None)
