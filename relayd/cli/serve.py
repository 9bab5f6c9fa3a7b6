"""relayd serve: run the daemon in the foreground."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relayd.cli.support.output import print_event

if TYPE_CHECKING:
    from relayd.config import Config
    from relayd.desired.wish import Wish
    from relayd.engine import Engine
    from relayd.supervisor import Status

_WORDS = """awk -F'"content":"' 'NF > 1 { sub(/".*/, "", $2); printf "%s", $2 } END { print "" }'"""
"""Shows the text of a stream of events; enough for the demo model, whose words have no quotes."""


def serve(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL|FILE.gguf", help="Configured models or files; without them, every model."
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
    choice = _Choice(targets or [], demo, listen, config, llama_server, insecure_bind)
    voice = Voice(quiet=quiet, as_json=as_json)
    told = choice.wish(quiet=quiet or as_json)
    if not told.plan:
        voice.nothing_to_serve()
        if told.on_terminal:
            raise typer.Exit(1)
    _run(told, choice, voice)


@dataclass(frozen=True, slots=True)
class _Choice:
    """What was typed after `relayd serve`: it holds over every reload."""

    targets: list[str]
    demo: bool
    listen: str | None
    config: Path | None
    llama_server: str | None
    insecure_bind: bool

    def wish(self, *, quiet: bool) -> "Wish":
        """Read the configuration, check it, and return everything the daemon is told.

        Raises:
            RelaydError: It cannot be followed; nothing was started.
        """
        import os
        import sys

        import msgspec

        from relayd.cli.ondisk import models_to_serve, servable_model
        from relayd.cli.picked import remember, still_running
        from relayd.config import check_exposure, load, make_folders, own_paths
        from relayd.desired import wish
        from relayd.hardware import probe

        loaded = load(self.config, os.environ, Path.home(), Path.cwd())
        wanted = wish.chosen(loaded.config, self.targets, servable_model, demo=self.demo)
        wanted = wish.overridden(wanted, listen=self.listen, engine=self.llama_server)
        check_exposure(wanted.server.listen, wanted.server.api_key, insecure=self.insecure_bind)
        engine, notes = _engine(wanted, quiet=quiet), [*loaded.warnings]
        own = own_paths(demo=self.demo and not self.targets)
        make_folders(own)
        if not wanted.model:
            picked = models_to_serve(engine, still_running(own.runtime))
            wanted = msgspec.structs.replace(wanted, model=picked.models)
            notes += picked.left_out
            remember(own.runtime, picked.models)
        plan = wish.plan(wanted, probe())
        return wish.Wish(
            config=wanted,
            plan=plan,
            engine=engine,
            paths=own,
            environ=dict(os.environ),
            sources=loaded.sources,
            warnings=(*notes, *_warnings(insecure=self.insecure_bind)),
            on_terminal=sys.stdin is not None and sys.stdin.isatty(),
            any_port=self.demo and self.listen is None,
        )


class Voice:
    """What `relayd serve` tells the person, or the program, that started it."""

    def __init__(self, *, quiet: bool, as_json: bool) -> None:
        self._quiet = quiet
        self._as_json = as_json
        self._url = ""

    def nothing_to_serve(self) -> None:
        """Say that there is no model, and which one would suit this machine."""
        from relayd.cli.recommend import best_command

        command = best_command()
        self._tell(
            f"There is no model on this disk. For this machine:\n\n  {command}\n\n"
            "and then relayd serve again. Others: relayd recommend. To look around: relayd serve --demo",
            event="nothing_to_serve",
            command=command,
        )

    def listening(self, url: str) -> None:
        """Say where clients connect."""
        self._url = url
        self._tell(f"relayd listens on {url}", event="listening", url=url)

    def settled(self, statuses: "list[Status]") -> None:
        """Say which models are ready and which are not, and what to type next."""
        from relayd.desired.wish import is_demo

        for status in statuses:
            name, state = status.spec.name, status.state.value
            why = status.last_exit.message if status.last_exit and state != "ready" else ""
            label = " (demo model: fixed answers)" if is_demo(str(status.spec.file)) else ""
            self._tell(
                f"{name}{label} is {state}{f': {why}' if why else ''}",
                event="replica",
                replica=name,
                state=state,
                message=why,
            )
        ready = next((status for status in statuses if status.state.value == "ready"), None)
        if ready:
            spec, curl = ready.spec, _curl(self._url, ready)
            talk = "" if is_demo(str(spec.file)) or spec.embeddings else f"  relayd chat {spec.model}\n"
            self._tell(f"Try it:\n\n{talk}  {curl}\n", event="try", command=curl)

    def _tell(self, text: str, **fields: object) -> None:
        if self._as_json:
            print_event(fields)
        elif not self._quiet:
            print(text, flush=True)


def _curl(url: str, status: "Status") -> str:
    """Return a line for a shell that has an answer: streamed, of the demo its words alone; or a vector."""
    from relayd.desired.wish import is_demo

    spec, demo = status.spec, is_demo(str(status.spec.file))
    kind, asked = "chat/completions", '"stream": true, "messages": [{"role": "user", "content": "Hello!"}]'
    if spec.embeddings and not demo:
        kind, asked = "embeddings", '"input": "Hello!"'
    body = f'{{"model": "{spec.model}", {asked}}}'
    curl = f"curl -sN {url}/v1/{kind} -H 'Content-Type: application/json' -d '{body}'"
    return f"{curl} | {_WORDS}" if demo else curl


def _engine(config: "Config", *, quiet: bool) -> "Engine":
    """Return the llama-server to run; install one, with progress shown, if there is none."""
    from relayd.cli.engine import lend_installer
    from relayd.config import cache_dir
    from relayd.engine import ensure

    with lend_installer(quiet=quiet, release_sha256=config.engine.release_sha256) as installer:
        return ensure(installer, cache=cache_dir() / "engine", configured=config.engine.path)


def _warnings(*, insecure: bool) -> list[str]:
    import os

    system = Path("/etc/llama.cpp/config.ini")
    found = []
    if insecure:
        found.append("other machines may use this relayd without a key (--insecure-bind)")
    if os.geteuid() == 0:
        found.append("relayd runs as root; a user of its own is safer")
    if system.exists():
        found.append(f"llama-server also reads {system}, which relayd cannot switch off")
    return found


def _run(told: "Wish", choice: _Choice, voice: Voice) -> None:
    """Run the daemon to its end."""
    import sys

    import uvloop

    from relayd.daemon.life import Daemon
    from relayd.journal import Journal, open_journal
    from relayd.units import mib

    soft, hard = _raise_descriptor_limit()
    logs = told.config.logs
    open_journal(told.paths.state / "logs" / "relayd.log", max_bytes=mib(logs.max_mib), backups=logs.backups)
    Journal("daemon").info("daemon.descriptors", soft=soft, hard=hard)
    for warning in told.warnings:
        typer.echo(f"warning: {warning}", err=True)

    async def main() -> None:
        daemon = Daemon(
            told,
            lambda: choice.wish(quiet=True),
            on_listening=voice.listening,
            on_settled=voice.settled,
        )
        await daemon.run()

    uvloop.run(main())
    sys.stdout.flush()


def _raise_descriptor_limit() -> tuple[int, int]:
    """Allow as many open connections as the system lets us, and return the soft and the hard limit.

    The usual soft limit is 1,024.
    """
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted, hard
