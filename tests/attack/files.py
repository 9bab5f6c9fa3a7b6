"""Damaged model files, through the commands that are about all files and about one."""

import random
from collections.abc import Iterator
from pathlib import Path

from tests.attack.outcome import Outcome
from tests.daemons import home_environ, run_relayd
from tests.fuzz.gguf import mutants

_WHOLE = Path(__file__).resolve().parents[2] / "relayd" / "demo.gguf"
_EXPLAINED = 20
_PLANNED = 12
_EXITS = (0, 1, 2)


def outcomes(home: Path, seed: int, count: int) -> Iterator[Outcome]:
    """Damage files and run commands on them; a traceback or another exit status is an escape (500)."""
    folder = home / "models"
    folder.mkdir()
    files = [*_damaged(folder, seed, count)]
    chance = random.Random(seed)
    config = home / "relay.toml"
    config.write_text(f'[models]\nfolders = ["{folder}"]\n')
    config.chmod(0o600)
    yield _run(home, f"models, {count} files", "models", "--json")
    for path in chance.sample(files, min(_EXPLAINED, len(files))):
        yield _run(home, f"explain {path.name}", "explain", str(path), "--json")
    for path in chance.sample(files, min(_PLANNED, len(files))):
        config.write_text(_models(path, folder / "whole.gguf"))
        yield _run(home, f"plan {path.name} beside a whole one", "plan", "--config", str(config), "--json")


def _damaged(folder: Path, seed: int, count: int) -> Iterator[Path]:
    whole = _WHOLE.read_bytes()
    (folder / "whole.gguf").write_bytes(whole)
    chance = random.Random(seed)
    for number, (data, size) in zip(range(count), mutants(seed), strict=False):
        path = folder / f"damaged-{number}.gguf"
        if number % 2:
            path.write_bytes(_bent(chance, whole))
        else:
            with path.open("wb") as file:
                file.write(data)
                file.truncate(size)
        yield path


def _bent(chance: random.Random, whole: bytes) -> bytes:
    """Return a real model that was cut, or whose header was changed here and there."""
    if chance.random() < 0.2:
        return whole[: chance.randrange(len(whole))]
    data = bytearray(whole)
    for _ in range(chance.choice((1, 2, 8, 64))):
        data[chance.randrange(min(len(data), 8_000))] = chance.choice((0, 1, 255, chance.randrange(256)))
    return bytes(data)


def _models(*paths: Path) -> str:
    return "".join(f'[[model]]\nname = "m{n}"\nfile = "{path}"\n' for n, path in enumerate(paths))


def _run(home: Path, name: str, *arguments: str) -> Outcome:
    done = run_relayd(home_environ(home), home, *arguments)
    escaped = "Traceback" in done.stderr or done.returncode not in _EXITS
    last = (done.stderr.strip().splitlines() or [""])[-1] if escaped else f"exit {done.returncode}"
    return Outcome("files", name, 500 if escaped else 200 if done.returncode == 0 else 400, last[:200])
