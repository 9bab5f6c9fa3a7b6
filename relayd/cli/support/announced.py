"""What `relayd serve` prints while the daemon runs, for the person or the program that started it."""

import os
import sys
import threading
from collections.abc import Mapping, Sequence

import typer

from relayd.cli.support.loads import LoadingBar, file_bytes, loaded_bytes
from relayd.cli.support.output import print_event
from relayd.cli.support.remark import output_columns
from relayd.cli.support.surroundings import discard_output
from relayd.daemon.notices import Narrator, Notice
from relayd.daemon.report import ReloadReport
from relayd.desired.away import REMEDY
from relayd.desired.demo import is_demo
from relayd.errors import OutputError
from relayd.planner import Planned
from relayd.supervisor import Status
from relayd.supervisor.state import COMING_UP
from relayd.ui.paragraph import wrapped
from relayd.ui.served import on_demand_line, planned_line, stopping_line, try_lines


class ServeOutput:
    """Prints one line for each thing that happens, and on a terminal how far a load is.

    Args:
        quiet: Print nothing.
        as_json: Print a JSON object for each event.
        certificate: The file of the certificate that clients are shown.

    Attributes:
        plan: What is shown as planned once clients can connect.
    """

    plan: Sequence[Planned] = ()

    def __init__(self, *, quiet: bool, as_json: bool, certificate: str = "") -> None:
        self._quiet = quiet
        self._as_json = as_json
        self._certificate = certificate
        self._url, self._keyed = "", False
        self._lost = False
        self._narrator = Narrator()
        self._named = set[str]()
        self._bar: LoadingBar | None = None
        self._writing = threading.Lock()

    def __repr__(self) -> str:
        return f"<ServeOutput at {self._url or 'no address yet'}>"

    @property
    def shows_loads(self) -> bool:
        """Whether there is a terminal that shows how far loads are."""
        return not (self._quiet or self._as_json) and sys.stdout.isatty() and sys.stderr.isatty()

    def nothing_to_serve(self) -> None:
        """Print that there is no model, and which ones would suit this machine."""
        from relayd.cli.recommend import answers_for_serve

        found = answers_for_serve()
        lines = "\n".join(f"  {command}    ({what})" for command, what in found) or "  relayd recommend"
        self._print(
            f"There is no model on this disk. For this machine:\n\n{lines}\n\n"
            "and then relayd serve again. Others: relayd recommend. To look around: relayd serve --demo",
            event="nothing_to_serve",
            command=found[0][0] if found else "relayd recommend",
        )

    def no_file_is_there(self, away: Mapping[str, str]) -> None:
        """Print that no configured model can be served, and why not."""
        reasons = "\n".join(f"  {name}: {why}" for name, why in away.items())
        self._print(
            f"No configured model can be served:\n\n{reasons}\n\n{REMEDY}",
            event="nothing_to_serve",
            away=dict(away),
        )

    def _show_plan(self) -> None:
        """Print what was planned for each model that is started, a line each."""
        models = dict[str, list[Planned]]()
        for one in self.plan:
            if not one.cold:
                models.setdefault(one.model, []).append(one)
        for name, replicas in models.items():
            spec, needs = replicas[0].spec, dict(replicas[0].needs)
            self._print(
                "" if is_demo(str(spec.file)) else planned_line(replicas),
                event="planned",
                model=name,
                replicas=len(replicas),
                slots=spec.slots,
                context=spec.context,
                needs=needs,
            )

    @property
    def shows_dashboard(self) -> bool:
        """Whether standard output is a terminal: a link is only for who reads it at once."""
        return not self._as_json and sys.stdout.isatty()

    def listening(self, url: str, *, keyed: bool, dashboard: str) -> None:
        """Print where clients connect, and on a terminal where the dashboard is."""
        self._url, self._keyed = url, keyed
        self._print(f"relayd listens on {url}", event="listening", url=url)
        if dashboard:
            self._print(f"Dashboard (the link works once, for 5 minutes):\n  {dashboard}")
        self._show_plan()

    def closed(self) -> None:
        """Print that clients without a key are not let in any more."""
        self._keyed = True
        self._print(
            "Requests for models need a key from now on; those without one are refused. See: relayd keys",
            event="door_closed",
        )

    def changed(self, statuses: Sequence[Status]) -> None:
        """Print what has happened to replicas."""
        demo = {one.spec.name for one in statuses if is_demo(str(one.spec.file))}
        for notice in self._narrator.take(statuses):
            self._named.add(notice.replica)
            self._show(notice, is_demo=notice.replica in demo)

    def settled(self, statuses: Sequence[Status]) -> None:
        """Print which models are ready and which are not, as far as no line has, and what to type next."""
        for status in statuses:
            name, state = status.spec.name, status.state.value
            ended = status.last_exit.message if status.last_exit and state != "ready" else ""
            why = status.reason or ended
            is_new = state != "cold" and name not in self._named
            line = f"{name} is {_WORDS.get(state, state)}{f': {why}' if why else ''}"
            self._print(
                "\n".join(wrapped(line, output_columns())) if is_new else "",
                event="replica",
                replica=name,
                state=state,
                message=why,
            )
        up = {status.spec.model for status in statuses if status.state.value != "cold"}
        later = dict.fromkeys(status.spec.model for status in statuses if status.spec.model not in up)
        if later:
            self._print(on_demand_line([*later]), event="on_demand", models=[*later])
        ready = next((status for status in statuses if status.state.value == "ready"), None)
        if ready:
            self._propose(ready)

    def loading(self, statuses: Sequence[Status]) -> None:
        """Show how far the first of the loads is."""
        loads = [one for one in statuses if one.state in COMING_UP]
        if not loads:
            self._take_bar_back()
            return
        first, others = loads[0], len(loads) - 1
        name = f"{first.spec.name}{f' and {others} more' if others else ''}"
        done, total = loaded_bytes(first.pid), file_bytes(str(first.spec.file))
        with self._writing:
            if self._bar is None or self._bar.name != name:
                self._bar = LoadingBar(name)
            self._bar.show(done, total)

    def reloaded(self, report: ReloadReport | None, refusal: str) -> None:
        """Print what a reload has changed, or why it was refused."""
        if report is None:
            self._print(f"The configuration is not followed: {refusal}", event="reload", refused=refusal)
            return
        parts = [
            *(f"+ {name}" for name in report.added),
            *(f"- {name}" for name in report.removed),
            *(f"~ {name}" for name in report.changed),
        ]
        parts += [f"{len(report.settings)} settings"] * bool(report.settings)
        self._print(
            f"Reloaded: {', '.join(parts) or 'nothing has changed'}",
            event="reload",
            added=report.added,
            removed=report.removed,
            changed=[*report.changed],
        )

    def stopping(self, requests: int, seconds: float) -> None:
        """Print that the daemon ends, and what it still finishes."""
        line = stopping_line(requests, seconds, on_terminal=sys.stdin.isatty())
        self._print(line, event="stopping", requests=requests, seconds=seconds)

    def cut(self, requests: int) -> None:
        """Print that the daemon does not wait any longer."""
        what = f": {requests} unfinished" if requests else ""
        self._print(f"Ending now{what}", event="cut", requests=requests)

    def _propose(self, ready: Status) -> None:
        spec, demo = ready.spec, is_demo(str(ready.spec.file))
        vectors = spec.embeddings and not demo
        curl = try_lines(
            self._url, spec.model, embeddings=vectors, keyed=self._keyed, certificate=self._certificate
        )
        talk = [] if vectors else [f"relayd chat {spec.model}", ""]
        key = ["", "RELAYD_API_KEY is a key of `relayd keys create`, or api_key of relay.toml."] * (
            self._keyed and "RELAYD_API_KEY" not in os.environ
        )
        lines = "\n".join(f"  {line}".rstrip() for line in (*talk, *curl, *key))
        self._print(f"Try it:\n\n{lines}\n", event="try", command="\n".join(curl))

    def _show(self, notice: Notice, *, is_demo: bool) -> None:
        text = notice.text
        if is_demo and text.startswith(f"{notice.replica} is"):
            text = text.replace(f"{notice.replica} is", f"{notice.replica} (demo model: fixed answers) is", 1)
        colored = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        text = "\n".join(wrapped(text, output_columns()))
        self._print(
            typer.style(text, fg="yellow") if notice.alarming and colored else text,
            event="change",
            replica=notice.replica,
            state=notice.state.value,
            message=notice.text,
        )

    def _take_bar_back(self) -> None:
        with self._writing:
            if self._bar is not None:
                self._bar.end()
            self._bar = None

    def _print(self, text: str, **fields: object) -> None:
        if self._lost:
            return
        try:
            if self._as_json:
                print_event(fields)
            elif not self._quiet and text:
                with self._writing:
                    if self._bar is not None:
                        self._bar.end()
                    print(text, flush=True)
        except OutputError:  # a daemon serves on, also where its output cannot be written
            self._lost = True
            discard_output()


_WORDS: Mapping[str, str] = {"fatal": "failed, and is not tried again"}
"""States -> what they are called where people read them."""
