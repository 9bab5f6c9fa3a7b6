"""relayd top: the fleet live, with keys for what can be done."""

import os
import shutil
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.live import Live

from relayd.cli.support.control import daemon_client
from relayd.cli.support.keyboard import next_key, single_keys
from relayd.cli.support.output import AsJson, print_json
from relayd.cli.support.terminal import show
from relayd.client.control import Client
from relayd.clock import SystemClock
from relayd.daemon.livereport import LiveReport
from relayd.errors import DaemonError, RelaydError
from relayd.printable import printable
from relayd.supervisor.logs import LogReader
from relayd.ui.elsewhere import every_replica
from relayd.ui.top import SORTS, TopView, chosen_replicas, render_top

_PERIOD_SECONDS = 0.5
_TREND = 240
_LOG_LINES = 400


def top(
    once: Annotated[bool, typer.Option("--once", help="Print one screen, and leave.")] = False,
    as_json: AsJson = False,
) -> None:
    """Watch replicas, memory and requests live.

    Keys load, unload, restart and drain.

    `?` shows the keys. Without a terminal it prints one screen.
    """
    client = daemon_client()
    report = client.now()
    if as_json:
        print_json(msgspec.to_builtins(report))
        return
    if once or not (sys.stdin.isatty() and sys.stdout.isatty()):
        lines = 6 + sum(1 for _ in every_replica(report.status)) + 2 * len(report.requests)
        now = SystemClock().wall()
        show(lambda width: render_top(TopView(report, now, width, lines)), pipe_columns=100)
        return
    TopScreen(client, report).run()


class TopScreen:
    """The live screen: what is shown, and what keys do.

    Args:
        client: Of the daemon.
        report: The daemon now.
    """

    def __init__(self, client: Client, report: LiveReport) -> None:
        self._client = client
        self._clock = SystemClock()
        self._report = report
        self._tokens: deque[float] = deque(maxlen=_TREND)
        self._waiting: deque[float] = deque(maxlen=_TREND)
        self._state = TopView(report, self._clock.wall(), plain=not _draws_bars())
        self._asked: Callable[[], None] | None = None
        self._log: tuple[LogReader, deque[str]] | None = None
        self._looked_at = 0.0

    def __repr__(self) -> str:
        return f"<TopScreen {self._state.page} {self._state.selected}>"

    def run(self) -> None:
        """Show it until a key ends it."""
        console = Console()
        self._choose(0)
        with single_keys() as descriptor, Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                self._look()
                live.update(render_top(self.view()), refresh=True)
                key = next_key(descriptor, _PERIOD_SECONDS / 2)
                if key and not self.press(key):
                    return

    def view(self) -> TopView:
        """Return what is shown now, as large as the terminal is."""
        size = shutil.get_terminal_size()
        return self._with(
            report=self._report,
            now=self._clock.wall(),
            width=size.columns,
            height=size.lines,
            tokens=tuple(self._tokens),
            waiting=tuple(self._waiting),
            log=tuple(self._log[1]) if self._log else (),
        )

    def press(self, key: str) -> bool:
        """Do what a key means; return whether to go on."""
        state = self._state
        if self._asked is not None:
            asked, self._asked = self._asked, None
            self._set(message="")
            if key in ("y", "Y", "enter"):
                asked()
        elif state.typing:
            self._type(key)
        elif key in ("q", "interrupt"):
            return False
        elif key == "escape":
            self._set(page="fleet", message="", filter="" if state.page == "fleet" else state.filter)
        else:
            self._command(key)
        return True

    def _type(self, key: str) -> None:
        if key in ("enter", "escape"):
            self._set(typing=False, filter=self._state.filter if key == "enter" else "")
        elif key == "backspace":
            self._set(filter=self._state.filter[:-1])
        elif len(key) == 1 and key.isprintable():
            self._set(filter=self._state.filter + key)
        self._choose(0)

    def _command(self, key: str) -> None:
        name, model = self._state.selected, _model_of(self._state.selected)
        if key in ("up", "k", "down", "j"):
            self._choose(-1 if key in ("up", "k") else 1)
        elif key == "/":
            self._set(typing=True, page="fleet")
        elif key == "s":
            self._set(sort=SORTS[(SORTS.index(self._state.sort) + 1) % len(SORTS)])
        elif key == "?":
            self._set(page="help")
        elif key == "enter":
            self._set(page="details")
        elif key == "l":
            self._open_log()
        elif key == "L" and model:
            self._do(f"relayd load {model}", lambda: self._client.load(model))
        elif key == "S" and name:
            self._do(f"relayd start {name}", lambda: self._client.start(name))
        elif key == "U" and model:
            self._ask(
                f"Unload {model} after its requests?",
                f"relayd unload {model}",
                lambda: self._client.unload(model),
            )
        elif key == "R" and name:
            self._ask(
                f"Restart {name} after its requests?",
                f"relayd restart {name}",
                lambda: self._client.restart(name),
            )
        elif key == "D" and name:
            self._ask(
                f"Drain {name}, and keep it down?", f"relayd drain {name}", lambda: self._client.drain(name)
            )

    def _ask(self, question: str, command: str, work: Callable[[], object]) -> None:
        self._asked = lambda: self._do(command, work)
        self._set(message=f"{question} [y/N]   ({command})")

    def _do(self, command: str, work: Callable[[], object]) -> None:
        """Do something in a thread: it may take as long as a load."""

        def run() -> None:
            try:
                work()
            except RelaydError as error:
                self._set(message=f"{command}: {error.message}")
            else:
                self._set(message=f"done: {command}")

        self._set(message=f"$ {command} ...")
        threading.Thread(target=run, daemon=True).start()

    def _choose(self, step: int) -> None:
        names = [one.name for one in chosen_replicas(self._state)]
        at = names.index(self._state.selected) if self._state.selected in names else 0
        chosen = names[max(0, min(len(names) - 1, at + step))] if names else ""
        if chosen != self._state.selected and self._log:
            self._log = None
            self._set(page="fleet")
        self._set(selected=chosen)

    def _open_log(self) -> None:
        name = self._state.selected
        if "@" in name:
            self._do(f"relayd logs {name}", lambda: self._show_log_of_node(name))
            return
        every = (one for model in self._report.status.models for one in model.replicas)
        found = next((one for one in every if one.name == self._state.selected), None)
        if found is None or not found.log:
            self._set(message="It has no log yet.")
            return
        self._log = LogReader(Path(found.log), _LOG_LINES), deque(maxlen=_LOG_LINES)
        self._set(page="log", message=f"log of {found.name}; Esc leaves it")

    def _show_log_of_node(self, name: str) -> None:
        """Show the last lines of a node's replica as they are now."""
        found = self._client.node_logs(name, _LOG_LINES).lines
        self._set(page="log", log=tuple(printable(one.line) for one in found))

    def _look(self) -> None:
        """Ask the daemon, at most once in a period; a daemon that is away is shown as that."""
        now = self._clock.monotonic()
        if now - self._looked_at < _PERIOD_SECONDS:
            return
        self._looked_at = now
        try:
            self._report = self._client.now()
        except DaemonError as error:
            self._set(message=error.message)
            return
        self._tokens.append(self._report.tokens_per_second)
        self._waiting.append(float(sum(one.waiting for one in self._report.models.values())))
        self._set(report=self._report)
        if self._log is not None and self._state.page == "log":
            self._log[1].extend(printable(line.text) for line in self._log[0].read())

    def _set(self, **changed: object) -> None:
        self._state = self._with(**changed)

    def _with(self, **changed: object) -> TopView:
        known = {name: getattr(self._state, name) for name in TopView.__slots__}
        return TopView(**{**known, **changed})


def _model_of(replica: str) -> str:
    """Return the model of a replica, with the node that it is on: `m@box` of `m#0@box`."""
    name, mark, node = replica.partition("@")
    model = name.rpartition("#")[0] if "#" in name else name
    return f"{model}{mark}{node}"


def _draws_bars() -> bool:
    """Return whether the terminal writes more than ASCII."""
    return "utf" in (sys.stdout.encoding or "").lower() and os.environ.get("TERM") not in ("dumb", "vt100")
