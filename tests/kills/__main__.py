"""How many answers survive the end of their replica, and how many of those are the undisturbed ones?

`python -m tests.kills` ends (SIGKILL) or stops (SIGSTOP) the replica that works, or resets its connections,
at a random moment of its prefill or its answer, over every dialect form. On f32 weights whose prompts are
read token by token no text may differ. `--inexact` has them read as ever, `--model` takes another file,
and with `--neighbours` other streams run beside: there the share of equal texts is what is asked for.
"""

import argparse
import math
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

from relayd.cli.engine import lend_installer
from relayd.engine import ensure
from relayd.folders import cache_dir
from tests.daemons import Daemon
from tests.ggufs import SLOW, make_model
from tests.kills.forms import FORMS
from tests.kills.points import Point, Stage, config

TEMPLATE = """\
{%- for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}
{%- if add_generation_prompt %}[assistant]{% endif %}"""


FAULTS = ("kill", "stop", "reset")


def main() -> None:
    """Disturb as many answers as were asked for, and print what became of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--fault", choices=[*FAULTS, "all"], default="all")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--inexact", action="store_true")
    parser.add_argument("--seconds", type=float, default=math.inf, help="after which no other point begins")
    parser.add_argument("--neighbours", type=int, default=0, help="streams that run beside")
    asked = parser.parse_args()
    with lend_installer() as installer:
        engine = ensure(installer, cache=cache_dir() / "engine")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        shape = replace(SLOW, template=TEMPLATE, writes_bytes=False)
        file = asked.model or make_model(home / "slow.gguf", shape)
        text = config(file, exact=not asked.inexact, tcp=True)
        slots = f"slots = {1 + asked.neighbours}\n"
        daemon = Daemon(home, engine.path, text.replace("slots = 1\n", slots), (), {})
        try:
            daemon.await_event("try")
            stage = Stage(daemon, asked.seed)
            over = time.monotonic() + asked.seconds
            with stage.neighbours(asked.neighbours):
                for number in takewhile(lambda _: time.monotonic() < over, range(asked.points)):
                    _disturb(stage, number, asked.fault, asked.tokens)
        finally:
            daemon.end()
            daemon.leftovers()


def _disturb(stage: Stage, number: int, faults: str, tokens: int) -> None:
    name = list(FORMS)[number % len(FORMS)]
    kinds = FAULTS if faults == "all" else (faults,)
    prompt = "".join(stage.random.choice("abcdefgh ") for _ in range(stage.random.choice([40, 600])))
    point = stage.disturb(name, kinds[number // len(FORMS) % len(kinds)], prompt, tokens)
    sys.stdout.write(
        f"{number:4} {point.form:20} {point.fault:5} at {point.at:4.0%} hit={point.was_hit!s:5} "
        f"{point.outcome:24} {point.seconds:+.1f} s\n"
    )
    if number % 20 == 19:
        sys.stdout.write(table(stage.points))
    sys.stdout.flush()


def table(points: list[Point]) -> str:
    """Return the outcomes of the answers whose replica was hit, by form and fault."""
    hit = [point for point in points if point.was_hit]
    rows = [f"{len(hit)} of {len(points)} were hit\n"]
    for name in FORMS:
        for fault in FAULTS:
            counts = Counter(one.outcome for one in hit if (one.form, one.fault) == (name, fault))
            if counts:
                rows.append(f"  {name:20} {fault:5} {dict(counts)}\n")
    return "".join(rows)


if __name__ == "__main__":
    main()
