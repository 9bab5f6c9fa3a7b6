"""What is put under stress: a home, its disk, its configuration and the daemon of the moment."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec

from relayd.cli.engine import lend_installer
from relayd.engine import ensure
from relayd.errors import DaemonError
from relayd.folders import cache_dir
from relayd.lock import Lock
from tests.daemons import Daemon, run_relayd, tagged_processes
from tests.ggufs import SLOW, TINY, Shape
from tests.soak.certain import make_certain_model
from tests.soak.surroundings import MemoryGroup, WallClock
from tests.soak.timeline import Timeline

_CHECKOUT = Path(__file__).resolve().parents[2]
_DISK_BYTES = 24 << 20

FAST = """
[server]
header_seconds = 5
body_seconds = 5
write_stall_seconds = 3
[probe]
slow_seconds = 0.1
ready_seconds = 0.5
timeout_seconds = 1
hung_seconds = 4
[restart]
first_delay_seconds = 0.05
max_delay_seconds = 1
stable_seconds = 5
budget = 1000
[replicas]
ready_seconds = 10
load_stall_seconds = 10
on_daemon_exit = "keep"
drain_seconds = 8
stop_seconds = 3
[logs]
max_mib = 1
backups = 1
"""
"""Intervals at about a twentieth of their defaults; replicas outlive their daemon."""


KNOBS = ("slots", "depth", "extra")
"""What a reload changes: a replica, a setting that needs no restart, the list of models."""


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """A model of the soak."""

    name: str
    shape: Shape
    replicas: int
    slots: int


def plans(replicas: tuple[int, ...]) -> list[ModelPlan]:
    """Return the models for a number of replicas each: two slow ones, then fast ones."""
    medium = Shape(n_embd=512, n_layer=8, n_ff=1536, n_head=8)
    shapes = [("slow", SLOW, 2), ("medium", medium, 2), ("tiny", TINY, 4)]
    shapes += [(f"tiny{number}", TINY, 4) for number in range(3, len(replicas))]
    return [
        ModelPlan(name, shape, count, slots)
        for (name, shape, slots), count in zip(shapes, replicas, strict=False)
    ]


class World:
    """A home in a temporary folder, whose state and runtime folders are small disks if we may mount.

    Args:
        models: What is served.
        timeline: Told of what should not be.
        settings: Of relay.toml, besides models and queue.
    """

    def __init__(self, models: list[ModelPlan], timeline: Timeline, settings: str = FAST) -> None:
        with lend_installer() as installer:
            self._engine = ensure(installer, cache=cache_dir() / "engine").path
        self._settings = settings
        self.models = models
        self.timeline = timeline
        self.home = Path(tempfile.mkdtemp(prefix="soak"))
        self.runtime, self.state = self.home / "r", self.home / "state"
        self.has_small_disk = self._mount()
        self.clock = WallClock.make(self.home)
        self.memory_group = MemoryGroup.make()
        for model in models:
            make_certain_model(self.home / f"{model.name}.gguf", model.shape)
        self.extra_slots = 0
        self.with_extra = False
        self.depth = 256
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.daemon: Daemon | None = None
        self._daemons: list[Daemon] = []
        self.stderr: list[str] = []
        self.writable = asyncio.Lock()
        """Held while folders are read-only, and while a daemon or the soak itself needs to write there."""

    def config(self) -> str:
        """Return relay.toml as it shall be now."""
        tables = [self._settings, f"[queue]\nmax_wait_seconds = 60\ndepth = {self.depth}\n"]
        for model in self.models:
            slots = model.slots + (self.extra_slots if model.name == "tiny" else 0)
            tables.append(self._table(model.name, model.name, model.replicas, slots))
        if self.with_extra:
            tables.append(self._table("extra", "tiny", 1, 1))
        return "".join(tables)

    def turn_a_knob(self, knob: str) -> str:
        """Wish for something else, which a reload brings about, and return what."""
        if knob == "slots":
            self.extra_slots = 1 - self.extra_slots
        elif knob == "depth":
            self.depth = 384 - self.depth
        else:
            self.with_extra = not self.with_extra
        return knob

    def write_config(self, text: str = "") -> None:
        """Replace relay.toml, by what is wished for or by any text; whole, for half a file may be valid."""
        draft = self.home / "draft.toml"
        draft.write_text(text or self.config())
        draft.chmod(0o600)
        draft.replace(self.home / "relay.toml")

    def _table(self, name: str, file: str, replicas: int, slots: int) -> str:
        return (
            f'[[model]]\nname = "{name}"\nfile = "{self.home / file}.gguf"\ncontext = 512\n'
            f"cache_ram_mib = 0\nthreads = 1\nreplicas = {replicas}\nslots = {slots}\n"
        )

    def new_daemon(self) -> Daemon:
        """Start `relayd serve` of this checkout, and no more than that."""
        listen = ("--listen", f"127.0.0.1:{self.port}")
        environ = {"PYTHONPATH": str(_CHECKOUT), **(self.clock.environ() if self.clock else {})}
        daemon = Daemon(self.home, self._engine, self.config(), listen, environ)
        self._daemons.append(daemon)
        return daemon

    async def start(self) -> None:
        """Start the next daemon and wait until it listens."""
        async with self.writable:
            daemon = self.new_daemon()
            await asyncio.to_thread(daemon.await_event, "listening")
            self.daemon = daemon

    async def ended(self) -> int:
        """Wait for the end of the daemon of the moment, which is coming, and return its exit status."""
        assert self.daemon is not None
        daemon, self.daemon = self.daemon, None
        try:
            status = await asyncio.to_thread(daemon.process.wait, 60)
        except subprocess.TimeoutExpired:
            self.timeline.violate("a daemon did not end within 60 s of SIGTERM")
        await asyncio.to_thread(daemon.end)
        status = daemon.process.returncode
        self.stderr += [line for line in daemon.stderr.splitlines() if not line.startswith("warning: ")]
        return status

    async def command(self, verb: str, **arguments: object) -> dict[str, Any]:
        """Send a command.

        Raises:
            DaemonError: It was refused, or nobody is there.
        """
        if self.daemon is None:
            raise DaemonError("no daemon at the moment")
        report = await asyncio.to_thread(getattr(self.daemon.client, verb), **arguments)
        return cast("dict[str, Any]", msgspec.json.decode(msgspec.json.encode(report)))

    async def status(self) -> dict[str, Any] | None:
        """Return the status; None if nobody tells it."""
        daemon = self.daemon
        if daemon is None:
            return None
        with suppress(DaemonError, ValueError):
            return cast("dict[str, Any]", msgspec.to_builtins(await asyncio.to_thread(daemon.client.status)))
        return None

    async def replicas(self) -> dict[str, dict[str, Any]]:
        """Return every replica of the status by name; none if nobody tells it."""
        status = await self.status()
        return {
            one["name"]: one for model in (status or {"models": []})["models"] for one in model["replicas"]
        }

    async def settled(self, seconds: float, *models: str) -> bool:
        """Wait until every replica (of some models) is ready; return whether that came to be."""
        deadline = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < deadline:
            replicas = await self.replicas()
            states = {
                one["state"]
                for name, one in replicas.items()
                if not models or name.rpartition("#")[0] in models
            }
            if replicas and states <= {"ready"}:
                return True
            await asyncio.sleep(0.1)
        return False

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of relayd in this home."""
        environ = self.daemon.environ if self.daemon else {}
        return run_relayd(environ, self.home, *arguments)

    def tagged(self) -> dict[int, str]:
        """Return the replica of every living process by pid, straight from the system."""
        found = {}
        for folder in Path("/proc").glob("[1-9]*"):
            if replica := _replica_of(folder, self.runtime):
                found[int(folder.name)] = replica
        return found

    def fill(self, folder: Path) -> Path:
        """Fill the disk under a folder and return the file that does it."""
        filler = folder / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(1 << 12)):
                pass
        return filler

    def leftovers(self) -> list[str]:
        """Return what a stopped service may not leave: processes, sockets, keys, records, held locks."""
        found = [f"process {process.pid} {process.name()}" for process in tagged_processes(self.home)]
        for pattern in ("*.sock", "*.key", "*.json", ".*.json.*"):
            found += [f"file {path.name}" for path in self.runtime.glob(pattern)]
        for path in self.runtime.glob("*.lock"):
            if lock := Lock.try_take(path):
                lock.close()
            else:
                found.append(f"lock {path.name}")
        return found

    def close(self) -> None:
        """Leave nothing behind, whatever the state."""
        for daemon in self._daemons:
            if daemon.process.poll() is None:
                daemon.process.kill()
                daemon.end()
        for process in tagged_processes(self.home):
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        if self.memory_group:
            self.memory_group.close()
        if self.has_small_disk:
            for folder in (self.runtime, self.state):
                subprocess.run(["umount", "-l", folder], check=False)
        shutil.rmtree(self.home, ignore_errors=True)

    def _mount(self) -> bool:
        for folder in (self.runtime, self.state):
            folder.mkdir(mode=0o700)
        if os.geteuid() != 0:
            return False
        options = f"size={_DISK_BYTES},mode=700"
        return all(
            subprocess.run(["mount", "-t", "tmpfs", "-o", options, "soak", folder], check=False).returncode
            == 0
            for folder in (self.runtime, self.state)
        )


def _replica_of(process: Path, runtime: Path) -> str | None:
    """Return the tag of a process; None for one that is not ours, dead or a zombie."""
    try:
        raw = (process / "environ").read_bytes()
        if f"RELAYD_INSTANCE={runtime}\0".encode() not in raw:
            return None
        state = (process / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None
    if state in "ZX":
        return None
    return raw.partition(b"RELAYD_REPLICA=")[2].partition(b"\0")[0].decode() or None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
