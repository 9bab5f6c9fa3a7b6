"""Can the answers be read at 80, 100 and 140 columns, on any machine?"""

import re
from collections.abc import Callable
from functools import cache

import pytest
from rich.console import Console, RenderableType

from relayd.planner.answers import Proposal, answers
from relayd.planner.quality import Use
from relayd.planner.rank import Request
from relayd.planner.recommend import Advice, recommend
from relayd.ui.machine import machine_line, room_line
from relayd.ui.recommend import NARROW, advice_table, answers_page, heading
from tests.planner.chains import room
from tests.planner.models import known, machine
from tests.planner.test_golden_picks import GOLDEN

pytestmark = pytest.mark.pure

WIDTHS = (80, 100, 140)


def lines(page: RenderableType, width: int) -> list[str]:
    console = Console(width=width, no_color=True)
    with console.capture() as text:
        console.print(page)
    return [line.rstrip() for line in text.get().splitlines()]


@cache
def found(name: str) -> tuple[tuple[Advice, ...], tuple[Proposal, ...]]:
    there, models = room(name), list(known().values())
    several = recommend(models, there, Request(), 4)
    return several, answers(models, there, Request(), several[0])


def named(one: Proposal) -> str:
    return f"{one.advice.known.name}:{one.placement.form.quantization.name}"


def page(name: str, here: Callable[[Proposal], bool] = lambda _: False) -> RenderableType:
    return answers_page(found(name)[1], Use.CHAT, 1, named, here)


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize("width", WIDTHS)
def test_answers_are_sentences_with_size_minutes_memory_speed_and_command(name: str, width: int) -> None:
    shown = lines(page(name), width)
    text = " ".join(" ".join(shown).split())
    given = found(name)[1]

    assert max(map(len, shown)) <= width
    assert len(given) == len(
        re.findall(r"[\d.]+ [GM]iB to download \(\d+ (?:min|h) at 100 Mbit/s\); takes", text)
    )
    assert len(given) == len(re.findall(r"(?:About|Roughly) [\d.,]+ tokens/s alone, \d+k of context\.", text))
    assert len(given) == len(re.findall(r"Quality \d+ of 100, by ", text))
    assert all(f"  relayd pull {named(one)}" in shown for one in given)
    assert "GiB GiB" not in text
    assert not re.search(r"\d[~!?=](?:\s|$)", text), "no sign stands for what a word can say"


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize("width", WIDTHS)
def test_a_table_keeps_size_and_quality_and_drops_context_and_place_first(name: str, width: int) -> None:
    shown = lines(advice_table({Use.CHAT: found(name)[0]}, width), width)

    assert max(map(len, shown)) <= width
    assert {"MODEL", "QUANT", "DOWNLOAD", "QUALITY", "TOK/S", "MEMORY"} <= set(shown[0].split())
    assert (width >= NARROW) == ("CONTEXT" in shown[0])
    assert any("QUALITY 0 to 100" in one for one in [" ".join(shown)])


def test_a_model_on_this_disk_is_served_and_not_fetched() -> None:
    shown = " ".join(lines(page("4090,ram=64", lambda _: True), 100))

    assert "On this disk; takes" in shown
    assert "relayd serve " in shown
    assert "download" not in shown


def test_throughput_is_the_second_figure_where_there_are_several_users() -> None:
    models, there, request = list(known().values()), room("4090,ram=64"), Request(users=4)
    given = answers(models, there, request, recommend(models, there, request, 1)[0])
    shown = " ".join(" ".join(lines(answers_page(given, Use.CHAT, 4, named, lambda _: False), 100)).split())

    assert re.search(r"tokens/s alone, (?:about|roughly) [\d,]+ for 4 together", shown)
    assert "4 users at once" in heading(Use.CHAT, 4)


def test_the_machine_and_what_is_kept_free_stand_on_top() -> None:
    assert "Simulated: Apple M4 Max, 48 GiB of RAM for it, 546 GB/s; 64 GiB RAM" == machine_line(
        machine("m4 max 64"), frozenset()
    )
    assert (
        "Models may take 46 GiB of metal0, 51 GiB of RAM; 13 GiB of RAM stay for other programs."
        == room_line(room("m4 max 64"))
    )
