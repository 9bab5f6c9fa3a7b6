"""relayd config: what holds, where each value comes from, and whether a file can be followed."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from relayd.cli.support.bydefault import ListByDefault
from relayd.cli.support.given import given_or_here
from relayd.cli.support.output import AsJson, print_json
from relayd.cli.support.remark import remark
from relayd.config import check_exposure, check_model_files, check_tls, find_config
from relayd.config.load import SYSTEM_FILE, load, read_documents
from relayd.config.origin import DEFAULT, SettingOrigin, origin_of, origins
from relayd.errors import ConfigError
from relayd.folders import config_dir


class _ShowByDefault(ListByDefault):
    default = "show"


app = typer.Typer(
    name="config",
    cls=_ShowByDefault,
    help="Show the settings that hold, and where each comes from.",
)


@app.command()
def show(
    every: Annotated[bool, typer.Option("--all", help="Those with their default too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the settings that hold, and where each comes from.

    API keys are hidden. There is no `relayd config set`: relay.toml is yours, and relayd never rewrites it,
    so that your comments stay. Edit it, then run `relayd reload`.
    """
    found, where = _settings()
    shown = [one for one in found if every or one.place != DEFAULT]
    if as_json:
        print_json({"schema": 1, "source": where, "settings": [dataclasses.asdict(one) for one in shown]})
        return
    typer.echo(f"# {where}")
    for line in _lines(shown):
        typer.echo(line)
    left = len(found) - len(shown)
    if left:
        typer.echo(f"# {left} more have their default: relayd config show --all")


@app.command()
def get(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Such as server.listen, or a table: server.")],
    as_json: AsJson = False,
) -> None:
    """Print the value of one setting, or the settings of a table.

    API keys are hidden.
    """
    found = origin_of(key, _settings()[0])
    if as_json:
        print_json([dataclasses.asdict(one) for one in found])
    elif len(found) == 1 and found[0].key == key:
        value = found[0].value
        typer.echo(value if isinstance(value, str) else _toml(value))
    else:
        for line in _lines(found):
            typer.echo(line)


@app.command()
def path(as_json: AsJson = False) -> None:
    """Print the path of the relay.toml in use.

    Exits with 1 where there is none; the places that were looked in are then printed as an error.
    """
    arguments, site, _ = given_or_here()
    file = find_config(arguments.config, site.environ, site.home, site.cwd)
    places = [site.cwd / "relay.toml", config_dir(site.environ, site.home) / "relay.toml", SYSTEM_FILE]
    if as_json:
        print_json({"path": str(site.cwd / file) if file else None, "places": [str(one) for one in places]})
    elif file:
        typer.echo(site.cwd / file)
    else:
        typer.echo("There is no relay.toml, so every setting has its default. Looked in:", err=True)
        for place in places:
            typer.echo(f"  {place}", err=True)
    if file is None:
        raise typer.Exit(1)


@app.command()
def check(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="A relay.toml.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check whether a relay.toml can be followed.

    By default the one in use.

    Nothing is started or changed. Exits with 2 where it cannot; every problem is a line with its place.
    """
    arguments, site, _ = given_or_here()
    loaded = load(file or arguments.config, site.environ, site.home, site.cwd)
    server = loaded.config.server
    check_exposure(server.listen, server.api_key, always_keyed=server.require_key == "always")
    check_tls(server.tls_cert, server.tls_key)
    check_model_files(loaded.config)
    where = ", ".join(loaded.sources) or "no file"
    count = len(loaded.config.model)
    if as_json:
        print_json({"ok": True, "sources": loaded.sources, "warnings": loaded.warnings, "models": count})
        return
    for warning in loaded.warnings:
        remark(f"warning: {warning}")
    typer.echo(f"ok: {where}: {count} {'model' if count == 1 else 'models'}")


def _settings() -> tuple[Sequence[SettingOrigin], str]:
    """Return every setting, and in a line what they are those of.

    Raises:
        ConfigError: The configuration cannot be read.
    """
    arguments, site, warning = given_or_here()
    if warning:
        remark(f"warning: {warning}")
    documents = read_documents(arguments.config, site.environ, site.home, site.cwd)
    if problems := [one for document in documents for one in document.problems]:
        raise ConfigError("\n".join(problems))
    sources = [one for document in documents for one in document.sources]
    return origins(documents), ", ".join(sources) or "no file and no variable: every setting has its default"


def _lines(found: Iterable[SettingOrigin]) -> list[str]:
    """Return `key = value`, and behind it the place, in a column of its own where there is room."""
    pairs = [(f"{one.key} = {_toml(one.value)}", one.place) for one in found]
    width = min(60, max((len(text) for text, _ in pairs), default=0))
    return [f"{text:<{width}}  # {place}" for text, place in pairs]


def _toml(value: Any) -> str:
    """Return a value as TOML writes it on one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)
