"""Which model `relayd models rm` means, and whether a person agrees."""

import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import typer

from relayd.cli.ondisk import models_on_disk
from relayd.errors import UsageError
from relayd.models.ondisk import STORES, Found
from relayd.models.shelf import ModelRecord, ModelShelf
from relayd.units import MIB, show_bytes

ASKED_BYTES = 100 * MIB
"""From here on a removal is asked about: what is fetched again takes minutes."""


def record_to_remove(shelf: ModelShelf, name: str) -> ModelRecord:
    """Return the record of the model whose whole name, alias or file it is; case does not matter.

    Raises:
        UsageError: There is none, it is not relayd's, or there are several.
    """
    records, wanted = shelf.records(), name.strip().casefold()
    found = models_on_disk()
    meant = [record for record in records if wanted == record.name.casefold() or _is_file(name, record)]
    called = [one for one in found if wanted in map(str.casefold, one.names) or _is_at(name, one)]
    sources = {one.source for one in called}
    meant += [record for record in records if record.source in sources and record not in meant]
    if len(meant) == 1:
        return meant[0]
    if meant:
        listed = [f"{record.name}: {record.parts[0].path}" for record in meant]
        raise UsageError(
            f"{name!r} is the name of {len(meant)} models",
            remedy="\n".join([*listed, "Give the path of the one to remove."]),
        )
    if called:
        raise UsageError(
            f"{called[0].name} was not downloaded or imported by relayd, it is in: {STORES[called[0].store]}",
            remedy=f"Remove {called[0].files[0]} with the program that it belongs to.",
        )
    raise _unknown(name, [*(record.name for record in records), *(one.name for one in found)])


def check_agreement(record: ModelRecord, *, yes: bool) -> None:
    """Ask before a large removal.

    Raises:
        UsageError: There is no terminal to ask on, and `yes` was not given.
        Exit: The person does not agree.
    """
    size = sum(kept.here_bytes for kept in (*record.files, *record.older) if kept.ours)
    if yes or size < ASKED_BYTES:
        return
    if sys.stdin is None or not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            f"to remove {record.name} frees {show_bytes(size)}, and there is no terminal to ask on",
            remedy=f"Remove it without a question: `relayd models rm {record.name} --yes`.",
        )
    if not typer.confirm(f"Remove {record.name}, {show_bytes(size)}?"):
        typer.echo("Nothing was removed.")
        raise typer.Exit(1)


def _unknown(name: str, names: Sequence[str]) -> UsageError:
    wanted = name.strip().casefold()
    spelled = {one.casefold(): one for one in names}
    begun = [spelled[one] for one in spelled if wanted and one.startswith(wanted)]
    alike = begun or [spelled[one] for one in get_close_matches(wanted, spelled, cutoff=0.6)]
    hint = f"Did you mean {' or '.join(sorted(alike)[:5])}? The whole name is needed." if alike else ""
    return UsageError(f"no model is called {name!r}", remedy=hint or "See `relayd models`.")


def _is_file(name: str, record: ModelRecord) -> bool:
    return "/" in name and os.path.realpath(Path(name).expanduser()) in {
        os.path.realpath(kept.path) for kept in record.parts
    }


def _is_at(name: str, one: Found) -> bool:
    return "/" in name and os.path.realpath(Path(name).expanduser()) == os.path.realpath(one.files[0])
