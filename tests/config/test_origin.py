"""Each setting that holds is shown with the place that it comes from, and no secret is."""

from pathlib import Path

import pytest

from relayd.config.load import load, read_documents
from relayd.config.origin import SettingOrigin, origin_of, origins
from relayd.errors import UsageError

pytestmark = pytest.mark.system

KEY = "0123456789abcdef0123456789abcdef"
TEXT = f"""\
[server]
listen = "127.0.0.1:9000"
api_key = "{KEY}"

[[model]]
name = "m.1"
file = "m.gguf"
slots = 2
[model.placement]
devices = ["CUDA0"]
"""


def written(folder: Path, text: str = TEXT) -> Path:
    file = folder / "relay.toml"
    file.write_text(text)
    file.chmod(0o600)
    return file


def shown(folder: Path, **environ: str) -> tuple[SettingOrigin, ...]:
    return origins(read_documents(folder / "relay.toml", environ, folder, folder))


def test_a_line_a_variable_and_the_default_are_told_apart(tmp_path: Path) -> None:
    file = written(tmp_path)
    found = {one.key: (one.value, one.place) for one in shown(tmp_path, RELAYD_QUEUE__DEPTH="7")}

    assert ("127.0.0.1:9000", f"{file}:2") == found["server.listen"]
    assert (7, "RELAYD_QUEUE__DEPTH") == found["queue.depth"]
    assert (16, "default") == found["server.max_body_mib"]
    assert (2, f"{file}:8") == found["model.m.1.slots"]
    assert {"devices": ["CUDA0"]} == found["model.m.1.placement"][0]


def test_a_variable_wins_over_a_line(tmp_path: Path) -> None:
    written(tmp_path)
    (one,) = origin_of("server.listen", shown(tmp_path, RELAYD_SERVER__LISTEN="127.0.0.1:1"))

    assert SettingOrigin("server.listen", "127.0.0.1:1", "RELAYD_SERVER__LISTEN") == one


def test_every_value_is_the_one_that_holds(tmp_path: Path) -> None:
    file = written(tmp_path)
    environ = {"RELAYD_QUEUE__DEPTH": "7"}
    config = load(file, environ, tmp_path, tmp_path).config
    found = {one.key: one.value for one in shown(tmp_path, **environ)}

    for section in ("server", "queue", "replicas", "memory"):
        for key in getattr(config, section).__struct_fields__:
            if key != "api_key":
                value = getattr(getattr(config, section), key)
                assert found[f"{section}.{key}"] == (list(value) if isinstance(value, tuple) else value)


def test_no_key_is_shown(tmp_path: Path) -> None:
    written(tmp_path)
    found = shown(tmp_path)

    assert KEY not in repr(found)
    assert ["***"] == [one.value for one in origin_of("server.api_key", found)]


def test_a_table_and_a_model_are_shown_whole(tmp_path: Path) -> None:
    written(tmp_path)
    found = shown(tmp_path)

    assert {"queue.depth", "queue.attempts"} <= {one.key for one in origin_of("queue", found)}
    assert 4 == len(origin_of("model.m.1", found))


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("listen", "server.listen"),
        ("server.listn", "server.listen"),
        ("listn", "server.listen"),
        ("serve", "server"),
    ],
)
def test_an_unknown_key_is_answered_with_the_one_that_was_meant(tmp_path: Path, key: str, meant: str) -> None:
    written(tmp_path)
    with pytest.raises(UsageError, match="there is no setting") as caught:
        origin_of(key, shown(tmp_path))

    assert f"Did you mean {meant}?" == caught.value.remedy


def test_paths_start_at_the_folder_of_the_file_that_a_link_leads_to(tmp_path: Path) -> None:
    for name in ("dotfiles", "config"):
        (tmp_path / name).mkdir()
    target = written(tmp_path / "dotfiles")
    link = tmp_path / "config/relay.toml"
    link.symlink_to(target)

    loaded = load(link, {}, tmp_path, tmp_path)

    assert str(tmp_path / "dotfiles/m.gguf") == loaded.config.model[0].file
    assert (str(link),) == loaded.sources
