"""What is wrong with lines, and in which order they are run."""

import json
from pathlib import Path
from typing import Any

import pytest

from relayd.batch.lines import LineIndex
from relayd.batch.reading import CheckedLines, LineRules, read_lines
from relayd.errors import StateError

pytestmark = pytest.mark.fake

CHAT = "/v1/chat/completions"


def line(name: str, *, url: str = CHAT, text: str = "Hi", system: str = "", **body: Any) -> str:
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": text})
    return json.dumps({"custom_id": name, "url": url, "body": {"model": "m", "messages": messages, **body}})


def read(path: Path, *lines: str, endpoint: str = CHAT, most: int = 100, longest: int = 4096) -> CheckedLines:
    file = path / "input"
    file.write_text("\n".join(lines))
    return read_lines(file, LineRules(endpoint, most, longest))


@pytest.mark.parametrize(
    ("bad", "code", "param"),
    [
        ("{", "invalid_json_line", None),
        ("[]", "invalid_request", None),
        ('{"custom_id":"b"}', "invalid_request", "body"),
        ('{"custom_id":1,"body":{}}', "invalid_request", "custom_id"),
        (line(""), "invalid_request", "custom_id"),
        (line("x" * 513), "invalid_request", "custom_id"),
        (line("a"), "duplicate_custom_id", "custom_id"),
        (line("b", stream=True), "invalid_request", "stream"),
        (line("b", url="/v1/embeddings"), "mismatched_endpoint", "url"),
        ('{"custom_id":"b","method":"GET","body":{}}', "invalid_method", "method"),
        ('{"custom_id":"b","body":[]}', "invalid_request", "body"),
        (line("b", text="x" * 5000), "line_too_long", None),
        ("[" * 3000, "invalid_request", None),
    ],
)
def test_a_bad_line_is_refused_with_its_number(
    tmp_path: Path, bad: str, code: str, param: str | None
) -> None:
    found = read(tmp_path, line("a"), "", bad, line("z"))

    assert found.index is None
    assert [(code, 3, param)] == [(one.code, one.line, one.param) for one in found.faults]


def test_without_an_endpoint_lines_name_their_own(tmp_path: Path) -> None:
    found = read(tmp_path, line("a"), line("b", url="/v1/messages"), line("c", url="/v1/x"), endpoint="")

    assert [("invalid_url", 3)] == [(one.code, one.line) for one in found.faults]


def test_a_file_without_lines_and_one_with_too_many_are_refused(tmp_path: Path) -> None:
    assert ["empty_file"] == [one.code for one in read(tmp_path, "", "").faults]
    assert ["too_many_tasks"] == [one.code for one in read(tmp_path, *map(line, "abc"), most=2).faults]


def test_faults_beyond_a_hundred_are_not_counted(tmp_path: Path) -> None:
    assert 100 == len(read(tmp_path, *["{"] * 300, most=1000).faults)


def test_lines_of_one_model_follow_each_other_and_among_them_those_that_begin_alike(tmp_path: Path) -> None:
    texts = [
        line(f"{model}{system}{number}", model=model, system=system * 600, text=str(number))
        for number in range(4)
        for system in "xyz"
        for model in ("m", "n")
    ]

    index = read(tmp_path, *texts).index

    assert index is not None
    names = [json.loads(texts[index[place].number - 1])["custom_id"] for place in range(len(index))]
    groups = [name[:2] for name in names]
    assert 6 == len(set(groups))
    assert all(groups[at : at + 4] == [groups[at]] * 4 for at in range(0, 24, 4))
    assert ["m"] * 12 == [name[0] for name in names[:12]]


def test_an_index_is_read_as_it_was_written(tmp_path: Path) -> None:
    index = read(tmp_path, line("a"), line("b", model="n")).index

    assert index is not None
    index.write(tmp_path / "lines")
    again = LineIndex.read(tmp_path / "lines")
    assert [*index] == [*again]
    assert (("m", "n"), (CHAT,), 2) == (again.models, again.urls, again.last)


def test_an_index_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    index = read(tmp_path, line("a")).index
    assert index is not None
    index.write(tmp_path / "lines")
    (tmp_path / "lines").write_bytes((tmp_path / "lines").read_bytes()[:-1])

    with pytest.raises(StateError, match="not whole"):
        LineIndex.read(tmp_path / "lines")
