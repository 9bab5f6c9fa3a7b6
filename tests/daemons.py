"""A daemon under test: the real program, in a home of its own."""

import contextlib
import json
import os
import queue
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import psutil

from relayd.client.control import Client

DEADLINE_SECONDS = 120.0

SETTLE_SECONDS = 5.0
"""How long the kernel may take to remove what was killed."""

FAST = """
[probe]
slow_seconds = 0.05
ready_seconds = 0.25
timeout_seconds = 1
hung_seconds = 10
[restart]
first_delay_seconds = 0.05
max_delay_seconds = 0.5
"""
"""Intervals at about a twentieth of their defaults; a replica that a busy machine holds up is not killed."""


class SuccessorProcess(psutil.Process):
    """A daemon that another one started: what `subprocess.Popen` offers, but for its exit status."""

    returncode = 0

    def poll(self) -> int | None:
        return None if self.is_running() and self.status() != psutil.STATUS_ZOMBIE else self.returncode

    def wait(self, timeout: float | None = None) -> int:
        try:
            super().wait(timeout)
        except psutil.TimeoutExpired as error:
            raise subprocess.TimeoutExpired("relayd", timeout or 0) from error
        return self.returncode


class Daemon:
    """`relayd serve --json` in a subprocess.

    Args:
        home: Everything it keeps goes in here.
        engine: The llama-server to run.
        config: Text of its relay.toml.
        arguments: What follows `relayd serve`.
        environ: Variables besides.
    """

    def __init__(
        self, home: Path, engine: Path, config: str, arguments: Sequence[str], environ: dict[str, str]
    ) -> None:
        self.home = home
        self.config = home / "relay.toml"
        if not self.config.exists() or self.config.read_text() != config:  # another daemon may be reading it
            self.config.write_text(config)
            self.config.chmod(0o600)
        self.environ = home_environ(home) | {"LLAMA_SERVER_PATH": str(engine)} | environ
        self.environ["LINEAGE"] = secrets.token_hex(8)  # successors are found by it
        listen = () if "--listen" in arguments else ("--listen", "127.0.0.1:0")
        command = [sys.executable, "-m", "relayd", "serve", "--json", "--config", str(self.config)]
        self.process: subprocess.Popen[str] | SuccessorProcess = subprocess.Popen(
            [*command, *listen, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=home,
            env=self.environ,
            text=True,
        )
        self._streams = (self.process.stdout, self.process.stderr)
        self.stderr = ""
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        self._seen: list[dict[str, Any]] = []
        self._readers = [threading.Thread(target=read) for read in (self._read_events, self._read_errors)]
        for reader in self._readers:
            reader.start()

    @property
    def runtime(self) -> Path:
        """The runtime folder of the daemon, or of the demo's."""
        demo = self.home / "r" / "demo"
        return demo if demo.exists() else self.home / "r"

    @property
    def client(self) -> Client:
        return Client([self.runtime / "control.sock"])

    @property
    def url(self) -> str:
        return str(self.await_event("listening")["url"])

    def status(self) -> dict[str, Any]:
        report = self.client.status(timeout_seconds=DEADLINE_SECONDS)
        return cast("dict[str, Any]", msgspec.json.decode(msgspec.json.encode(report)))

    def replicas(self) -> dict[str, dict[str, Any]]:
        """Every replica of the status by name."""
        models = self.status()["models"]
        return {replica["name"]: replica for model in models for replica in model["replicas"]}

    def await_event(self, name: str) -> dict[str, Any]:
        """Wait for an event of `serve --json`."""
        for event in self._seen:
            if event["event"] == name:
                return event
        while True:
            try:
                event = self._events.get(timeout=DEADLINE_SECONDS)
            except queue.Empty:
                raise AssertionError(f"no event {name!r}: {self._seen} {self.stderr}") from None
            self._seen.append(event)
            if event["event"] == name:
                return event
            assert event["event"] != "end", f"the daemon ended: {self._seen} {self.stderr}"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another relayd command in the same home."""
        return run_relayd(self.environ, self.home, *arguments)

    def end(self) -> int:
        """Stop it as an operator would, at last by force, and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        for successor in self.successors():
            successor.terminate()
        try:
            status = self.process.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        _, alive = psutil.wait_procs(self.successors(), DEADLINE_SECONDS)
        for successor in alive:
            successor.kill()
        for reader in self._readers:
            reader.join()
        for stream in self._streams:
            assert stream is not None
            stream.close()
        return status

    def successors(self) -> list[psutil.Process]:
        """Daemons that have taken over from the one that was started."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                own = process.environ()
                if own.get("LINEAGE") == self.environ["LINEAGE"] and "RELAYD_HANDOVER" in own:
                    found.append(process)
        return found

    def leftovers(self) -> list[str]:
        """Processes and sockets that outlived the daemon; they are ended here."""
        found = [f"socket {path}" for path in self.home.rglob("*.sock")]
        for process in lasting_processes(self.home):
            found.append(f"process {process.pid}")
            process.kill()
        return found

    def _read_events(self) -> None:
        output, _ = self._streams
        assert output is not None
        for line in output:
            self._events.put(json.loads(line))
        self._events.put({"event": "end"})

    def _read_errors(self) -> None:
        _, errors = self._streams
        assert errors is not None
        for line in errors:
            self.stderr += line


def sabotage_successors(folder: Path, line: str = "os.abort()") -> None:
    """Have every daemon that shall take over, and has this folder in PYTHONPATH, run a line first."""
    (folder / "sitecustomize.py").write_text(f'import os\nif "RELAYD_HANDOVER" in os.environ:\n    {line}\n')


def home_environ(home: Path) -> dict[str, str]:
    """Return an environment whose every folder of relayd lies in `home`."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    folders = {f"XDG_{name}_HOME": str(home / name.lower()) for name in ("CONFIG", "DATA", "STATE", "CACHE")}
    return kept | folders | {"HOME": str(home), "RELAYD_RUNTIME_DIR": str(home / "r"), "NO_COLOR": "1"}


def run_relayd(environ: dict[str, str], cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "relayd", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=cwd,
        env=environ,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for what another process does."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        threading.Event().wait(0.01)


def lasting_processes(home: Path) -> list[psutil.Process]:
    """Return what runs of this home, but for what was killed and takes a moment to be gone."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while (found := tagged_processes(home)) and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    return found


def tagged_processes(home: Path) -> list[psutil.Process]:
    """Return every process that a daemon of this home started."""
    found = []
    for process in psutil.process_iter():
        try:
            tag = Path(process.environ().get("RELAYD_INSTANCE", "/"))
            if tag.is_relative_to(home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue  # it has just ended, or is not ours to look into
    return found
