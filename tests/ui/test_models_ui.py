import io

import pytest
from rich.console import Console

from relayd.ui.downloads import Pace, PullBars, PullLines, shown_pull
from relayd.ui.modelrow import ModelRow
from relayd.ui.models import models_table, usage_table, verdicts_table

pytestmark = pytest.mark.pure

MIB = 1 << 20


def drawn(renderable: object, width: int = 120) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_model_is_a_line_with_what_is_known_of_it() -> None:
    rows = [
        ModelRow("[b]odd:Q8_0", 5 * MIB, "Q8_0", "Ollama", "running", fits=True, tags=("chat", "vision")),
        ModelRow("big", None, "", "catalogue", "", fits=None),
    ]
    lines = drawn(models_table(rows))
    assert "NAME QUANT SIZE FITS STATE WHERE TAGS".split() == lines[0].split()
    assert "[b]odd:Q8_0 Q8_0 5.0 MiB yes running Ollama chat vision".split() == lines[1].split()
    assert ["big", "catalogue"] == lines[2].split()


def test_a_model_that_does_not_fit_says_so() -> None:
    assert "no" in drawn(models_table([ModelRow("m", 5, "", "x", "", fits=False)]))[1].split()


def test_stores_and_verdicts_have_a_line_each() -> None:
    assert ["Ollama", "2", "3.0", "MiB"] == drawn(usage_table([("Ollama", 2, 3 * MIB)]))[1].split()
    lines = drawn(verdicts_table([("m", "damaged", ["/x has another digest"])]))
    assert "m damaged /x has another digest".split() == lines[1].split()


@pytest.mark.parametrize(
    ("now", "done", "total", "line"),
    [
        (12.0, 30 * MIB, 100 * MIB, "30 MiB of 100 MiB (30%), 10 MiB/s, 7.0 s left"),
        (10.0, 10 * MIB, 100 * MIB, "10 MiB of 100 MiB (10%)"),
        (12.0, 30 * MIB, None, "30 MiB, 10 MiB/s"),
    ],
)
def test_the_rate_counts_what_arrives_now(now: float, done: int, total: int | None, line: str) -> None:
    assert line == Pace(10.0, 10 * MIB).line(now, done, total)


def test_out_of_a_terminal_a_line_comes_every_five_seconds_and_at_the_end() -> None:
    seconds = [0.0]
    console = Console(file=io.StringIO(), width=20)
    with shown_pull(console, lambda: seconds[0]) as progress:
        assert isinstance(progress, PullLines)
        for seconds[0] in (0.0, 1.0, 4.9, 5.0, 6.0, 9.9):
            progress.at("m.gguf", int(seconds[0] * MIB), 10 * MIB)
        seconds[0] = 9.95
        progress.at("m.gguf", 10 * MIB, 10 * MIB)
        progress.say("done")
    assert isinstance(console.file, io.StringIO)
    assert [
        "m.gguf: 5.0 MiB of 10 MiB (50%), 1.0 MiB/s, 5.0 s left",
        "m.gguf: 10 MiB of 10 MiB (100%), 1.0 MiB/s",
        "done",
    ] == console.file.getvalue().splitlines()


def test_on_a_terminal_a_bar_moves_and_leaves() -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    with shown_pull(console, lambda: 0.0) as progress:
        progress.at("m[1].gguf", 1, None)
        progress.at("m[1].gguf", 10, 10)
        progress.say("[odd] text")
    assert isinstance(console.file, io.StringIO)
    assert "[odd] text" in console.file.getvalue()
    assert "m[1].gguf" in console.file.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140])
def test_a_bar_never_hides_the_figures(width: int) -> None:
    seconds = iter([0.0, 10.0])
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    with shown_pull(console, lambda: next(seconds)) as progress:
        assert isinstance(progress, PullBars)
        for done in (0, 1024 * MIB):
            progress.at("qwen3-30b-a3b-instruct-2507-UD-Q4_K_XL.gguf", done, 4864 * MIB)
        console.print(progress._bars.get_renderable())
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    figures = "1.0 GiB of 4.8 GiB (21%)" + (", 102 MiB/s, 38 s left" if width >= 70 else "")
    assert [figures] == [figures for line in shown.splitlines() if line.rstrip().endswith(figures)][:1]


LONG = [
    ModelRow("qwen3-30b-a3b-instruct-2507:UD-Q4_K_XL", 17 << 30, "UD-Q4_K_XL", "Hugging Face cache",
             "running", fits=True, tags=("chat", "code", "tools")),
    ModelRow("smollm2-135m-instruct:Q8_0", 138 * MIB, "Q8_0", "relayd", "", fits=True, tags=("chat",)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (140, "NAME QUANT SIZE FITS STATE WHERE TAGS"),
        (100, "NAME QUANT SIZE FITS STATE WHERE"),
        (80, "NAME SIZE FITS STATE"),
        (60, "NAME SIZE STATE"),
    ],
)
def test_a_narrow_terminal_has_fewer_columns_and_whole_names(width: int, columns: str) -> None:
    lines = drawn(models_table(LONG, width), width)
    assert columns.split() == lines[0].split()
    assert 3 == len(lines)
    assert lines[1].startswith("qwen3-30b-a3b-instruct-2507:UD-Q4_K_XL ")
