"""`python -m tests.fleet faults`: what becomes of streams over real nodes when machines and links fail.

A hub, and nodes with a llama-server each in network namespaces of their own; the links between them are made
by `links`. Every fault meets streams that run, and the table has what was sent, what came whole, and why the
rest did not. Needs root, `ip` and /dev/net/tun.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path

from tests.daemons import wait_until
from tests.fleet.boxes import Boxes, made_of
from tests.fleet.links import Conditions, can_link
from tests.fleet.streams import WHOLE, Streams, share
from tests.soak.surroundings import WallClock

MEGABIT = 1e6 / 8


@dataclass
class Asked:
    """How much is asked of the fleet.

    Attributes:
        streams: At a time.
        tokens: Of each.
        seconds: For how long new ones begin.
    """

    streams: int
    tokens: int
    seconds: float


@dataclass
class Outcome:
    """What came of the streams of one fault."""

    counts: Counter[str] = field(default_factory=Counter)
    gaps: list[float] = field(default_factory=list)
    firsts: list[float] = field(default_factory=list)
    continued: float = 0.0
    note: str = ""

    def row(self, name: str) -> str:
        """Return it as a row of a table."""
        sent, whole = self.counts.total(), self.counts[WHOLE]
        failed = ", ".join(f"{count} {why}" for why, count in self.counts.items() if why != WHOLE) or "0"
        gap = f"{share(self.gaps, 0.5):.2f} / {max(self.gaps, default=0.0):.2f}"
        first = f"{share(self.firsts, 0.5):.2f}"
        return (
            f"| {name} | {sent} | {whole} | {self.continued:g} | {failed} | {first} | {gap} | {self.note} |"
        )


def main(arguments: list[str]) -> int:
    """Run every fault, or those that are named, print a table, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fleet faults", description=__doc__)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--streams", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--only", default="", help=f"of {', '.join(FAULTS)}; several with commas")
    options = parser.parse_args(arguments)
    if not can_link():
        sys.stderr.write("Namespaces and links need root and /dev/net/tun.\n")
        return 2
    asked = Asked(options.streams, options.tokens, options.seconds)
    wanted = [name for name in FAULTS if not options.only or name in options.only.split(",")]
    lost = 0
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        boxes = made_of(stack, Path(folder), options.nodes, slots=4)
        sys.stdout.write(
            "| fault | sent | whole | continued | failed | first token, s | longest gap, p50 / worst, s | |\n"
            "|---|---|---|---|---|---|---|---|\n"
        )
        for name in wanted:
            outcome = FAULTS[name](boxes, asked)
            for box in boxes.nodes:
                box.machine.now = Conditions()
            wait_until(boxes.ready)
            lost += outcome.counts.total() - outcome.counts[WHOLE]
            sys.stdout.write(outcome.row(name) + "\n")
            sys.stdout.flush()
    return 1 if lost else 0


@contextmanager
def streaming(boxes: Boxes, asked: Asked) -> Iterator[Outcome]:
    """Have clients stream over the hub, and enter the block in the middle of the first answers."""
    outcome, clients = Outcome(), Streams(boxes.url, boxes.key)
    before = continuations(boxes)
    running = threading.Thread(
        target=lambda: asyncio.run(clients.run(asked.streams, asked.tokens, asked.seconds))
    )
    running.start()
    wait_until(lambda: len(clients.firsts) >= asked.streams // 2 or not running.is_alive())
    try:
        yield outcome
    finally:
        running.join()
        outcome.counts, outcome.gaps, outcome.firsts = clients.outcomes, clients.gaps, clients.firsts
        outcome.continued = continuations(boxes) - before


def continuations(boxes: Boxes) -> float:
    """Return how often the hub has had an answer go on elsewhere."""
    connection = HTTPConnection("127.0.0.1", boxes.port, timeout=10)
    connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {boxes.key}"})
    text = connection.getresponse().read().decode()
    connection.close()
    lines = (line for line in text.splitlines() if line.startswith("relayd_continuations_total"))
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def nothing(boxes: Boxes, asked: Asked) -> Outcome:
    """Let all be well."""
    with streaming(boxes, asked) as outcome:
        pass
    return outcome


def engine_killed(boxes: Boxes, asked: Asked) -> Outcome:
    """Kill the llama-server of a node."""
    with streaming(boxes, asked) as outcome:
        for pid in boxes.nodes[0].replicas:
            os.kill(pid, signal.SIGKILL)
    return outcome


def node_killed(boxes: Boxes, asked: Asked) -> Outcome:
    """Kill the daemon and the llama-server of a node; its machine goes on, and closes their connections."""
    box = boxes.nodes[0]
    with streaming(boxes, asked) as outcome:
        assert box.daemon is not None
        replicas = box.replicas
        box.daemon.process.send_signal(signal.SIGKILL)
        for process in replicas:
            os.kill(process, signal.SIGKILL)
        box.daemon.end()
    outcome.note = _back(boxes, box.start)
    return outcome


def power_cut(boxes: Boxes, asked: Asked) -> Outcome:
    """Take the power from a node: nothing of it closes a connection."""
    box = boxes.nodes[0]
    with streaming(boxes, asked) as outcome:
        box.power_off()
    box.machine.now.is_cut = False
    outcome.note = _back(boxes, box.start)
    return outcome


def link_cut(boxes: Boxes, asked: Asked) -> Outcome:
    """Cut the link of a node for 5 s."""
    with streaming(boxes, asked) as outcome:
        boxes.nodes[0].machine.now.is_cut = True
        threading.Event().wait(5)
        boxes.nodes[0].machine.now.is_cut = False
    return outcome


def slow_links(boxes: Boxes, asked: Asked) -> Outcome:
    """Let each link have 1 Mbit/s."""
    return _under(Conditions(rate=MEGABIT), boxes, asked)


def lossy_links(boxes: Boxes, asked: Asked) -> Outcome:
    """Let each link lose 10 % of its packets, in each direction."""
    return _under(Conditions(loss=0.1), boxes, asked)


def long_links(boxes: Boxes, asked: Asked) -> Outcome:
    """Let each packet take 80 ms."""
    return _under(Conditions(delay=0.08), boxes, asked)


def _under(conditions: Conditions, boxes: Boxes, asked: Asked) -> Outcome:
    before = [(box.machine.passed, box.machine.lost) for box in boxes.nodes]
    for box in boxes.nodes:
        box.machine.now = conditions
    with streaming(boxes, asked) as outcome:
        pass
    passed = sum(box.machine.passed - was for box, (was, _) in zip(boxes.nodes, before, strict=True))
    lost = sum(box.machine.lost - was for box, (_, was) in zip(boxes.nodes, before, strict=True))
    outcome.note = f"{lost} of {passed + lost} packets lost"
    return outcome


def hub_killed(boxes: Boxes, asked: Asked) -> Outcome:
    """Kill the hub, and start it again; a client of a node goes on asking that node itself."""
    box = boxes.nodes[0]
    assert box.daemon is not None
    own = Streams(box.daemon.url, "")
    with streaming(boxes, asked) as outcome:
        asking = threading.Thread(
            target=lambda: box.machine.within(lambda: asyncio.run(own.run(2, asked.tokens, asked.seconds)))
        )
        asking.start()
        wait_until(lambda: len(own.firsts) >= 2)
        began = time.monotonic()
        boxes.kill_hub()
        wait_until(boxes.ready)
        seconds = time.monotonic() - began
        asking.join()
    outcome.note = (
        f"all nodes back after {seconds:.1f} s; of a node's own streams {own.outcomes[WHOLE]} of "
        f"{own.outcomes.total()} whole"
    )
    return outcome


def clock_skew(boxes: Boxes, asked: Asked) -> Outcome:
    """Have a node's clock go an hour before the hub's, and step back by two in mid-stream."""
    box, clock = boxes.nodes[0], WallClock.make(boxes.home)
    if clock is None:
        return Outcome(note="not run: there is no C compiler")
    assert box.daemon is not None
    box.daemon.end()
    clock.step(3600)
    box.environ = clock.environ()
    box.start()
    wait_until(boxes.ready)
    with streaming(boxes, asked) as outcome:
        clock.step(-3600)
    return outcome


def _back(boxes: Boxes, start: Callable[[], object]) -> str:
    """Start a node again, and return how long it takes until the hub uses it."""
    began = time.monotonic()
    start()
    wait_until(boxes.ready)
    return f"back {time.monotonic() - began:.1f} s after its start"


FAULTS: dict[str, Callable[[Boxes, Asked], Outcome]] = {
    "none": nothing,
    "engine killed": engine_killed,
    "node killed": node_killed,
    "power cut": power_cut,
    "link cut 5 s": link_cut,
    "1 Mbit/s": slow_links,
    "10 % loss": lossy_links,
    "80 ms": long_links,
    "hub killed": hub_killed,
    "clock skew": clock_skew,
}
