"""Hubs and nodes as processes, with a real engine, and clients of theirs."""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.daemons import DEADLINE_SECONDS, FAST, Daemon, wait_until

MODEL = "m"


@dataclass
class Hub:
    """A daemon that others join, and its clients' key."""

    daemon: Daemon
    key: str

    def ready(self, *nodes: str) -> bool:
        """Return whether these nodes serve."""
        found = self.daemon.client.nodes().nodes
        serving = {one.name for one in found if any(replica.state == "ready" for replica in one.replicas)}
        return serving >= {*nodes}

    def state(self, replica: str) -> str:
        """Return how a replica of a node is, as the hub sees it."""
        nodes = self.daemon.client.nodes().nodes
        return next((one.state for node in nodes for one in node.replicas if one.name == replica), "")

    def running(self, node: str) -> int:
        """Return how many requests a node works on for this hub."""
        return next(one.streams for one in self.daemon.client.nodes().nodes if one.name == node)

    @contextmanager
    def asking(self, tokens: int, **fields: str) -> Iterator["Asking"]:
        """Have a client stream an answer, and leave at the end of the block."""
        place = urlsplit(self.daemon.url)
        connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=DEADLINE_SECONDS)
        body = {
            "model": MODEL,
            "prompt": "once upon",
            "max_tokens": tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
        }
        head = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        connection.request("POST", "/v1/completions", json.dumps(body), head | named)
        answer = connection.getresponse()
        try:
            yield Asking(answer)
        finally:
            answer.close()  # it would keep the connection open
            connection.close()


@dataclass
class Asking:
    """An answer as its client reads it."""

    answer: http.client.HTTPResponse
    texts: list[str] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    is_over: bool = False

    @property
    def node(self) -> str:
        """The node that began to answer."""
        return str(self.answer.getheader("X-Relayd-Replica")).partition("@")[2]

    def read(self, tokens: int = 1 << 30) -> "Asking":
        """Read so many tokens more, or until the end."""
        enough = len(self.texts) + tokens
        while len(self.texts) < enough and (line := self.answer.readline()):
            if line.startswith(b"data: [DONE]"):
                self.is_over = True
            elif line.startswith(b"data: "):
                self.events.append(json.loads(line[6:]))
                texts = (choice["text"] for choice in self.events[-1].get("choices", ()))
                self.texts += filter(None, texts)  # the last one has none
        return self


def config(model: Path, slots: int) -> str:
    """Return the configuration of a machine that serves one model."""
    return (
        f'{FAST}\n[logs]\nrequests = "all"\n[[model]]\nname = "{MODEL}"\nfile = "{model}"\nslots = {slots}\n'
    )


def begin_hub(home: Path, engine: Path, settings: str = "") -> Hub:
    """Start a hub without models of its own."""
    daemon = Daemon(home, engine, FAST + settings, ["--hub"], {})
    daemon.await_event("listening")
    key = daemon.run("keys", "create", "me", "--scope", "inference", "--scope", "admin").stdout.strip()
    return Hub(daemon, key)


def join(box: Daemon, hub: Hub, name: str, *options: str) -> None:
    """Have a machine join a hub, and wait until it serves there."""
    invite = hub.daemon.client.invite_node(name).join
    joined = box.run("join", invite, *options)
    assert joined.returncode == 0, joined.stderr
    wait_until(lambda: hub.ready(name))


def end(*daemons: Daemon) -> None:
    """End machines, and make sure that nothing of them is left."""
    for daemon in daemons:
        daemon.end()
    assert [] == [name for daemon in daemons for name in daemon.leftovers()]
