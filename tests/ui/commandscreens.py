"""What `bench`, `logs` and `init` print on terminals of three widths; `python -m tests.ui.screens` writes it.

The machine that `init` looks at is a described one; typed is Enter, a wrong number, the first choice, y.
"""

import contextlib
import io
import os
import re
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import typer

from relayd.advice.measured import ExpectedSpeeds
from relayd.cli import bench, init, logs, recommend
from relayd.cli.support.guide import Guide
from relayd.client.benchmark import Benchmark, Level
from relayd.planner.processor import Tag
from relayd.planner.speed import Estimate
from relayd.supervisor.logs import mark, open_log
from relayd.units import show_bytes
from tests.daemons import home_environ

FILE = Path(__file__).with_name("commands.txt")
WIDTHS = (80, 100, 140)

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

MACHINE = "gpu=3060:12,ram=32,cpu=8"
NINE = 1795165200.0
"""2026-11-20T09:00:00Z."""

_LOG = (
    "0.00.012.345 I build_info: b11434",
    "0.00.104.900 I srv    load_model: loading model '/home/you/models/Llama-3.1-8B-Instruct-Q4_K_M.gguf'",
    "0.04.206.261 W srv    operator(): unauthorized: Invalid API Key",
    "0.04.310.001 I srv    init: the model is loaded, 4 slots of 8192 tokens, prompt cache of 2816 MiB",
    "0.09.000.500 E slot   update_slots: id  2 | task 17 | failed to find free space in the KV cache",
)


def command_screens() -> str:
    """Return every screen, each under its command and width."""
    with tempfile.TemporaryDirectory() as home, _home(Path(home)):
        return "\n".join(
            f"=== relayd {name}, {width} columns\n{_on_terminal(shown, width)}"
            for name, shown in (("bench", _bench), ("logs llama", _logs), ("init", _init))
            for width in WIDTHS
        )


def _bench() -> None:
    levels = (Level(1, 14.2, 14.2, 0.412), Level(2, 22.9, 11.6, 0.655), Level(4, 30.3, 7.7, 1.204))
    predicted = ExpectedSpeeds(Estimate(301, 180, 420, Tag.MODELLED), Estimate(13.1, 9.2, 17.4, Tag.MODELLED))
    for said in (predicted, None):
        bench._show(Benchmark("llama", 512, 287.3, 14.2, levels), 128, said, as_json=False)
        typer.echo()


def _logs() -> None:
    logs.logs("llama", lines=None, since=None, grep=None)


def _init() -> None:
    adviser, typed = recommend.gather(MACHINE), iter(("", "9", "1", "y"))

    def answer(question: str) -> str:
        word = next(typed)
        typer.echo(f"{question}{word}")
        return word

    guide = Guide(answer, typer.echo)
    init._show_machine(adviser, guide)
    choice = init._choose(adviser, guide, "", "")
    if choice:
        guide.agrees(f"\nFetch {choice.called}, {show_bytes(choice.size)}?")
        typer.echo("\nNext:\n" + "\n".join(f"  {line}" for line in init._Done(choice).next))


def _on_terminal(show: Callable[[], None], width: int) -> str:
    """Return the lines of a terminal: one that is longer goes on below, as terminals do."""
    os.environ["COLUMNS"] = str(width)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        show()
    lines = (
        piece
        for line in _COLOUR.sub("", printed.getvalue()).splitlines()
        for piece in [line[at : at + width] for at in range(0, len(line), width)] or [""]
    )
    return textwrap.dedent("".join(f"{line.rstrip()}\n" for line in lines))


@contextlib.contextmanager
def _home(home: Path) -> Iterator[None]:
    """Have an empty home in UTC, without colour, with one log in it."""
    before = dict(os.environ)
    os.environ.update(home_environ(home) | {"TZ": "UTC", "TTY_COMPATIBLE": "1", "TERM": "xterm"})
    time.tzset()
    folder = home / "state" / "relayd" / "logs"
    folder.mkdir(parents=True)
    log = open_log(folder / "llama.0.log")
    mark(log, "llama#0", 1, NINE)
    os.write(log, "".join(f"{line}\n" for line in _LOG).encode())
    os.close(log)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        time.tzset()
