"""What does a request, and a streamed chunk, cost in relayd and in the routers beside it?

    python -m tests.bench [--only nginx,relayd] [--parts costs,streams] [--rounds 3] [--json FILE]
    python -m tests.bench --table FILE [--readme]     prints the tables of such a file, or writes README.md's

relayd runs as users run it: `serve`, a key, the queue, request ids, the request log. Behind every router
stands the same engine of ours, which answers at once or paces a stream, so only the router is measured: the
CPU time of its own process, for each request or chunk. The machine is rarely quiet, so compare ratios of one
run, not figures of two. Routers that are not installed are left out (nginx, haproxy: apt; vllm-router,
sglang-router: PyPI). Needs a C compiler; no llama-server.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from tests.bench import held
from tests.bench.peers import Peer, free_port, peers
from tests.bench.running import Router, running, started
from tests.bench.scenarios import SCENARIOS, Programs, compiled
from tests.bench.starts import starts
from tests.bench.table import Row, load, missed, store, tables, with_tables
from tests.ggufs import TINY, make_model
from tests.readme import README

_COSTS = ("one", "requests", "prompts", "chunks")

PARTS = {
    "costs": "CPU of a request, a long prompt and a chunk",
    "streams": "1,000 paced streams: CPU, delay of a chunk, memory",
    "idle": "1,000 idle connections: memory",
    "unread": "a client that reads nothing: memory, and what others notice",
    "bodies": "bodies of 1 to 15 MiB: what others notice",
    "starts": "relayd alone: commands, start to listening, idle memory",
}


def main() -> None:
    """Measure, print tables, and write the rows as JSON if asked to."""
    options = _options().parse_args()
    if options.table:
        rows = load(options.table)
        (_write_readme if options.readme else _print)(rows)
        return
    folder = Path(tempfile.mkdtemp(prefix="b"))
    try:
        rows = list(_measure(folder, options))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        store(rows, options.json)
    print()
    _print(rows)


def _options() -> argparse.ArgumentParser:
    described = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m tests.bench", description=__doc__, formatter_class=described)
    parser.add_argument("--only", default="", help="routers, with commas between them; all by default")
    parser.add_argument("--parts", default=",".join(PARTS), help="; ".join(map(": ".join, PARTS.items())))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--relayd", default=str(Path(sys.executable).with_name("relayd")))
    parser.add_argument("--json", type=Path, help="file to write every figure into")
    parser.add_argument("--table", type=Path, help="file to print the tables of, instead of measuring")
    parser.add_argument("--readme", action="store_true", help="write the tables into README.md instead")
    return parser


def _write_readme(rows: list[Row]) -> None:
    README.write_text(with_tables(README.read_text("utf-8"), rows), "utf-8")


def _print(rows: list[Row]) -> None:
    for line in tables(rows):
        print(line)
    for line in missed(rows):
        print(f"missed: {line}")


def _measure(folder: Path, options: argparse.Namespace) -> Iterator[Row]:
    make_model(folder / "tiny.gguf", TINY)
    programs, port = compiled(folder), free_port()
    found = peers(folder, options.relayd, port)
    wanted = [found[name] for name in (options.only.split(",") if options.only else found) if name in found]
    print(f"routers: {', '.join(peer.name for peer in wanted)}", flush=True)
    with ExitStack() as stack:
        for host in (("--host", "engine.sock"), ("--host", "127.0.0.1", "--port", str(port))):
            stack.enter_context(started((str(programs.engine), *host), folder, folder / "engine.log"))
        for number in range(options.rounds):
            for peer in wanted:
                for row in _measure_peer(folder, peer, programs, port, options.parts.split(",")):
                    _report(number + 1, row)
                    yield row


def _measure_peer(
    folder: Path, peer: Peer, programs: Programs, engine: int, parts: list[str]
) -> Iterator[Row]:
    """Measure one router; each part has a process of its own, since memory once used is used again."""
    for part in parts:
        if part == "starts":
            yield from starts(peer, folder) if peer.name == "relayd" else ()
            continue
        with running(peer, folder) as router:
            if part == "costs":
                yield from _costs(router, programs, engine)
            else:
                yield from getattr(held, part)(router, programs)


def _costs(router: Router, programs: Programs, engine: int) -> Iterator[Row]:
    name = router.peer.name
    programs.ask(router.peer.port, SCENARIOS["one"])
    direct = programs.ask(engine, SCENARIOS["one"])
    for subject in _COSTS:
        scenario, before = SCENARIOS[subject], router.cpu_seconds()
        seen = programs.ask(router.peer.port, scenario)
        used = router.cpu_seconds() - before
        count = seen["chunks" if scenario.stream else "requests"]
        yield Row(name, subject, used / max(count, 1) * 1e6, seen)
        if subject == "one":
            added = seen["first_byte_p50_us"] - direct["first_byte_p50_us"]
            yield Row(name, "first_byte", added / 1e3, {})


def _report(number: int, row: Row) -> None:
    seen = "  ".join(f"{name} {value:.0f}" for name, value in row.seen.items() if value)
    print(f"round {number}  {row.peer:14} {row.subject:12} {row.value:9.2f}  {seen}", flush=True)


if __name__ == "__main__":
    main()
