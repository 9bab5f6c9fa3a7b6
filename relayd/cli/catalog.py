"""relayd catalog: list, show, update and import known models."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, get_args

import msgspec
import typer

from relayd.catalog import CatalogEntry, Folders, find_entry, load_catalog, shipped_folder
from relayd.catalog.entry import Capability
from relayd.catalog.llamafile import read_lines
from relayd.cli.support.given import given_settings
from relayd.cli.support.output import AsJson, print_json
from relayd.errors import UsageError
from relayd.folders import cache_dir, config_dir, state_dir

app = typer.Typer(name="catalog", help="Look up models: sizes, shapes, licences.", no_args_is_help=True)


@app.command("list", hidden=True)  # `relayd models --all` shows more
def list_(
    pattern: Annotated[str, typer.Argument(metavar="[FILTER]", help="Part of a name, title or family.")] = "",
    tag: Annotated[str, typer.Option(help="Only models for this: chat, code, vision, tools …")] = "",
    as_json: AsJson = False,
) -> None:
    """Show the models of the catalogue.

    `relayd models --all` shows them with size and fit.
    """
    entries = [entry for entry in known_catalog() if _wanted(entry, pattern.casefold(), capability_of(tag))]
    if as_json:
        print_json([_summary(entry) for entry in entries])
    elif entries:
        from relayd.cli.support.terminal import show
        from relayd.ui.catalog import models_table

        show(models_table(entries))
    else:
        typer.echo("No model of the catalogue matches. See all: relayd catalog list")


@app.command("show")
def show_(
    name: Annotated[str, typer.Argument(help="A name, an alias, or the beginning of one.")],
    as_json: AsJson = False,
) -> None:
    """Show everything known of a model, and from where."""
    match = find_entry(known_catalog(), name)
    if as_json:
        print_json(msgspec.to_builtins(match.entry) | _summary(match.entry) | {"quant": match.quant or None})
    else:
        from relayd.cli.support.terminal import show
        from relayd.ui.catalog import model_page

        show(model_page(match.entry))


@app.command()
def update(
    url: Annotated[str, typer.Option(help="Where it is, by https.  [default: catalog.url]")] = "",
    sha256: Annotated[str, typer.Option(help="Digest it must have.  [default: catalog.sha256]")] = "",
    as_json: AsJson = False,
) -> None:
    """Fetch a newer catalogue; relayd's own stays below it."""
    known = given_settings()[0].config.catalog
    from relayd.catalog.update import update_catalog

    updated = update_catalog(url or known.url, sha256 or known.sha256, _folders().state)
    names = [entry.name for entry in updated]
    if as_json:
        print_json({"updated": names})
    else:
        typer.echo(f"The update has {len(names)} models.")


@app.command("import", hidden=True)  # `relayd models import` takes its lines too
def import_(
    line: Annotated[str, typer.Argument(metavar="FILE|LINE", help="Lines of slug|name|bytes|size|licence|…")],
    replace: Annotated[bool, typer.Option("--replace", help="Also models that are known already.")] = False,
    as_json: AsJson = False,
) -> None:
    """Add models from lines of a llamafile catalogue.

    Each is `slug|name|bytes|size|licence|…`, as ModelRelay keeps them.
    """
    entries = list(read_lines(_text(line)))
    known = {name for entry in known_catalog() if entry.origin != "imported" for name in entry.names}
    skipped = [entry.name for entry in entries if entry.name in known and not replace]
    taken = [entry for entry in entries if entry.name not in skipped]
    from relayd.catalog.update import keep_imported

    keep_imported(taken, _folders().state)
    if as_json:
        print_json({"imported": [entry.name for entry in taken], "skipped": skipped})
        return
    typer.echo(f"Imported {len(taken)}: {_listed(entry.name for entry in taken)}")
    if skipped:
        typer.echo(f"Known already, with more facts: {_listed(skipped)} (--replace takes them too)")


def _folders() -> Folders:

    return Folders(
        shipped=shipped_folder(),
        state=state_dir() / "catalog",
        own=config_dir() / "catalog",
        cache=cache_dir() / "catalog.json",
    )


def known_catalog() -> tuple[CatalogEntry, ...]:
    """Return every known model, imported and updated ones included."""
    return load_catalog(_folders())


def capability_of(tag: str) -> str:
    """Return a tag that models can have.

    Raises:
        UsageError: There is no such tag.
    """
    known = get_args(Capability)
    if tag and tag.casefold() not in known:
        raise UsageError(f"no model has the tag {tag!r}", remedy=f"Tags are: {', '.join(known)}.")
    return tag.casefold()


def _wanted(entry: CatalogEntry, pattern: str, tag: str) -> bool:
    texts = (*entry.names, entry.title, entry.family, entry.publisher)
    return (not tag or tag in entry.capabilities) and any(pattern in text.casefold() for text in texts)


def _text(line: str) -> str:
    """Return the lines of a file, or the argument itself.

    Raises:
        UsageError: It is neither, or the file cannot be read.
    """
    if "|" in line:
        return line
    try:
        return Path(line).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UsageError(
            f"{line} cannot be read: {reason}", remedy="Give a file, or a line with |."
        ) from error


def _summary(entry: CatalogEntry) -> dict[str, Any]:
    """Return the facts that every model has, as JSON."""
    return {
        "name": entry.name,
        "title": entry.title,
        "family": entry.family,
        "publisher": entry.publisher,
        "origin": entry.origin,
        "parameters": entry.parameters,
        "active_parameters": entry.active_parameters,
        "context": entry.context,
        "capabilities": entry.capabilities,
        "license": entry.license,
        "gated": entry.gated,
        "aliases": entry.aliases,
        "quants": entry.quants,
    }


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"
