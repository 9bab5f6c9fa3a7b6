"""Findings are lines of whole words, whatever the width."""

import pytest

from relayd.ui.doctor import findings_lines

pytestmark = pytest.mark.pure

PATH = "/home/anna/.local/share/relayd/engines/b11434-linux-x86_64-e67be2ac-build/bin/llama-server"
ROWS = [
    ("ok", "engine", f"llama.cpp b11434 at {PATH}", ""),
    ("problem", "model files", "model m: it is cut and nobody knows why it has 200000 bytes of 346944",
     f"Get it anew with `relayd pull hf:maker/tiny-GGUF --force`, or see {PATH}."),
    ("note", "user", "relayd would run as root", "Run it as a user of its own."),
]  # fmt: skip


@pytest.mark.parametrize("width", [0, 40, 80, 100, 140])
def test_no_path_and_no_command_is_broken(width: int) -> None:
    lines = [line.plain for line in findings_lines(ROWS, width)]

    assert 2 == sum(PATH in line for line in lines)
    assert any("`relayd pull hf:maker/tiny-GGUF --force`" in line for line in lines)


@pytest.mark.parametrize("width", [80, 100, 140])
def test_what_can_be_broken_stays_within_the_width(width: int) -> None:
    lines = [line.plain for line in findings_lines(ROWS, width)]

    assert [] == [line for line in lines if len(line) > width and PATH not in line and "`" not in line]


def test_outside_a_terminal_each_finding_is_a_line() -> None:
    assert [
        f"ok       engine       llama.cpp b11434 at {PATH}",
        "problem  model files  model m: it is cut and nobody knows why it has 200000 bytes of 346944",
        f"                      Get it anew with `relayd pull hf:maker/tiny-GGUF --force`, or see {PATH}.",
        "note     user         relayd would run as root",
        "                      Run it as a user of its own.",
        "",
        "1 problem and 1 note.",
    ] == [line.plain for line in findings_lines(ROWS, 0)]


def test_what_was_mended_is_counted() -> None:
    lines = [line.plain for line in findings_lines([("fixed", "file rights", "x", "")], 80)]

    assert "1 finding fixed. Nothing is wrong." == lines[-1]
