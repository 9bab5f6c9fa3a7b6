"""Do the processes of `relayd serve` have the command lines that `relayd plan --command` prints?

    python -m tests.oracle.plan_argv [--count N] [--seed N]

Draws configurations (several models, replicas, free and fixed context, slots, placement, cache types, flags,
embeddings, aliases, fit = "engine", limits of memory), serves each with the real engine and tiny models, and
compares what `plan --command` prints with what the kernel shows of each process, as they come up and again
with the plans that are remembered. Address and key file are left out: they are made anew at each start. Exits
with 1 when one differs.
"""

import argparse
import json
import random
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from relayd.desired.engines import engine_at
from relayd.desired.site import Site
from tests.daemons import Daemon, wait_until
from tests.ggufs import SLOW, Shape, make_model

SHAPES = (Shape(n_embd=128, n_head=2), SLOW)
"""Models with heads of 64 values, of which a cache of 8 bits can be made."""

_MADE_ANEW = ("--host", "--port", "--api-key-file")

_PLACEMENTS = (
    "", "", "gpu_layers = 0", 'cache_type_k = "q8_0"', 'cache_type_k = "q8_0"\ncache_type_v = "q8_0"',
    "flash_attention = false", "batch = 512\nmicro_batch = 256", "unified = true", "devices = []",
)  # fmt: skip
_FLAGS = ("", "", "", '["-ngl", "0"]', '["-ctk", "q8_0"]', '["--top-k", "20"]', '["--no-kv-offload"]')


def configuration(draw: random.Random, files: Sequence[Path]) -> str:
    """Return the text of a relay.toml, of one to four models."""
    parts = []
    if draw.random() < 0.25:
        parts.append(f"[memory]\nhost_mib = {draw.choice((500, 800, 1500))}")
    if draw.random() < 0.25:
        parts.append('[replicas]\nlisten = "tcp"')
    count = draw.randint(1, 4)
    parts += [_model(draw, f"m{number}", draw.choice(files)) for number in range(count)]
    return "\n".join(parts) + "\n"


def _model(draw: random.Random, name: str, file: Path) -> str:
    lines = ["[[model]]", f'name = "{name}"', f'file = "{file}"']
    settings = {
        "context": draw.choice((0, 0, 512, 2048)),
        "slots": draw.choice((1, 2, 4)),
        "replicas": draw.choice((1, 1, 1, 2)),
        "threads": draw.choice((0, 0, 1)),
        "cache_ram_mib": draw.choice((0, 64, 8192)),
    }
    lines += [f"{key} = {value}" for key, value in settings.items() if draw.random() < 0.7]
    if draw.random() < 0.2:
        lines.append("embeddings = true")
    if draw.random() < 0.2:
        lines.append('fit = "engine"')
    if draw.random() < 0.3:
        lines.append(f'aliases = ["{name}-too"]')
    if flags := draw.choice(_FLAGS):
        lines.append(f"args = {flags}")
    if placement := draw.choice(_PLACEMENTS):
        lines += ["[model.placement]", placement]
    return "\n".join(lines)


def planned(daemon: Daemon) -> dict[str, list[str]]:
    """Return the command lines that `plan --command` prints, by replica."""
    done = daemon.run("plan", "--config", str(daemon.config), "--command", "--json")
    printed = daemon.run("plan", "--config", str(daemon.config), "--command").stdout
    found = {name: _comparable(argv) for name, argv in json.loads(done.stdout).items()}
    assert list(found.values()) == [_comparable(shlex.split(line)) for line in printed.splitlines()]
    return found


def served(daemon: Daemon) -> dict[str, list[str]]:
    """Return the command line of each process, as the kernel shows it, by replica."""
    processes = {name: replica["pid"] for name, replica in daemon.replicas().items() if replica["pid"]}
    return {
        name: _comparable(Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0"))
        for name, pid in processes.items()
    }


def _comparable(argv: Sequence[str]) -> list[str]:
    found = list(argv)
    for flag in _MADE_ANEW:
        if flag in found:
            place = found.index(flag)
            del found[place : place + 2]
    return found


def differences(home: Path, engine: Path, config: str) -> dict[str, tuple[list[str], list[str]]]:
    """Serve a configuration, and return the replicas whose command lines differ: printed and real."""
    daemon = Daemon(home, engine, config, (), {})
    try:
        daemon.await_event("listening")
        before = planned(daemon)
        wait_until(lambda: _settled(daemon))
        return _different(before, served(daemon)) | _different(planned(daemon), served(daemon))
    finally:
        daemon.end()
        daemon.leftovers()


def _settled(daemon: Daemon) -> bool:
    return not {"starting", "loading", "waiting"} & {one["state"] for one in daemon.replicas().values()}


def _different(
    one: Mapping[str, list[str]], other: Mapping[str, list[str]]
) -> dict[str, tuple[list[str], list[str]]]:
    names = one.keys() | other.keys()
    return {
        name: (one.get(name, []), other.get(name, []))
        for name in names
        if one.get(name, []) != other.get(name, [])
    }


def main() -> int:
    """Compare as many configurations as are asked for, and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    draw, engine, replicas, wrong = random.Random(options.seed), engine_at(Site()).path, 0, 0
    with tempfile.TemporaryDirectory(prefix="plan") as folder:
        files = [make_model(Path(folder) / f"{name}.gguf", shape) for name, shape in enumerate(SHAPES)]
        for number in range(options.count):
            config = configuration(draw, files)
            home = Path(folder) / str(number)
            home.mkdir()
            found = differences(home, engine, config)
            wrong += bool(found)
            replicas += config.count("[[model]]")
            for name, (printed, real) in found.items():
                print(number, name, "plan: ", shlex.join(printed), "serve:", shlex.join(real), sep="\n")
            print(f"{config}{number} differs" if found else f"{number} is equal", flush=True)
    print(f"{options.count} configurations, {replicas} models: {options.count - wrong} equal, {wrong} differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
