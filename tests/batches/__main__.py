"""Measure batches on real replicas.

`python -m tests.batches kills` kills daemon and replicas while a batch and people's streams run, `power` cuts
the power, `large` uploads a large file, `beside` compares how long people wait for a slot with and without a
batch. Exits with 1 where a line is lost, there twice or failed, or a bar is missed.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from relayd.cli.engine import lend_installer
from relayd.engine import ensure
from relayd.folders import cache_dir
from tests.batches import beside, kills, large, power
from tests.batches.place import Place
from tests.ggufs import SLOW, TINY, Shape, make_model


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.batches", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--replicas", type=int, default=3)
    parser.add_argument("--lines", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=300.0, help="about as long as the batch takes")
    parser.add_argument("--streams", type=int, default=2, help="people who ask beside")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("kills")
    one.add_argument("--kills", type=int, default=20)
    one = commands.add_parser("power")
    one.add_argument("--cuts", type=int, default=10)
    one = commands.add_parser("large")
    one.add_argument("--megabytes", type=int, default=1000)
    commands.add_parser("beside")
    asked = parser.parse_args()
    shape: Shape = SLOW if asked.command == "beside" else TINY
    with lend_installer() as installer:
        engine = ensure(installer, cache=cache_dir() / "engine").path
    with tempfile.TemporaryDirectory() as folder:
        (home := Path(folder) / "home").mkdir()
        place = Place(home, engine, make_model(Path(folder) / "m.gguf", shape), asked.replicas)
        return not _measures(asked)[asked.command](place)


def _measures(asked: argparse.Namespace) -> dict[str, Callable[[Place], bool]]:
    common = {"number": asked.lines, "seconds": asked.seconds, "seed": asked.seed}
    return {
        "kills": lambda place: kills.measure(place, kills=asked.kills, streams=asked.streams, **common),
        "power": lambda place: power.measure(place, cuts=asked.cuts, **common),
        "large": lambda place: large.measure(place, megabytes=asked.megabytes),
        "beside": lambda place: beside.measure(place, streams=asked.streams, **common),
    }


if __name__ == "__main__":
    sys.exit(main())
