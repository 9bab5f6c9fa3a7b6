"""relayd models: list, import, verify and remove models."""

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relayd.catalog import CatalogEntry
from relayd.cli import catalog
from relayd.cli.catalog import capability_of
from relayd.cli.ondisk import (
    called,
    fits_here,
    known_models,
    models_configured,
    models_on_disk,
    own_shelf,
    served_files,
    whole_models_on_disk,
)
from relayd.cli.support.bydefault import ListByDefault
from relayd.cli.support.output import AsJson, Quiet, print_json
from relayd.cli.support.remark import remark
from relayd.cli.support.removal import check_agreement, record_to_remove
from relayd.clock import SystemClock
from relayd.config.naming import NAME
from relayd.errors import UsageError
from relayd.files import expanded
from relayd.models.bring import bring
from relayd.models.choice import MODEL_SUFFIXES, preferred_file
from relayd.models.ondisk import STORES, Found, find_on_disk
from relayd.models.shelf import ModelRecord
from relayd.models.skipped import LISTED, Skipped, lines_of
from relayd.models.verify import verify as check
from relayd.ui.modelrow import ModelRow
from relayd.units import show_bytes

if TYPE_CHECKING:
    from relayd.ui.downloads import PullBars, PullLines

app = typer.Typer(
    name="models",
    cls=ListByDefault,
    help="Show, import, check and remove models; alone it lists them.",
)


@app.command("list")
def list_(
    pattern: Annotated[str, typer.Argument(metavar="[FILTER]", help="Part of a name or of a store.")] = "",
    tag: Annotated[str, typer.Option(help="Only models for this: chat, code, vision, tools …")] = "",
    every: Annotated[bool, typer.Option("--all", help="List the whole catalogue too.")] = False,
    skipped: Annotated[
        bool, typer.Option("--skipped", help="List only files that cannot be served, all of them.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the models on disk, from every program, or the catalogue.

    `relayd models FILTER` is short for `relayd models list FILTER`.
    """
    left_out: list[Skipped] = []
    entries, found = known_models(), whole_models_on_disk(left_out.append)
    if skipped and not as_json:
        typer.echo("\n".join(lines_of(left_out, len(left_out))) or "No file is skipped.")
        return
    configured = models_configured(found)
    rows = _rows(found, configured, entries, catalogue=bool(pattern or tag or every))
    found += configured
    rows = [row for row in rows if _wanted(row, pattern.casefold(), capability_of(tag))]
    unfinished = [record for record in own_shelf().records() if not record.finished]
    if as_json:
        print_json(
            {
                "models": [_described(row, found) for row in rows],
                "unfinished": [_pending(record) for record in unfinished],
                "skipped": [{"path": str(one.path), "reason": str(one)} for one in left_out],
            }
        )
        return
    if rows:
        from relayd.cli.support.terminal import show
        from relayd.ui.models import models_table

        show(lambda width: models_table(rows, width))
    else:
        typer.echo("No model matches." if pattern or tag else "No model is on this disk.")
    if not (pattern or tag or every):
        typer.echo(f"The catalogue has {len(entries)} models: relayd models --all")
    for line in lines_of(left_out, LISTED):
        remark(line)
    for record in unfinished:
        arrived = show_bytes(_arrived(record))
        typer.echo(f"Unfinished: {record.name}, {arrived} downloaded. Resume: relayd pull {_again(record)}")


@app.command("import")
def import_(
    file: Annotated[
        str, typer.Argument(metavar="FILE|LINE", help="A .gguf, a .llamafile, or a catalogue line.")
    ],
    name: Annotated[str, typer.Option(help="What it is called.  [default: its file's name]")] = "",
    tag: Annotated[
        list[str] | None, typer.Option(help="What it is for: chat, code, vision, tools …; repeat it.")
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Import a file that is on this disk.

    A GGUF stays in place, the model in a llamafile is copied. Of a file that is imported again, name and
    tags are changed.

    A line `slug|name|bytes|…` of a llamafile catalogue, or a file of such lines, is added to the catalogue.
    """
    if not file.lower().endswith((*MODEL_SUFFIXES, ".exe")):
        if name or tag:
            raise UsageError("--name and --tag belong to a model file", remedy="A line has both in it.")
        catalog.import_(file, replace=False, as_json=as_json)
        return
    if name and not NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a model",
            remedy="Names have letters, digits and . _ : - in them, and / between two such names.",
        )
    tags = tuple(map(capability_of, tag or ()))
    with _progress(quiet=quiet) as progress:
        record = bring(expanded(file), own_shelf(), SystemClock(), progress.at, name=name, tags=tags)
    if as_json:
        shown = {"name": called(record), "path": record.parts[0].path, "kind": record.kind}
        print_json(shown | {"tags": record.tags})
    else:
        typer.echo(f"Imported {called(record)}: {record.parts[0].path}")


@app.command("show")
def show_(
    name: Annotated[str, typer.Argument(help="A name of the catalogue, as people type it.")],
    as_json: AsJson = False,
) -> None:
    """Show everything known of a model, and from where."""
    catalog.show_(name, as_json=as_json)


@app.command()
def rm(
    name: Annotated[str, typer.Argument(help="Its whole name, or the path of its file.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, whatever its size.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove a model that relayd downloaded.

    Above 100 MiB it asks first; outside a terminal, and with --json, that needs --yes. Files of other
    programs stay.
    """
    shelf = own_shelf()
    record = record_to_remove(shelf, name)
    if {os.path.realpath(kept.path) for kept in record.parts} & served_files():
        raise UsageError(f"{record.name} is being served", remedy="Stop it first with `relayd stop MODEL`.")
    check_agreement(record, yes=yes)
    freed = shelf.remove(record)
    if as_json:
        print_json({"name": record.name, "freed_bytes": freed})
    elif record.kind == "imported":
        typer.echo(f"Removed {record.name} from the list; the file was kept: {record.parts[0].path}")
    else:
        typer.echo(f"Removed {record.name}, {show_bytes(freed)} freed.")


@app.command()
def verify(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="One model; all without it.")] = "",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Read models, and compare them with their SHA-256.

    The digests are those of the hub, the store or their record.
    """
    skipped: list[Skipped] = []
    found = models_on_disk(skipped.append)
    chosen = [find_on_disk(found, name, skipped)] if name else found
    if not chosen and not as_json:
        typer.echo("No model is on this disk.")
        return
    with _progress(quiet=quiet) as progress:
        verdicts = [check(one, progress.at) for one in chosen]
    if as_json:
        print_json([{"name": one.name, "outcome": one.outcome, "problems": one.problems} for one in verdicts])
    else:
        from relayd.cli.support.terminal import show
        from relayd.ui.models import verdicts_table

        show(verdicts_table((one.name, one.outcome, one.problems) for one in verdicts))
    if any(one.outcome == "damaged" for one in verdicts):
        raise typer.Exit(1)


@app.command()
def du(as_json: AsJson = False) -> None:
    """Show how much disk models take, by store."""
    found = models_on_disk()
    by_store = {store: [one for one in found if one.store == store] for store in STORES}
    rows = [(STORES[store], len(own), _disk_bytes(own)) for store, own in by_store.items() if own]
    pending = [record for record in own_shelf().records() if not record.finished]
    if pending:
        rows.append(("unfinished pulls", len(pending), sum(_arrived(record) for record in pending)))
    if not rows and not as_json:
        typer.echo("No model is on this disk.")
    elif as_json:
        print_json([{"where": where, "models": count, "bytes": size} for where, count, size in rows])
    else:
        from relayd.cli.support.terminal import show
        from relayd.ui.models import usage_table

        show(usage_table([*rows, ("all", sum(row[1] for row in rows), sum(row[2] for row in rows))]))


@contextlib.contextmanager
def _progress(*, quiet: bool) -> Iterator["PullLines | PullBars"]:
    """Lend what shows on standard error how far a file is read."""
    from rich.console import Console

    from relayd.ui.downloads import shown_pull

    with shown_pull(Console(stderr=True, quiet=quiet), SystemClock().monotonic) as progress:
        yield progress


def _rows(
    found: Sequence[Found], configured: Sequence[Found], entries: Sequence[CatalogEntry], *, catalogue: bool
) -> list[ModelRow]:
    """Return models on disk, those of the configuration besides, then those of the catalogue."""
    fits, running = fits_here(), served_files()
    known = {entry.name: entry.capabilities for entry in entries}
    given = {record.source: record.tags for record in own_shelf().records()}
    rows = []
    for one in (*found, *configured):
        state = "running" if os.path.realpath(one.files[0]) in running else ""
        where = "relay.toml" if one in configured else STORES[one.store] + " (llamafile)" * one.embedded
        kinds = given.get(one.source) or known.get(one.model, ())
        rows.append(ModelRow(one.name, one.bytes, one.quant, where, state, fits(one.bytes), kinds))
    here = {one.model for one in found}
    for entry in entries if catalogue else ():
        if entry.name not in here:
            file = preferred_file(entry)
            size, quant = (file.bytes, file.quant) if file else (None, "")
            fit = fits(size) if size else None
            rows.append(ModelRow(entry.name, size, quant, "catalogue", "", fit, entry.capabilities))
    return rows


def _wanted(row: ModelRow, pattern: str, tag: str) -> bool:
    texts = (row.name, row.where)
    return (not tag or tag in row.tags) and any(pattern in text.casefold() for text in texts)


def _described(row: ModelRow, found: Sequence[Found]) -> dict[str, Any]:

    one = next((one for one in found if (one.name, one.bytes) == (row.name, row.bytes)), None)
    shown = dataclasses.asdict(row) | {"on_disk": one is not None, "running": row.state == "running"}
    if one:
        shown |= {
            "path": str(one.files[0]),
            "store": one.store,
            "model": one.model,
            "repo": one.repo,
            "aliases": one.aliases,
            "projectors": [str(path) for path in one.projectors],
            "embedded": one.embedded,
        }
    return shown


def _disk_bytes(found: Sequence[Found]) -> int:
    """Return what models and all that belongs to them take, files that two share once."""
    paths = (path for one in found for path in (*one.files, *one.projectors, *one.drafts))
    return sum(path.stat().st_size for path in {Path(os.path.realpath(path)) for path in paths})


def _pending(record: ModelRecord) -> dict[str, Any]:
    return {"name": record.name, "source": record.source, "bytes": _arrived(record)}


def _arrived(record: ModelRecord) -> int:
    return sum(kept.here_bytes for kept in record.files)


def _again(record: ModelRecord) -> str:
    return record.name if record.model else record.source
