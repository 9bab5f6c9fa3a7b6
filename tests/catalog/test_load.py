import time
from pathlib import Path

import msgspec
import pytest

from relayd.catalog.load import Folders, load_catalog, read_file, shipped_folder
from relayd.errors import ConfigError, StateError

pytestmark = pytest.mark.system

HEAD = 'family = "{0}"\ntitle = "{0}"\npublisher = "P"\nsources = {{ s = "a source" }}\n'
MODEL = '[[models]]\nname = "{}"\ntitle = "T"\nlicense = "mit"\ncapabilities = ["chat"]\n'


def family(name: str, *models: str, more: str = "") -> str:
    return HEAD.format(name) + "".join(MODEL.format(model) + more + "\n" for model in models)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """A shipped catalogue of two families, and a place for everything else."""
    made = Folders(tmp_path / "shipped", tmp_path / "state", tmp_path / "own", tmp_path / "cache" / "c.json")
    for folder in (made.shipped, made.state, made.own):
        folder.mkdir()
    (made.shipped / "a.toml").write_text(
        family("a", "a-1b", "a-7b", more='aliases = ["{}"]').replace("{}", "")
    )
    (made.shipped / "a.toml").write_text(family("a", "a-1b", "a-7b"))
    (made.shipped / "b.toml").write_text(family("b", "b-1b", more='aliases = ["bee"]'))
    return made


def names(folders: Folders) -> list[str]:
    return [f"{entry.name} {entry.origin}" for entry in load_catalog(folders)]


def test_every_model_knows_its_family_and_where_it_is_from(folders: Folders) -> None:
    more = 'sources = { license = ["s"] }\nfiles = [{ quant = "Q8_0", bytes = 9, source = "s" }]'
    (folders.own / "c.toml").write_text(family("c", "c-1b", more=more))
    model = next(entry for entry in load_catalog(folders) if entry.name == "c-1b")
    assert ("c", "P", "own") == (model.family, model.publisher, model.origin)
    assert (("a source",), "a source") == (model.sources.license, model.files[0].source)


def test_a_model_of_the_operator_replaces_the_one_of_its_name(folders: Folders) -> None:
    (folders.own / "mine.toml").write_text(family("mine", "a-7b"))
    assert ["a-1b shipped", "b-1b shipped", "a-7b own"] == names(folders)


def test_a_name_that_is_taken_is_no_alias_of_others(folders: Folders) -> None:
    (folders.own / "mine.toml").write_text(family("mine", "bee"))
    found = {entry.name: entry.aliases for entry in load_catalog(folders)}
    assert () == found["b-1b"]
    assert "bee" in found


def test_later_parts_win_over_earlier_ones(folders: Folders) -> None:
    (folders.state / "imported.toml").write_text(family("i", "a-1b", "b-1b"))
    (folders.own / "mine.toml").write_text(family("mine", "b-1b"))
    assert ["a-7b shipped", "a-1b imported", "b-1b own"] == names(folders)


def test_one_name_twice_in_one_part_is_an_error(folders: Folders) -> None:
    (folders.own / "one.toml").write_text(family("one", "x-1b"))
    (folders.own / "two.toml").write_text(family("two", "x-1b"))
    with pytest.raises(ConfigError, match="name x-1b twice: one/x-1b and two/x-1b"):
        load_catalog(folders)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("family = ", "not valid TOML"),
        ('family = "x"', "missing required field `title`"),
        (family("x", "x-1b", more="colour = 1"), "model x-1b: .*unknown field `colour`"),
        (family("x", "x-1b", "y-1b").replace('license = "mit"\n', "", 1), "model x-1b: .*`license`"),
        (family("x", "x-1b", more="context = -1"), r"model x-1b: .*>= 1 - at `\$.context`"),
        (family("x", "x-1b", more='sources = { license = ["t"] }'), "model x-1b: no source is called 't'"),
    ],
)
def test_an_error_names_file_model_and_key(folders: Folders, text: str, problem: str) -> None:
    (folders.own / "x.toml").write_text(text)
    with pytest.raises(ConfigError, match=rf"own/x\.toml.*{problem}"):
        load_catalog(folders)


def test_without_relayds_own_catalogue_something_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="own catalogue is missing"):
        load_catalog(Folders(tmp_path, tmp_path, tmp_path))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"gone\.toml cannot be read"):
        read_file(tmp_path / "gone.toml", "own")


def test_the_cache_gives_the_same_models(folders: Folders) -> None:
    first = load_catalog(folders)
    assert folders.cache
    assert folders.cache.is_file()
    assert first == load_catalog(folders)


def test_a_changed_file_is_seen_in_spite_of_the_cache(folders: Folders) -> None:
    load_catalog(folders)
    (folders.shipped / "b.toml").write_text(family("b", "b-2b"))
    assert "b-2b shipped" in names(folders)


def test_a_broken_cache_is_made_anew(folders: Folders) -> None:
    expected = load_catalog(folders)
    assert folders.cache
    folders.cache.write_bytes(b'{"key":')
    assert expected == load_catalog(folders)
    assert "key" in msgspec.json.decode(folders.cache.read_bytes())


def test_a_cache_that_cannot_be_written_is_no_error(folders: Folders) -> None:
    assert folders.cache
    folders.cache.parent.write_text("a file where the folder would be")
    assert load_catalog(folders)


def test_the_cache_saves_most_of_the_time_that_the_whole_catalogue_takes(tmp_path: Path) -> None:
    folders = Folders(shipped_folder(), tmp_path, tmp_path, tmp_path / "cache.json")

    def seconds() -> float:
        started = time.process_time()
        load_catalog(folders)
        return time.process_time() - started

    anew = seconds()
    assert min(seconds() for _ in range(5)) < anew / 3
