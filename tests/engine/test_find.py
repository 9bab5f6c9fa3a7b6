from collections.abc import Callable
from pathlib import Path

import pytest

from relayd.engine import Engine, EngineShelf, Installed, find_engine
from relayd.errors import EngineError, EngineMissing

pytestmark = pytest.mark.fake

Writer = Callable[[Path], Path]


def _find(tmp_path: Path, shelf: EngineShelf, *, configured: str = "", **environ: str) -> Engine:
    known = {"PATH": str(tmp_path / "path")} | environ
    return find_engine(shelf, cache=tmp_path / "cache", environ=known, configured=configured)


def test_the_configured_one_comes_before_the_environment_the_installed_and_path(
    tmp_path: Path, shelf: EngineShelf, put: Callable[..., Installed], engine_file: Writer
) -> None:
    configured, named = engine_file(tmp_path / "a/llama-server"), engine_file(tmp_path / "b/llama-server")
    installed, on_path = shelf.binary(put("b1-cpu")), engine_file(tmp_path / "path/llama-server")

    found = [
        _find(tmp_path, shelf, configured=str(configured), LLAMA_SERVER_PATH=str(named)),
        _find(tmp_path, shelf, LLAMA_SERVER_PATH=str(named)),
        _find(tmp_path, shelf),
        _find(tmp_path, EngineShelf(tmp_path / "none", "cpu")),
    ]

    expected = [
        (configured, "configured"),
        (named, "environment"),
        (installed, "installed"),
        (on_path, "path"),
    ]
    assert expected == [(engine.path, engine.source) for engine in found]


def test_an_installed_one_has_the_version_of_its_manifest(
    tmp_path: Path, shelf: EngineShelf, put: Callable[..., Installed]
) -> None:
    put("b11434-cpu", version="b11434", build=11434)
    found = _find(tmp_path, shelf)
    assert ("b11434", 11434) == (found.version, found.build)


def test_any_other_has_the_version_it_says(tmp_path: Path, shelf: EngineShelf, engine_file: Writer) -> None:
    engine_file(tmp_path / "path/llama-server")
    found = _find(tmp_path, shelf)
    assert ("b6895", 6895) == (found.version, found.build)


def test_nothing_found_says_how_to_install_one(tmp_path: Path, shelf: EngineShelf) -> None:
    with pytest.raises(EngineMissing) as caught:
        _find(tmp_path, shelf)
    assert "no llama-server was found\nInstall one with `relayd engine install`." == str(caught.value)


@pytest.mark.parametrize("by_variable", [True, False])
def test_a_named_one_that_is_missing_is_not_replaced_by_another(
    tmp_path: Path, shelf: EngineShelf, engine_file: Writer, by_variable: bool
) -> None:
    engine_file(tmp_path / "path/llama-server")
    absent = "/absent/llama-server"
    environ = {"LLAMA_SERVER_PATH": absent} if by_variable else {}
    with pytest.raises(EngineMissing, match="names /absent/llama-server as the llama-server"):
        _find(tmp_path, shelf, configured="" if by_variable else absent, **environ)


@pytest.mark.parametrize("loose", ["bin/llama-server", "bin"])
def test_r43_one_that_anybody_may_change_is_not_run(
    tmp_path: Path, shelf: EngineShelf, engine_file: Writer, loose: str
) -> None:
    binary = engine_file(tmp_path / "bin/llama-server")
    binary.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (tmp_path / loose).chmod(0o777)
    link = tmp_path / "link"
    link.symlink_to(binary)

    with pytest.raises(EngineError, match="can be changed by every user") as caught:
        _find(tmp_path, shelf, configured=str(link))

    assert f"Take that right away with `chmod o-w {tmp_path / loose}`." == caught.value.remedy
    assert not (tmp_path / "ran").exists()
