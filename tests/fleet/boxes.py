"""A hub and nodes with real llama-servers, each node in a network namespace of its own."""

import os
import signal
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from relayd.cli.engine import lend_installer
from relayd.engine import ensure
from relayd.folders import cache_dir
from tests.daemons import FAST, Daemon, lasting_processes, wait_until
from tests.fleet.links import LinkedMachine
from tests.ggufs import SLOW, make_model

MODEL = "slow"


@dataclass
class Box:
    """A node: its link, its daemon, and what it is started with."""

    name: str
    machine: LinkedMachine
    home: Path
    engine: Path
    config: str
    environ: dict[str, str] = field(default_factory=dict)
    daemon: Daemon | None = None

    def start(self) -> Daemon:
        """Start its daemon in its namespace, and wait until it serves."""
        with self.machine.entered():
            self.daemon = daemon = Daemon(self.home, self.engine, self.config, [], self.environ)
        daemon.await_event("listening")
        wait_until(lambda: any(one["state"] == "ready" for one in daemon.replicas().values()))
        return daemon

    @property
    def replicas(self) -> list[int]:
        """The processes of its llama-servers."""
        assert self.daemon is not None
        return [one["pid"] for one in self.daemon.replicas().values() if one["pid"]]

    def power_off(self) -> None:
        """End everything of it at once, its daemon and its llama-servers, as a power cut does."""
        assert self.daemon is not None
        self.machine.now.is_cut = True  # a machine without power closes no connection either
        self.daemon.process.send_signal(signal.SIGKILL)
        for process in lasting_processes(self.home):
            process.kill()
        self.daemon.end()

    def close(self) -> None:
        """End it in good order."""
        if self.daemon is not None:
            self.daemon.end()
            self.daemon.leftovers()
        self.machine.close()


@dataclass
class Boxes:
    """A hub without models, and nodes that have joined it."""

    hub: Daemon
    home: Path
    engine: Path
    nodes: list[Box]
    key: str
    port: int

    @property
    def url(self) -> str:
        """Where its clients are."""
        return f"http://127.0.0.1:{self.port}"

    def kill_hub(self) -> None:
        """Kill the hub, and start it again at once."""
        self.hub.process.send_signal(signal.SIGKILL)
        self.hub.end()
        self.hub = _hub(self.home, self.engine, self.port)

    def ready(self, *names: str) -> bool:
        """Return whether nodes serve; without names, all of them."""
        wanted = set(names or (one.name for one in self.nodes))
        found = {
            node.name
            for node in self.hub.client.nodes().nodes
            if node.state == "connected" and any(one.state == "ready" for one in node.replicas)
        }
        return wanted <= found


def _hub(home: Path, engine: Path, port: int) -> Daemon:
    made = Daemon(home, engine, FAST, ["--hub", "--listen", f"0.0.0.0:{port}"], {})
    made.await_event("listening")
    return made


def made_of(stack: ExitStack, folder: Path, nodes: int, slots: int) -> Boxes:
    """Return a hub and its nodes, which end with the stack."""
    with lend_installer() as installer:
        engine = ensure(installer, cache=cache_dir() / "engine").path
    model = make_model(folder / "slow.gguf", replace(SLOW, writes_bytes=False))
    home = folder / "hub"
    home.mkdir()
    hub = _hub(home, engine, 0)
    port = int(hub.url.rpartition(":")[2])
    key = hub.run("keys", "create", "me", "--scope", "inference", "--scope", "metrics").stdout.strip()
    boxes = Boxes(hub, home, engine, [], key, port)
    stack.callback(lambda: (boxes.hub.end(), boxes.hub.leftovers()))
    config = f'{FAST}\n[[model]]\nname = "{MODEL}"\nfile = "{model}"\nslots = {slots}\nthreads = 1\n'
    for number in range(1, nodes + 1):
        machine = LinkedMachine(os.getpid() % 100 + number * 50 % 150 + number)
        where = folder / f"n{number}"
        where.mkdir()
        box = Box(f"n{number}", machine, where, engine, config)
        boxes.nodes.append(box)
        stack.callback(box.close)
        token = where / "token"
        token.write_text(hub.client.node_token(box.name).token)
        token.chmod(0o600)
        daemon = box.start()
        joined = daemon.run("join", f"ws://{machine.near}:{port}", "--token-file", str(token))
        assert joined.returncode == 0, joined.stderr
    wait_until(boxes.ready)
    return boxes
