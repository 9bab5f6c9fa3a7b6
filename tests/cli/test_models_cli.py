import json
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner, Result

from relayd.cli.models import app
from relayd.cli.support.removal import ASKED_BYTES
from relayd.errors import UsageError
from relayd.models.shelf import ModelRecord, ModelShelf, StoredFile
from relayd.models.skipped import LISTED
from tests.llamafiles import make_llamafile

pytestmark = pytest.mark.system

Run = Callable[..., Result]
LINE = "m-7b|M 7B|5000000000|4.7 GB|MIT|m-7b.Q5_K_M.gguf|https://example.org/m-7b.Q5_K_M.gguf|chat"


@pytest.fixture
def run(home: Path) -> Run:
    """Run `relayd models` in an empty home."""
    elsewhere = ("LLAMA_CACHE", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "OLLAMA_MODELS")
    folders = {f"XDG_{name.upper()}_HOME": str(home / name) for name in ("config", "state", "cache", "data")}

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(
            app, arguments, env={"HOME": str(home)} | folders | dict.fromkeys(elsewhere)
        )

    return run


@pytest.fixture
def theirs(home: Path, tiny_model: Path) -> Path:
    """A model that LM Studio brought."""
    file = home / ".lmstudio/models/Qwen/Qwen3-8B-GGUF/Qwen3-8B-Q8_0.gguf"
    file.parent.mkdir(parents=True)
    shutil.copy(tiny_model, file)
    return file


@pytest.fixture
def shelf(home: Path) -> ModelShelf:
    return ModelShelf(home / "data/relayd/models")


def put(shelf: ModelShelf, name: str, tiny_model: Path, *, finished: bool = True) -> Path:
    shelf.make()
    file = shelf.root / f"{name}.gguf"
    shutil.copy(tiny_model, file)
    kept = StoredFile(path=str(file), data=str(file), bytes=file.stat().st_size)
    shelf.write(
        ModelRecord(
            name=name, source=f"https://example.org/{name}", kind="pulled", parts=(kept,), finished=finished
        )
    )
    return file


def test_an_empty_disk_says_where_models_are(run: Run) -> None:
    text = run().stdout
    assert "No model is on this disk." in text
    assert "relayd models --all" in text


@pytest.mark.usefixtures("theirs")
def test_models_on_disk_are_listed_with_their_tags(run: Run) -> None:
    lines = run().stdout.splitlines()
    assert "qwen3-8b:Q8_0 Q8_0".split() == lines[1].split()[:2]
    for word in ("yes", "LM Studio", "chat", "tools"):
        assert word in lines[1]


def test_cut_files_are_no_models_and_each_has_a_line(run: Run, theirs: Path) -> None:
    for number in range(LISTED + 2):
        (theirs.parent / f"Cut-{number:02}.gguf").write_bytes(theirs.read_bytes()[:-5])

    listed, every, data = run(), run("--skipped"), json.loads(run("--json").stdout)

    assert "qwen3-8b:Q8_0" in listed.stdout
    assert "Cut-" not in listed.stdout
    assert LISTED == listed.stderr.count("bytes of file, it has")
    assert "  and 2 more: relayd models --skipped" in listed.stderr.splitlines()
    assert LISTED + 2 == every.stdout.count("bytes of file, it has")
    assert LISTED + 2 == len(data["skipped"])
    assert 1 == len(data["models"])


def test_without_bad_files_none_is_listed(run: Run) -> None:
    assert "No file is skipped.\n" == run("--skipped").stdout


def test_a_filter_lists_the_catalogue_too(run: Run, theirs: Path) -> None:
    models = json.loads(run("qwen3-8", "--json").stdout)["models"]
    assert ["qwen3-8b:Q8_0", "deepseek-r1-0528-qwen3-8b"] == [one["name"] for one in models]
    assert [True, False] == [one["on_disk"] for one in models]
    assert str(theirs) == models[0]["path"]
    assert ["qwen3-8b", "Qwen3-8B-Q8_0"] == models[0]["aliases"]


@pytest.mark.usefixtures("theirs")
def test_a_tag_narrows_the_list(run: Run) -> None:
    models = json.loads(run("--tag", "rerank", "--json").stdout)["models"]
    assert all("rerank" in one["tags"] for one in models)
    assert "qwen3-8b:Q8_0" not in [one["name"] for one in models]
    assert isinstance(run("--tag", "poetry").exception, UsageError)
    assert "No model matches." in run("no such thing").stdout


def test_all_models_are_listed_when_asked(run: Run) -> None:
    assert len(json.loads(run("--all", "--json").stdout)["models"]) >= 200


def test_an_unfinished_pull_is_not_listed_but_told(run: Run, shelf: ModelShelf, tiny_model: Path) -> None:
    put(shelf, "half", tiny_model, finished=False).rename(shelf.root / "half.gguf.part")
    document = json.loads(run("--json").stdout)
    assert ([], ["half"]) == (document["models"], [one["name"] for one in document["unfinished"]])
    assert "relayd pull https://example.org/half" in run().stdout
    assert "unfinished pulls" in run("du").stdout


def test_a_model_that_relayd_fetched_is_removed(run: Run, shelf: ModelShelf, tiny_model: Path) -> None:
    file = put(shelf, "mine", tiny_model)
    assert file.stat().st_size == json.loads(run("rm", "mine", "--json").stdout)["freed_bytes"]
    assert not file.exists()


@pytest.mark.parametrize("typed", ["m", "min", "mine-", "Mine-Too"])
def test_the_beginning_of_a_name_is_offered_and_not_obeyed(
    run: Run, shelf: ModelShelf, tiny_model: Path, typed: str
) -> None:
    file = put(shelf, "mine-too-long", tiny_model)
    result = run("rm", typed)
    assert isinstance(result.exception, UsageError)
    assert "Did you mean mine-too-long? The whole name is needed." == result.exception.remedy
    assert file.exists()


def test_an_unfinished_pull_is_removed_by_its_whole_name_only(
    run: Run, shelf: ModelShelf, tiny_model: Path
) -> None:
    put(shelf, "half", tiny_model, finished=False)
    assert isinstance(run("rm", "hal").exception, UsageError)
    assert 0 == run("rm", "HALF").exit_code
    assert [] == shelf.records()


def test_of_two_models_of_one_name_the_path_decides(run: Run, shelf: ModelShelf, tiny_model: Path) -> None:
    files = [put(shelf, name, tiny_model) for name in ("one", "other")]
    for record in shelf.records():
        shelf.write(msgspec.structs.replace(record, name="same"))
    result = run("rm", "same")
    assert isinstance(result.exception, UsageError)
    assert all(str(file) in result.exception.remedy for file in files)
    assert 0 == run("rm", str(files[1])).exit_code
    assert [True, False] == [file.exists() for file in files]


def test_a_large_model_is_not_removed_without_a_question(
    run: Run, shelf: ModelShelf, tiny_model: Path
) -> None:
    file = put(shelf, "large", tiny_model)
    with file.open("r+b") as stream:
        stream.truncate(ASKED_BYTES)
    result = run("rm", "large")
    assert isinstance(result.exception, UsageError)
    assert "relayd models rm large --yes" in result.exception.remedy
    assert file.exists()
    assert "Removed large, 100 MiB freed." in run("rm", "large", "--yes").stdout


def test_a_model_of_another_program_is_not_removed(run: Run, theirs: Path) -> None:
    result = run("rm", "qwen3-8b")
    assert isinstance(result.exception, UsageError)
    assert "not downloaded or imported by relayd" in result.exception.message
    assert theirs.exists()


def test_the_beginning_of_two_names_removes_none(run: Run, shelf: ModelShelf, tiny_model: Path) -> None:
    files = [put(shelf, name, tiny_model) for name in ("mine-a", "mine-b")]
    assert isinstance(run("rm", "mine").exception, UsageError)
    assert all(file.exists() for file in files)


def test_a_gguf_is_imported_in_place(run: Run, theirs: Path) -> None:
    assert str(theirs) == json.loads(run("import", str(theirs), "--json").stdout)["path"]
    assert ["relayd"] == [one["store"] for one in json.loads(run("--json").stdout)["models"]]
    assert "the file was kept" in run("rm", "Qwen3-8B-Q8_0").stdout
    assert theirs.exists()


def test_an_import_gets_the_name_and_the_tags_that_are_given(run: Run, theirs: Path) -> None:
    shown = run(
        "import", str(theirs), "--name", "my-model:v2", "--tag", "chat", "--tag", "code", "--json"
    ).stdout
    assert ("my-model:v2", ["chat", "code"]) == ((one := json.loads(shown))["name"], one["tags"])
    (listed,) = json.loads(run("--json", "--tag", "code", "my-model").stdout)["models"]
    assert ("my-model:v2", ["chat", "code"]) == (listed["name"], listed["tags"])
    run("import", str(theirs))
    assert ["my-model:v2"] == [one["name"] for one in json.loads(run("--json").stdout)["models"]]


@pytest.mark.parametrize("name", ["two words", "-v", "a//b", "é"])
def test_a_name_that_clients_cannot_ask_for_is_refused(run: Run, theirs: Path, name: str) -> None:
    assert isinstance(run("import", str(theirs), f"--name={name}").exception, UsageError)
    assert [] == json.loads(run("--json").stdout)["unfinished"]


def test_a_name_that_another_model_has_is_refused(
    run: Run, shelf: ModelShelf, theirs: Path, tiny_model: Path
) -> None:
    put(shelf, "mine", tiny_model)
    assert "another model" in str(run("import", str(theirs), "--name", "MINE").exception)


def test_an_import_is_called_as_the_list_calls_it(run: Run, theirs: Path) -> None:
    (line,) = run("import", str(theirs)).stdout.splitlines()
    assert f"Imported {json.loads(run('--json').stdout)['models'][0]['name']}: {theirs}" == line


def test_a_llamafile_is_imported_as_a_copy(run: Run, shelf: ModelShelf, home: Path, tiny_model: Path) -> None:
    file = make_llamafile(home / "tiny.Q8_0.llamafile", {"x.gguf": tiny_model.read_bytes()})
    run("import", str(file))
    assert tiny_model.read_bytes() == (shelf.root / "tiny.Q8_0.gguf").read_bytes()


def test_a_catalogue_line_is_imported_into_the_catalogue(run: Run) -> None:
    assert "Imported 1: m-7b" in run("import", LINE).stdout
    assert "m-7b" in run("m-7b").stdout


@pytest.mark.usefixtures("theirs")
def test_disk_use_is_told_by_store(run: Run, shelf: ModelShelf, tiny_model: Path) -> None:
    put(shelf, "mine", tiny_model)
    rows = json.loads(run("du", "--json").stdout)
    assert [("relayd", 1), ("LM Studio", 1)] == [(row["where"], row["models"]) for row in rows]
    assert "all" == run("du").stdout.splitlines()[-1].split()[0]


def test_a_damaged_model_makes_verify_fail(run: Run, home: Path, shelf: ModelShelf, tiny_model: Path) -> None:
    file = make_llamafile(home / "tiny.llamafile", {"x.gguf": tiny_model.read_bytes()})
    run("import", str(file))
    assert 0 == run("verify").exit_code
    model = shelf.root / "tiny.gguf"
    data = bytearray(model.read_bytes())
    data[-1] ^= 1
    model.write_bytes(data)
    result = run("verify", "tiny", "--json")
    assert 1 == result.exit_code
    assert ["damaged"] == [one["outcome"] for one in json.loads(result.stdout)]


def test_help_lists_every_command(run: Run) -> None:
    text = run("--help").stdout
    assert [] == [name for name in ("list", "import", "rm", "verify", "du") if name not in text]
