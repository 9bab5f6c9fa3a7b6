"""relayd search: find models on the Hugging Face hub."""

import dataclasses
import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from relayd.cli.ondisk import room_for_models
from relayd.cli.support.output import AsJson, print_json
from relayd.cli.support.terminal import show, working
from relayd.models.hub import hub_of
from relayd.models.resolve import EASILY, MOST
from relayd.models.search import Hit
from relayd.models.search import search as find
from relayd.ui.search import HitRow, hits_table


def search(
    words: Annotated[
        list[str], typer.Argument(metavar="WORDS…", help="Parts of a name, as on the hub's page.")
    ],
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=50, help="How many are shown.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Find models on the Hugging Face hub, and whether they fit.

    Sizes are those of what would be downloaded. FITS is about the memory that models may take here:
    `easily` leaves room for long contexts, `yes` for short ones. HF_ENDPOINT names a mirror, HF_TOKEN a key
    for what is closed. `relayd models WORDS` looks in the catalogue and on this disk, without a network.
    """
    hub = hub_of(os.environ, Path.home())
    with working(f"Asking {hub.host} …"):
        hits, room = find(hub, " ".join(words), limit), room_for_models()
    if as_json:
        print_json([dataclasses.asdict(one) | {"fits": _fits(one, room) or None} for one in hits])
        return
    if not hits:
        typer.echo(f"{hub.host} has no GGUF for {' '.join(words)!r}. Try fewer words.")
        return
    show(lambda width: hits_table([_row(one, room) for one in hits], width))
    best = next((one for one in hits if one.bytes and _fits(one, room) != "no"), None)
    if best:
        typer.echo(f"Get one: relayd pull {shlex.quote(best.repo)}")


def _row(one: Hit, room: int) -> HitRow:
    note = "licence to accept" if one.gated else one.problem
    return HitRow(
        one.repo, one.quant, one.bytes, _fits(one, room), one.downloads, one.likes, one.updated, note
    )


def _fits(one: Hit, room: int) -> str:
    """Return how weights of a size fit into memory; "" where the size is not known."""
    if not one.bytes:
        return ""
    if one.bytes > MOST * room:
        return "no"
    return "easily" if one.bytes <= EASILY * room else "yes"
