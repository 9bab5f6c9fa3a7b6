"""relayd serve: run the daemon in the foreground."""

import resource
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from relayd.cli.support.display import ConsoleDisplay
from relayd.cli.support.output import print_event
from relayd.cli.support.surroundings import discard_output
from relayd.daemon.life import Daemon
from relayd.daemon.takeover import takes_over
from relayd.desired.arguments import ServeArguments
from relayd.desired.away import REMEDY
from relayd.desired.cold import NOTABLE
from relayd.desired.demo import is_demo
from relayd.desired.display import Silent
from relayd.desired.site import Site
from relayd.desired.state import DesiredState, desired_state, remember_plan
from relayd.errors import OutputError
from relayd.journal import Journal, open_journal
from relayd.supervisor import Status
from relayd.units import mib

NAMED = 5
"""How many models on demand are named."""

_WORDS = """awk -F'"content":"' 'NF > 1 { sub(/".*/, "", $2); printf "%s", $2 } END { print "" }'"""
"""Shows the text of a stream of events; enough for the demo model, whose words have no quotes."""


def serve(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL|FILE.gguf]...", help="Configured models or files; without them, every model."
        ),
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Serve the built-in demo model.")] = False,
    listen: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Where clients connect.  [default: 127.0.0.1:8080]"),
    ] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="The relay.toml to use.")] = None,
    llama_server: Annotated[str | None, typer.Option(metavar="FILE", help="The llama-server to run.")] = None,
    insecure_bind: Annotated[
        bool, typer.Option("--insecure-bind", help="Let other machines in without a key.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object for each event.")] = False,
) -> None:
    """Serve models in the foreground until Ctrl-C or `relayd stop`."""
    chosen = ServeArguments(tuple(targets or ()), demo, listen, config, llama_server, insecure_bind)
    output = ServeOutput(quiet=quiet, as_json=as_json)
    desired = desired_state(chosen, Site(), ConsoleDisplay(quiet=quiet or as_json))
    if not desired.plan:
        output.nothing_to_serve()
        if desired.on_terminal:
            raise typer.Exit(1)
    elif not takes_over(desired.environ) and desired.away.keys() >= {one.model for one in desired.plan}:
        output.no_file_is_there(desired.away)
        if desired.on_terminal:
            raise typer.Exit(1)
    _run(remember_plan(desired), chosen, output)


class ServeOutput:
    """What `relayd serve` prints, for the person or the program that started it."""

    def __init__(self, *, quiet: bool, as_json: bool) -> None:
        self._quiet = quiet
        self._as_json = as_json
        self._url = ""
        self._lost = False

    def nothing_to_serve(self) -> None:
        """Say that there is no model, and which one would suit this machine."""
        from relayd.cli.recommend import best_command

        command = best_command()
        self._print(
            f"There is no model on this disk. For this machine:\n\n  {command}\n\n"
            "and then relayd serve again. Others: relayd recommend. To look around: relayd serve --demo",
            event="nothing_to_serve",
            command=command,
        )

    def no_file_is_there(self, away: Mapping[str, str]) -> None:
        """Say that no configured model can be served, and why not."""
        reasons = "\n".join(f"  {name}: {why}" for name, why in away.items())
        self._print(
            f"No configured model can be served:\n\n{reasons}\n\n{REMEDY}",
            event="nothing_to_serve",
            away=dict(away),
        )

    def listening(self, url: str) -> None:
        """Say where clients connect."""
        self._url = url
        self._print(f"relayd listens on {url}", event="listening", url=url)

    def closed(self) -> None:
        """Print that clients without a key are not let in any more."""
        self._print(
            "Requests for models need a key from now on; those without one are refused. See: relayd keys",
            event="door_closed",
        )

    def settled(self, statuses: list[Status]) -> None:
        """Say which models are ready and which are not, and what to type next."""
        for status in statuses:
            name, state = status.spec.name, status.state.value
            ended = status.last_exit.message if status.last_exit and state != "ready" else ""
            why = status.reason or ended
            label = " (demo model: fixed answers)" if is_demo(str(status.spec.file)) else ""
            self._print(
                f"{name}{label} is {state}{f': {why}' if why else ''}" if state != "cold" else "",
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
            spec, curl = ready.spec, _curl(self._url, ready)
            talk = "" if is_demo(str(spec.file)) or spec.embeddings else f"  relayd chat {spec.model}\n"
            self._print(f"Try it:\n\n{talk}  {curl}\n", event="try", command=curl)

    def _print(self, text: str, **fields: object) -> None:
        if self._lost:
            return
        try:
            if self._as_json:
                print_event(fields)
            elif not self._quiet and text:
                print(text, flush=True)
        except OutputError:  # a daemon serves on, also where its output cannot be written
            self._lost = True
            discard_output()


def on_demand_line(models: Sequence[str]) -> str:
    """Return the sentence on models that are not loaded yet, of which it names a few."""
    named, more = ", ".join(models[:NAMED]), len(models) - NAMED
    return f"Loaded on demand: {named}{f' and {more} more (relayd status)' if more > 0 else ''}"


def _curl(url: str, status: Status) -> str:
    """Return a line for a shell that has an answer: streamed, of the demo its words alone; or a vector."""
    spec, demo = status.spec, is_demo(str(status.spec.file))
    kind, asked = "chat/completions", '"stream": true, "messages": [{"role": "user", "content": "Hello!"}]'
    if spec.embeddings and not demo:
        kind, asked = "embeddings", '"input": "Hello!"'
    body = f'{{"model": "{spec.model}", {asked}}}'
    curl = f"curl -sN {url}/v1/{kind} -H 'Content-Type: application/json' -d '{body}'"
    return f"{curl} | {_WORDS}" if demo else curl


def _run(desired: DesiredState, arguments: ServeArguments, output: ServeOutput) -> None:
    """Run the daemon to its end."""
    soft, hard = _raise_descriptor_limit()
    logs = desired.config.logs
    open_journal(
        desired.paths.state / "logs" / "relayd.log", max_bytes=mib(logs.max_mib), backups=logs.backups
    )
    Journal("daemon").info("daemon.descriptors", soft=soft, hard=hard)
    cold = () if takes_over(desired.environ) else [str(one) for one in desired.cold if one.cause in NOTABLE]
    for warning in (*desired.warnings, *cold):
        typer.echo(f"warning: {warning}", err=True)

    async def main() -> None:
        daemon = Daemon(
            desired,
            lambda given_up: desired_state(arguments, Site(), Silent(), given_up),
            on_listening=output.listening,
            on_settled=output.settled,
            on_closed=output.closed,
        )
        await daemon.run()

    uvloop.run(main())
    sys.stdout.flush()


def _raise_descriptor_limit() -> tuple[int, int]:
    """Allow as many open connections as the system lets us, and return the soft and the hard limit.

    The usual soft limit is 1,024.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted, hard
