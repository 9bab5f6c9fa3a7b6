"""What is attacked: a daemon of its own, with real replicas, and what becomes of them."""

import asyncio
import json
import re
import resource
import shutil
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from relayd.cli.engine import lend_installer
from relayd.engine import ensure
from relayd.errors import DaemonError
from relayd.folders import cache_dir
from tests.attack.outcome import Tally
from tests.daemons import FAST, Daemon, tagged_processes
from tests.ggufs import SLOW, TINY, Shape
from tests.soak.certain import make_certain_model


class Served(NamedTuple):
    """A model that is attacked: `context` is the tokens of each slot."""

    shape: Shape
    replicas: int
    slots: int
    context: int
    embeddings: bool = False


MODELS = {
    "slow": Served(SLOW, 2, 2, 512),  # 512 tokens take it 2 s, and 10 where four of them share two cores
    "tiny": Served(TINY, 2, 4, 1024),
    "vectors": Served(TINY, 1, 2, 1024, embeddings=True),
}
"""Name -> what is served."""

MOST_DATA_BYTES = 6 << 30
"""What the daemon and each replica may allocate, so that a defence that fails costs no machine."""

_LOOK_SECONDS = 0.3


@dataclass(slots=True)
class Fate:
    """What became of replicas and of the daemon, phase by phase; sizes are bytes."""

    ended: Counter[str] = field(default_factory=Counter)
    ended_in: Counter[str] = field(default_factory=Counter)
    causes: list[str] = field(default_factory=list)
    given_up: set[str] = field(default_factory=set)
    memory: dict[str, list[int]] = field(default_factory=dict)
    largest_replica: int = 0


class Target:
    """A home in a temporary folder with a daemon in it; the tally tells what was in flight when one ended."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        with lend_installer() as installer:
            self.engine = ensure(installer, cache=cache_dir() / "engine").path
        self.home = Path(tempfile.mkdtemp(prefix="attack"))
        for name, model in MODELS.items():
            make_certain_model(self.home / f"{name}.gguf", model.shape)
        self.daemon = Daemon(self.home, self.engine, self._config(), (), {})
        self.process = psutil.Process(self.daemon.process.pid)
        self.process.rlimit(resource.RLIMIT_DATA, (MOST_DATA_BYTES, MOST_DATA_BYTES))
        self.fate = Fate()
        self.phase = "before"
        self._lives: dict[str, tuple[int, int | None]] = {}

    def _config(self) -> str:
        server = "[server]\nheader_seconds = 5\nbody_seconds = 5\n"
        tables = [FAST, server, "[queue]\nmax_wait_seconds = 60\n"]
        for name, model in MODELS.items():
            tables.append(
                f'[[model]]\nname = "{name}"\nfile = "{self.home / name}.gguf"\n'
                f"context = {model.context * model.slots}\nslots = {model.slots}\n"
                f"replicas = {model.replicas}\ncache_ram_mib = 64\nthreads = 1\n"
                f"embeddings = {str(model.embeddings).lower()}\n"
            )
        return "".join(tables)

    @property
    def port(self) -> int:
        return int(self.daemon.url.rsplit(":", 1)[1])

    def make_keys(self) -> dict[str, str]:
        """Make a key for each scope but that of models, which would close the door to honest clients."""
        found = {}
        for scope in ("admin", "metrics", "node"):
            made = self.daemon.run("keys", "create", f"attack-{scope}", "--scope", scope, "--json")
            found[scope] = str(json.loads(made.stdout)["secret"])
        return found

    async def ready(self) -> None:
        """Wait until every replica serves."""
        while {one["state"] for one in (await self._replicas()).values()} != {"ready"}:
            await asyncio.sleep(0.1)

    async def watch(self) -> None:
        """Note what becomes of it, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        with suppress(psutil.Error):
            self.fate.memory.setdefault(self.phase, []).append(self.process.memory_info().rss)
        for name, one in (await self._replicas()).items():
            self._compare(name, one)
            with suppress(psutil.Error):
                size = psutil.Process(one["pid"]).memory_info().rss if one["pid"] else 0
                self.fate.largest_replica = max(self.fate.largest_replica, size)

    def _compare(self, name: str, one: dict[str, Any]) -> None:
        incarnation, pid = one["incarnation"], one["pid"]
        known = self._lives.setdefault(name, (incarnation, pid))
        if known[0] != incarnation:
            self.fate.ended[name] += incarnation - known[0]
            self.fate.ended_in[self.phase] += incarnation - known[0]
            exit_ = one["last_exit"] or {}
            flying = ", ".join(shot for shot, count in self._tally.flying.items() if count)
            self.fate.causes.append(
                f"{self.phase}: {name}: {exit_.get('cause')} {exit_.get('message')}; in flight: {flying}"
            )
            sys.stderr.write(f"{self.fate.causes[-1]}\n")
            self._lives[name] = (incarnation, pid)
        if one["state"] == "fatal":
            self.fate.given_up.add(name.rpartition("#")[0])

    async def _replicas(self) -> dict[str, dict[str, Any]]:
        with suppress(DaemonError):
            return await asyncio.to_thread(self.daemon.replicas)
        return {}

    def faults(self) -> list[str]:
        """Return what the daemon's own log and standard error hold of faults of relayd itself."""
        text = "".join(
            path.read_text("utf-8", "replace") for path in self.home.rglob("relayd.log*") if path.is_file()
        )
        lines = (text + self.daemon.stderr).splitlines()
        found = Counter(
            re.sub(r"^\S+Z ", "", line)[:200]
            for line in lines
            if re.match(r"Traceback|\w*(\.\w+)*(Error|Exception)\b|\S+Z \w+ +\w+\.failed", line)
        )
        return [f"{count} x {line}" for line, count in found.most_common(20)]

    def close(self) -> int:
        """Stop it and return its exit status; nothing of it is left."""
        status = self.daemon.end()
        for process in tagged_processes(self.home):
            with suppress(psutil.Error):
                process.kill()
        shutil.rmtree(self.home, ignore_errors=True)
        return status
