import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from relayd.cli.catalog import app
from relayd.errors import UsageError

pytestmark = pytest.mark.system

LINE = "m-7b|M 7B|5000000000|4.7 GB|MIT|m-7b.Q5_K_M.gguf|https://example.org/m-7b.Q5_K_M.gguf|chat"
KNOWN = "qwen3-8b|Qwen|9000000000|9 GB|MIT|qwen.Q8_0.gguf|https://example.org/qwen.Q8_0.gguf|chat"

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    folders = {
        f"XDG_{name.upper()}_HOME": str(tmp_path / name) for name in ("config", "state", "cache", "data")
    }

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, arguments, env=folders)

    return run


def names(result: Result) -> list[str]:
    return [entry["name"] for entry in json.loads(result.stdout)]


def test_the_list_has_a_line_a_model_out_of_a_terminal(run: Run) -> None:
    lines = run("list", "qwen3-14").stdout.splitlines()
    assert ["NAME", "SIZE", "QUANTS", "CONTEXT", "TAGS", "LICENCE"] == lines[0].split()
    assert "qwen3-14b 14.8B Q4-Q8 40k chat reasoning tools apache-2.0".split() == lines[1].split()
    assert 2 == len(lines)


def test_the_list_is_filtered_by_text_and_tag(run: Run) -> None:
    embeddings = names(run("list", "QWEN", "--tag", "embedding", "--json"))
    assert ["qwen3-embedding-0.6b", "qwen3-embedding-4b", "qwen3-embedding-8b"] == embeddings
    assert ["olmo-7b-0424", "olmo-3-7b-instruct"] == names(run("list", "olmo-7b", "--json"))


def test_a_filter_without_a_model_says_so(run: Run) -> None:
    assert "No model" in run("list", "no such thing").stdout
    assert [] == names(run("list", "no such thing", "--json"))


def test_an_unknown_tag_is_an_error(run: Run) -> None:
    result = run("list", "--tag", "poetry")
    assert isinstance(result.exception, UsageError)
    assert "rerank" in result.exception.remedy


def test_one_model_is_shown_with_its_files_and_sources(run: Run) -> None:
    page = run("show", "glm-4.7-flash").stdout
    for fact in ("29,943,390,976", "kv_lora 512", "17 GiB", "exact", "estimate", "LlamaBarn", "mit"):
        assert fact in page


def test_one_model_as_json_has_every_fact(run: Run) -> None:
    model = json.loads(run("show", "GPT-OSS-20B-mxfp4", "--json").stdout)
    assert ("gpt-oss-20b", "shipped", "MXFP4_MOE") == (model["name"], model["origin"], model["quant"])
    assert 128 == model["dimensions"]["sliding_window"]["n_swa"]
    assert [12_109_566_560] == [file["bytes"] for file in model["files"] if file.get("exact")]
    assert model["sources"]["dimensions"]


def test_an_unclear_name_is_an_error(run: Run) -> None:
    assert isinstance(run("show", "mistral").exception, UsageError)


def test_a_line_is_imported_and_listed_as_such(run: Run) -> None:
    assert "Imported 1: m-7b\n" == run("import", LINE).stdout
    lines = run("list", "m-7b").stdout.splitlines()
    assert "m-7b*" in {line.split()[0] for line in lines}
    assert "* from relayd catalog import" == lines[-1].strip()
    assert "imported" == json.loads(run("show", "m-7b", "--json").stdout)["origin"]


def test_a_model_that_is_known_is_not_imported_unasked(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "custom.txt"
    file.write_text(f"{LINE}\n{KNOWN}\n")
    result = json.loads(run("import", str(file), "--json").stdout)
    assert {"imported": ["m-7b"], "skipped": ["qwen3-8b"]} == result
    assert "shipped" == json.loads(run("show", "qwen3-8b", "--json").stdout)["origin"]
    assert "qwen3-8b" in run("import", str(file)).stdout


def test_a_model_that_is_known_is_imported_when_asked(run: Run) -> None:
    run("import", KNOWN, "--replace")
    assert "imported" == json.loads(run("show", "qwen3-8b", "--json").stdout)["origin"]


def test_what_is_neither_a_file_nor_a_line_is_an_error(run: Run) -> None:
    result = run("import", "nowhere.txt")
    assert isinstance(result.exception, UsageError)
    assert "nowhere.txt cannot be read" in result.exception.message


def test_an_update_without_an_address_is_an_error(run: Run) -> None:
    assert isinstance(run("update").exception, UsageError)
