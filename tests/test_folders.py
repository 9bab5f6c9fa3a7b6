"""Are relayd's folders where XDG says, and closed to others?"""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from relayd.errors import ConfigError, StateError
from relayd.folders import (
    Paths,
    cache_dir,
    config_dir,
    data_dir,
    make_folders,
    paths,
    runtime_dir,
    state_dir,
)

HOME = Path("/home/ann")


@pytest.mark.pure
def test_without_variables_everything_is_under_home() -> None:
    expected = Paths(
        config=HOME / ".config/relayd",
        data=HOME / ".local/share/relayd",
        cache=HOME / ".cache/relayd",
        state=HOME / ".local/state/relayd",
        runtime=HOME / ".local/state/relayd/run",
        control_socket=HOME / ".local/state/relayd/run/control.sock",
        lock=HOME / ".local/state/relayd/run/relayd.lock",
    )

    assert expected == paths({}, HOME)


@pytest.mark.pure
def test_xdg_variables_move_the_folders() -> None:
    environ = {f"XDG_{name}_HOME": f"/x/{name.lower()}" for name in ("CONFIG", "DATA", "CACHE", "STATE")}

    found = paths(environ, HOME)

    assert (Path("/x/config/relayd"), Path("/x/data/relayd")) == (found.config, found.data)
    assert (Path("/x/cache/relayd"), Path("/x/state/relayd/run")) == (found.cache, found.runtime)


@pytest.mark.pure
@pytest.mark.parametrize("value", ["", "relative"])
def test_an_xdg_variable_that_is_not_absolute_is_ignored(value: str) -> None:
    assert HOME / ".config/relayd" == config_dir({"XDG_CONFIG_HOME": value}, HOME)


@pytest.mark.pure
def test_the_runtime_folder_is_never_the_one_that_logout_deletes() -> None:
    assert HOME / ".local/state/relayd/run" == runtime_dir({"XDG_RUNTIME_DIR": "/run/user/1000"}, HOME)


@pytest.mark.pure
@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"RUNTIME_DIRECTORY": "/run/relayd"}, "/run/relayd"),
        ({"RUNTIME_DIRECTORY": "/run/relayd:/run/more"}, "/run/relayd"),
        ({"RUNTIME_DIRECTORY": "/run/relayd", "RELAYD_RUNTIME_DIR": "/tmp/r"}, "/tmp/r"),
    ],
)
def test_the_runtime_folder_can_be_chosen(environ: dict[str, str], expected: str) -> None:
    assert Path(expected) == runtime_dir(environ, HOME)


@pytest.mark.pure
def test_a_runtime_path_of_100_bytes_with_its_longest_socket_is_the_last_that_passes() -> None:
    longest = "/" + "é" * 42 + "a"

    assert Path(longest) == runtime_dir({"RELAYD_RUNTIME_DIR": longest}, HOME)
    with pytest.raises(ConfigError, match="takes 101 bytes, and the limit is 100") as refused:
        runtime_dir({"RELAYD_RUNTIME_DIR": longest + "b"}, HOME)
    assert "RELAYD_RUNTIME_DIR" in refused.value.remedy


@pytest.mark.pure
def test_a_relative_runtime_folder_is_refused() -> None:
    with pytest.raises(ConfigError, match="run is not an absolute path"):
        runtime_dir({"RELAYD_RUNTIME_DIR": "run"}, HOME)


@pytest.mark.system
def test_without_arguments_the_folders_are_those_of_this_process() -> None:
    mine = paths(os.environ, Path.home())

    assert (mine.config, mine.data, mine.cache) == (config_dir(), data_dir(), cache_dir())
    assert (mine.state, mine.runtime) == (state_dir(), runtime_dir())


@pytest.mark.system
def test_missing_folders_are_made_for_the_owner_only(home: Path) -> None:
    own = paths({}, home)
    own = replace(own, runtime=home / "run")

    make_folders(own)
    make_folders(own)

    assert {0o700} == {one.stat().st_mode & 0o777 for one in (own.data, own.cache, own.state, own.runtime)}
    assert not own.config.exists()


@pytest.mark.system
@pytest.mark.parametrize(("name", "mode"), [("state", 0o750), ("runtime", 0o701), ("data", 0o775)])
def test_a_folder_open_to_others_is_refused_and_left_as_it_is(home: Path, name: str, mode: int) -> None:
    own = paths({}, home)
    make_folders(own)
    folder: Path = getattr(own, name)
    folder.chmod(mode)

    with pytest.raises(StateError, match=f"{folder} is open to other users") as refused:
        make_folders(own)

    assert f"Run `chmod 700 {folder}`." == refused.value.remedy
    assert mode == folder.stat().st_mode & 0o777


@pytest.mark.system
def test_a_data_folder_may_be_readable(home: Path) -> None:
    own = paths({}, home)
    make_folders(own)
    own.data.chmod(0o755)

    make_folders(own)


@pytest.mark.system
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_state_of_another_user_is_refused(home: Path) -> None:
    own = paths({}, home)
    make_folders(own)
    os.chown(own.state, 65534, -1)

    with pytest.raises(StateError, match="belongs to another user"):
        make_folders(own)


@pytest.mark.system
def test_a_file_in_the_way_is_named(home: Path) -> None:
    own = replace(paths({}, home), data=home / "file")
    own.data.touch()

    with pytest.raises(StateError, match=f"{own.data} cannot be made: File exists"):
        make_folders(own)
