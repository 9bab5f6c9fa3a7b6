"""Does `relayd top` fit any terminal, and show what is chosen, sorted and filtered?"""

import io
from collections.abc import Sequence

import pytest
from msgspec.structs import replace
from rich.console import Console

from relayd.daemon.adminreport import RequestReport
from relayd.daemon.livereport import AttentionReport, LiveReport, NowReport
from relayd.daemon.report import AccountReport, LedgerReport, ModelReport, ReplicaReport, StatusReport
from relayd.ui.top import TopView, chosen_replicas, render_top, sparkline

pytestmark = pytest.mark.pure

NOW = 1_800_000_000.0


def replica(name: str, state: str = "ready") -> ReplicaReport:
    return ReplicaReport(name, state, since=NOW - 70, slots=4, command=("llama-server", "--port", "1"))


def report(names: Sequence[str] = ("a#0", "b#0", "b#1"), requests: int = 3) -> LiveReport:
    models = [
        ModelReport(model, slots=4, replicas=tuple(replica(name) for name in names if name.startswith(model)))
        for model in dict.fromkeys(name.partition("#")[0] for name in names)
    ]
    ledger = LedgerReport((AccountReport("host", 100, held=40, free=60),))
    return LiveReport(
        StatusReport(models=tuple(models), memory=ledger),
        attention=(AttentionReport("error", "b#1", "b#1 was given up.", "out of memory"),),
        models={"a": NowReport(2, 1, 10.0)},
        replicas={"a#0": NowReport(2, 0, 10.0), "b#0": NowReport(4, 0, 30.0)},
        requests={
            str(n): RequestReport(f"id-{n}", "/v1/x", "a", "", "waiting" if n else "answering", NOW - n, 1.0)
            for n in range(requests)
        },
        tokens_per_second=40.0,
    )


def text(view: TopView) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=view.width, height=view.height, legacy_windows=False)
    console.print(render_top(view), end="")
    return out.getvalue().splitlines()


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (120, 40), (200, 60)])
@pytest.mark.parametrize("page", ["fleet", "details", "log", "help"])
def test_a_screen_is_as_large_as_the_terminal(size: tuple[int, int], page: str) -> None:
    names = [f"model-with-a-long-name-{n}#0" for n in range(50)]
    view = TopView(
        report(names, 40), NOW, *size, selected=names[30], page=page, log=["x" * 300] * 100,
        tokens=[float(n) for n in range(300)], waiting=[1.0],
    )  # fmt: skip

    lines = text(view)

    assert len(lines) <= size[1]
    assert max(map(len, lines)) <= size[0]
    assert page == "help" or any("model-with-a-long" in line or "x" in line for line in lines)


def test_the_replica_that_is_chosen_is_on_the_screen_and_marked() -> None:
    names = [f"m{n:02}#0" for n in range(50)]

    (line,) = [one for one in text(TopView(report(names), NOW, selected="m44#0")) if one.startswith(">")]

    assert line.split()[:2] == [">", "m44#0"]


def test_what_needs_attention_stands_above_all_replicas() -> None:
    lines = text(TopView(report(), NOW))

    assert lines.index("x b#1 was given up. out of memory") < next(
        at for at, line in enumerate(lines) if "REPLICA" in line
    )


@pytest.mark.parametrize(
    ("sort", "names"),
    [("name", ["a#0", "b#0", "b#1"]), ("busy", ["b#0", "a#0", "b#1"]), ("rate", ["b#0", "a#0", "b#1"])],
)
def test_replicas_are_sorted(sort: str, names: list[str]) -> None:
    assert names == [one.name for one in chosen_replicas(TopView(report(), NOW, sort=sort))]


def test_a_filter_leaves_what_has_all_of_its_words() -> None:
    assert ["b#1"] == [one.name for one in chosen_replicas(TopView(report(), NOW, filter="B 1 ready"))]
    assert "  No replica matches the filter." in text(TopView(report(), NOW, filter="zzz"))


def test_a_terminal_without_more_than_ascii_gets_only_that() -> None:
    view = TopView(report(requests=0), NOW, plain=True, tokens=[1.0, 2.0], waiting=[3.0])

    assert "\n".join(text(view)).isascii()


def test_a_sparkline_is_as_high_as_its_largest_value() -> None:
    assert "  ▄█" == sparkline([0.0, 1.0, 2.0], 4)
    assert ("    ", "", "█") == (sparkline([], 4), sparkline([1.0], 0), sparkline([0.0, 1.0], 1))


def test_a_prompt_that_is_read_shows_how_far() -> None:
    reading = replace(report().requests["0"], state="running", prompt_total=200, prompt_done=50)

    assert any(
        "prompt 25 %" in line for line in text(TopView(replace(report(), requests={"0": reading}), NOW))
    )
