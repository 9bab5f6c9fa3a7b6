"""relayd pull: fetch a model to this disk."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
import typer
from rich.console import Console

from relayd.catalog import CatalogEntry
from relayd.catalog.match import find_entries
from relayd.cli.ondisk import called, known_models, limit_of, own_shelf, room_for_models
from relayd.cli.support.neighbour import neighbour_here
from relayd.cli.support.output import AsJson, Quiet, print_json
from relayd.clock import SystemClock
from relayd.errors import FetchError
from relayd.models.hub import hub_of
from relayd.models.order import ModelSources, Order
from relayd.models.pull import Puller
from relayd.models.resolve import ambiguous
from relayd.models.shelf import ModelRecord
from relayd.models.source import Named, parse_source
from relayd.ui.downloads import shown_pull
from relayd.units import show_bytes


def pull(
    model: Annotated[
        str, typer.Argument(metavar="NAME[:QUANT]|hf:REPO[/FILE][:QUANT]|URL", help="What to fetch.")
    ],
    mmproj: Annotated[bool, typer.Option(help="Fetch what a vision model sees with, too.")] = True,
    draft: Annotated[bool, typer.Option(help="Fetch the draft model published with it, too.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also a model this machine cannot hold.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be fetched.")] = False,
    no_verify: Annotated[
        bool, typer.Option("--no-verify", help="Also what the hub lists no SHA-256 of.")
    ] = False,
    node: Annotated[
        str | None, typer.Option(metavar="NODE", help="Fetch it on this machine of the hub's.")
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Download a model; an interrupted download is resumed.

    Files of the Hugging Face hub go to its cache, where llama.cpp finds them too; HF_TOKEN, HF_HOME and
    HF_ENDPOINT are respected. What comes from elsewhere goes to relayd's own folder of models. With --node,
    the hub that runs here has that machine fetch it; the other options are for this machine.
    """
    if node is not None:
        from relayd.cli.support.nodepull import pull_at

        pull_at(node, model, quiet=quiet, as_json=as_json)
        return
    order, record = obtain(
        model,
        mmproj=mmproj,
        draft=draft,
        force=force,
        dry_run=dry_run,
        verify=not no_verify,
        quiet=quiet,
        announce=not (as_json or quiet),
    )
    if as_json:
        print_json(_described(order, record))
    elif record:
        name = called(record)
        typer.echo(f"Downloaded {name}: {record.parts[0].path}")
        typer.echo(f"Serve it: relayd serve {shlex.quote(name)}")


def obtain(
    model: str,
    *,
    mmproj: bool = True,
    draft: bool = False,
    force: bool = False,
    dry_run: bool = False,
    verify: bool = True,
    quiet: bool = False,
    announce: bool = True,
) -> tuple[Order, ModelRecord | None]:
    """Fetch what is missing of a model, with progress on standard error; the record is None after a dry run.

    Raises:
        RelaydError: The name is ambiguous, or the fetch failed; see `ModelSources.order` and `Puller.pull`.
    """
    clock, hub, shelf = SystemClock(), hub_of(os.environ, Path.home()), own_shelf()
    entries = known_models()
    _check_one_is_meant(model, entries, hub.host)
    with shown_pull(Console(stderr=True, quiet=quiet), clock.monotonic) as progress:
        sources = ModelSources(
            hub, shelf, entries, progress.say, projectors=mmproj, drafts=draft, verify=verify
        )
        order = sources.order(model)
        if announce:
            _announce(order)
        puller = Puller(hub, shelf, clock, progress, too_large, neighbour=neighbour_here())
        return order, None if dry_run else _pulled(puller, order, model, force=force)


def _check_one_is_meant(model: str, entries: Sequence[CatalogEntry], hub_host: str) -> None:
    """Raise UsageError with the two best for this machine where a name means several models."""
    if isinstance(source := parse_source(model, hub_host), Named):
        found = find_entries(entries, source.text)
        if len(found) > 1:
            raise ambiguous(model, found, room_for_models(), "relayd pull")


def _pulled(puller: Puller, order: Order, model: str, *, force: bool) -> ModelRecord:
    """Fetch what is missing; where that ends early, what was kept is named with how to resume."""
    try:
        return puller.pull(order, force=force)
    except KeyboardInterrupt:
        puller.progress.say(kept_of(order, model) or "Nothing was downloaded.")
        raise
    except FetchError as error:
        error.remedy = "\n".join(filter(None, (error.remedy, kept_of(order, model))))
        raise


def kept_of(order: Order, model: str) -> str:
    """Return how much of an order is on this disk, and how to resume it; "" where nothing is."""
    here = sum(piece.kept.here_bytes for piece in order.pieces)
    if not here:
        return ""
    of = f" of {show_bytes(order.bytes)}" if order.bytes else ""
    return f"Kept {show_bytes(here)}{of}. Resume: relayd pull {shlex.quote(model)}"


def too_large(size: int) -> str:
    """Return why this machine can never hold a model of `size` bytes, or "".

    Weights alone are compared with all memory: `relayd recommend` shows what fits well.
    """
    if not size:
        return ""
    ram, devices = limit_of()
    if size <= ram + devices:
        return ""
    held = f"{show_bytes(ram)} of RAM" + (f" and {show_bytes(devices)} of device memory" if devices else "")
    return f"its weights take {show_bytes(size)}, this machine has {held}"


def _announce(order: Order) -> None:

    here = order.bytes - order.missing_bytes
    facts = (
        f"{len(order.pieces)} files" if len(order.pieces) > 1 else "",
        show_bytes(order.bytes) if order.bytes else "",
        f"{show_bytes(here)} of it already downloaded" if here else "",
    )
    listed = ", ".join(filter(None, facts))
    typer.echo(f"{order.record.name}: {listed}" if listed else order.record.name, err=True)
    for piece in order.pieces:
        place = urlsplit(piece.url)
        where = f"{place.netloc}/{piece.repo}" if piece.repo else place.netloc
        typer.echo(f"  {Path(piece.kept.path).name} from {where}", err=True)


def _described(order: Order, record: ModelRecord | None) -> dict[str, object]:

    shown = record or order.record
    return msgspec.structs.asdict(shown) | {
        "parts": [msgspec.structs.asdict(kept) for kept in shown.parts],
        "companions": [msgspec.structs.asdict(kept) for kept in shown.companions],
        "older": [msgspec.structs.asdict(kept) for kept in shown.older],
        "bytes": order.bytes,
        "finished": record is not None,
        "path": shown.parts[0].path,
    }
