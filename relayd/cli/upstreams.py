"""relayd upstreams: servers elsewhere that serve models too."""

from typing import Annotated, Any

import msgspec
import typer

from relayd.cli.support.bydefault import ListByDefault
from relayd.cli.support.control import daemon_client, running_daemons
from relayd.cli.support.output import AsJson, print_json
from relayd.config.upstreams import name_of, place_of
from relayd.config.written import FILE_NAME, drop, keep, written
from relayd.daemon.upstreamreport import UpstreamReport
from relayd.desired.site import Site
from relayd.errors import NoDaemonError, UsageError

app = typer.Typer(
    name="upstreams",
    cls=ListByDefault,
    help="Show, add, test and remove upstreams; alone it lists.",
)
_TABLE = "upstream"


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Show the upstreams of the running relayd, and what each serves."""
    found = running_daemons()[0].report.upstreams
    if as_json:
        print_json({"upstreams": msgspec.to_builtins(found)})
        return
    from relayd.cli.support.terminal import MAIL_COLUMNS, show
    from relayd.ui.upstreams import upstream_table

    if not found:
        print("no upstream is configured; add one: relayd upstreams add URL")
        return
    show(upstream_table(found), MAIL_COLUMNS)
    for line in _problems(found):
        print(line)


@app.command()
def add(
    url: Annotated[str, typer.Argument(help="Where it answers, like http://192.168.1.7:11434.")],
    name: Annotated[str, typer.Option(help="What it is called; else made of its host and port.")] = "",
    models: Annotated[
        list[str] | None, typer.Option("--model", help="A model, OURS=THEIRS, or a pattern; all without it.")
    ] = None,
    key_env: Annotated[str, typer.Option(metavar="NAME", help="The variable that holds its key.")] = "",
    slots: Annotated[
        int, typer.Option(min=0, help="Requests of each model at once; 0 is what it reports.")
    ] = 0,
    cost: Annotated[float, typer.Option(min=0, help="Seconds to wait for something cheaper.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Add an upstream to models.toml, and have a running relayd follow it.

    Its key is read from a variable of the daemon's environment, so that it is in no file and no command line.
    """
    try:
        place_of(url)
    except ValueError as error:
        raise UsageError(str(error), remedy="Write a URL like http://192.168.1.7:11434.") from error
    given = {
        "url": url,
        "name": name_of(name, url),
        "models": models,
        "key": f"${{ENV:{key_env}}}" if key_env else "",
        "slots": slots,
        "cost": cost,
    }
    line = {setting: value for setting, value in given.items() if value}
    keep(line, Site().state, _TABLE)
    _follow({"added": line}, f"{line['name']} added", as_json=as_json)


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="What it is called.")],
    as_json: AsJson = False,
) -> None:
    """Remove an upstream from models.toml; what runs there is finished."""
    state = Site().state
    if name not in (known := written(state, _TABLE)):
        raise UsageError(
            f"models.toml has no upstream {name!r}",
            remedy=f"It has {', '.join(known) or 'none'}; those of relay.toml are changed there.",
        )
    drop(name, state, _TABLE)
    _follow({"removed": name}, f"{name} removed", as_json=as_json)


@app.command("test")
def try_(
    name: Annotated[str, typer.Argument(help="An upstream, a node or a worker.")],
    as_json: AsJson = False,
) -> None:
    """Have an upstream, or a node, answer a request of one token.

    It costs what one token costs. The exit status is 1 where no answer comes.
    """
    found = daemon_client().test_upstream(name)
    if as_json:
        print_json(msgspec.to_builtins(found))
    elif found.problem:
        typer.echo(f"{name} does not answer for {found.model}: {found.problem}", err=True)
    else:
        print(f"{name} answers for {found.model}, in {found.seconds:.2f} s")
    if found.problem:
        raise typer.Exit(1)


def _follow(document: dict[str, Any], done: str, *, as_json: bool) -> None:
    """Have a running daemon follow models.toml, and report what was done."""
    try:
        running_daemons()[0].client.reload()
        running = True
    except NoDaemonError:
        running = False
    if as_json:
        print_json({**document, "followed": running})
    else:
        print(f"{done} in {Site().state / FILE_NAME}{'' if running else '; no relayd is running'}")


def _problems(found: tuple[UpstreamReport, ...]) -> list[str]:
    return [f"{one.name}: {one.problem}" for one in found if one.problem]
