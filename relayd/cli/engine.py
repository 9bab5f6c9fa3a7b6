"""relayd engine: install, list, update and roll back llama-server."""

import contextlib
from collections.abc import Iterator
from typing import Annotated

import msgspec
import typer

from relayd.cli.support.display import ConsoleDisplay
from relayd.cli.support.given import given_settings
from relayd.cli.support.output import AsJson, Quiet, print_json
from relayd.cli.support.terminal import show
from relayd.config.schema import EngineSettings
from relayd.desired import engines
from relayd.desired.site import Site
from relayd.engine.install import Installer
from relayd.engine.installed import EngineShelf, Installed
from relayd.ui.engine import EngineRow, engines_table

app = typer.Typer(
    name="engine", help="Install and choose the llama-server that models run on.", no_args_is_help=True
)


NoVerify = Annotated[
    bool, typer.Option("--no-verify", help="Also an archive that the release gives no SHA-256 of.")
]


@app.command()
def install(no_verify: NoVerify = False, quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Install a llama-server for this machine, unless one is installed."""
    pinned = _settings().release_sha256
    with lend_installer(quiet=quiet, release_sha256=pinned, verify=not no_verify) as installer:
        engine = installer.install()
    _print_engine(installer.shelf, engine, as_json=as_json)


@app.command()
def update(no_verify: NoVerify = False, quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Install the newest llama-server and switch to it.

    The previous one is kept.
    """
    pinned = _settings().release_sha256
    with lend_installer(quiet=quiet, release_sha256=pinned, verify=not no_verify) as installer:
        engine = installer.update()
    _print_engine(installer.shelf, engine, as_json=as_json)


@app.command()
def rollback(as_json: AsJson = False) -> None:
    """Switch back to the llama-server used before."""
    shelf = _shelf()
    _print_engine(shelf, shelf.roll_back(), as_json=as_json)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Show the installed llama-servers."""
    shelf = _shelf()
    engines, now = shelf.engines(), shelf.current()
    if as_json:
        print_json([_described(shelf, engine) for engine in engines])
    elif engines:
        rows = [
            EngineRow(one.id, one.source, one.size_bytes, one == now, one.backend, one.installed_at)
            for one in engines
        ]
        show(engines_table(rows))
    else:
        typer.echo("No engine is installed. Install one: relayd engine install")


@app.command()
def path(as_json: AsJson = False) -> None:
    """Print the path of the llama-server that would run."""
    loaded, site = given_settings()
    engine = engines.engine_at(site, loaded.config.engine.path)
    if as_json:
        found = {"path": str(engine.path), "source": engine.source, "version": engine.version}
        print_json(found | {"build": engine.build})
    else:
        typer.echo(engine.path)


def _settings() -> EngineSettings:
    """Return the configuration of the engine."""
    return given_settings()[0].config.engine


def _shelf() -> EngineShelf:
    return engines.engine_shelf(Site())


@contextlib.contextmanager
def lend_installer(
    *, quiet: bool = False, release_sha256: str = "", verify: bool = True
) -> Iterator[Installer]:
    """Lend an installer that shows its progress on standard error."""
    display = ConsoleDisplay(quiet=quiet)
    with engines.lend_installer(Site(), display, release_sha256, verify=verify) as installer:
        yield installer


def _print_engine(shelf: EngineShelf, engine: Installed, *, as_json: bool) -> None:
    if as_json:
        print_json(_described(shelf, engine))
    else:
        typer.echo(f"llama.cpp {engine.version} ({engine.backend}): {shelf.binary(engine)}")


def _described(shelf: EngineShelf, engine: Installed) -> dict[str, object]:

    current = shelf.current()
    return msgspec.structs.asdict(engine) | {
        "current": current is not None and current.id == engine.id,
        "path": str(shelf.binary(engine)),
    }
