"""Which model a name on the command line means, on this disk or once it is fetched (relayd run)."""

import os
from collections.abc import Sequence
from pathlib import Path

from relayd.cli.ondisk import known_models, limit_of, models_on_disk, own_shelf
from relayd.cli.pull import obtain, too_large
from relayd.cli.support.display import ConsoleDisplay
from relayd.cli.support.manner import Manner
from relayd.clock import SystemClock
from relayd.errors import UsageError
from relayd.files import expanded, is_file, text_path
from relayd.gguf.companions import is_gguf
from relayd.models.bring import bring
from relayd.models.hub import hub_of
from relayd.models.ondisk import Found
from relayd.models.order import Order
from relayd.models.resolve import MOST, Meant, ambiguous, best_two, meanings, name_of, room_of
from relayd.units import GIB, show_bytes

ASKED_ABOVE = GIB
"""Bytes of a download from which on it is asked for."""


def wanted_model(text: str, manner: Manner) -> Found:
    """Return the model that a name means; one that is not on this disk is fetched, after a question.

    Raises:
        UsageError: It means nothing, or several models, or the fetch was not agreed to.
        RelaydError: It cannot be fetched, or is not a model.
    """
    if file := file_named(text):
        return _imported(file)
    hub = hub_of(os.environ, Path.home())
    meant = meanings(text, models_on_disk(), known_models(), hub.host)
    one = meant[0] if len(meant) == 1 else _chosen(text, meant, manner)
    return one if isinstance(one, Found) else _fetched(name_of(one), manner)


def file_named(text: str) -> Path | None:
    """Return the file that is named; None where it is none.

    Raises:
        UsageError: It is written as a path, and there is no such file.
    """
    path = text_path(expanded(text).absolute())
    if is_file(path):
        return path
    if text.startswith((".", "/", "~")) or ("/" in text and is_gguf(text) and text.count("/") == 1):
        raise UsageError(f"{path} does not exist", remedy="See the models on this disk: `relayd models`.")
    return None


def _imported(file: Path) -> Found:
    """Return the model of a file, which stays where it is."""
    known = [one for one in models_on_disk() if os.path.realpath(one.files[0]) == os.path.realpath(file)]
    if known:
        return known[0]
    with ConsoleDisplay().progress() as progress:

        def at(label: str, done: int, total: int | None) -> None:
            progress.at(label, done / total if total else None)

        record = bring(file, own_shelf(), SystemClock(), at)
    return _on_disk(Path(record.parts[0].path), record.name)


def _on_disk(path: Path, name: str) -> Found:
    real = os.path.realpath(path)
    for one in models_on_disk():
        if os.path.realpath(one.files[0]) == real:
            return one
    raise UsageError(f"{name} is not a model that relayd can serve", remedy="See why: `relayd models`.")


def _chosen(text: str, meant: Sequence[Meant], manner: Manner) -> Meant:
    """Return the one of several that a person chooses; without one, with `--yes`, the best."""
    room = room_of(*limit_of())
    if not manner.asks and not manner.yes:
        raise ambiguous(text, meant, room, "relayd run")
    best = best_two(meant, room)
    if manner.yes:
        name: str | None = best[0].name
    else:
        manner.note(f"{text} could be {len(meant)} models. The best for this machine:")
        for number, one in enumerate(best, start=1):
            manner.note(f"  {number}  {one}")
        name = manner.guide.choose("Which one?", [one.name for one in best], others="another name")
    if name is None:
        raise UsageError("no model was chosen", remedy=f"Name one: relayd run {best[0].name}.")
    found = [one for one in meant if name_of(one) == name]
    if found:
        return found[0]
    again = meanings(name, models_on_disk(), known_models())
    return again[0] if len(again) == 1 else _chosen(name, again, manner)


def _fetched(name: str, manner: Manner) -> Found:
    order, _ = obtain(name, dry_run=True, quiet=True, announce=False)
    manner.note(described(order, sum(limit_of())))
    if reason := too_large(order.bytes):
        raise UsageError(reason, remedy="See what fits: `relayd recommend`.")
    _agree(order, name, manner)
    order, record = obtain(name, quiet=manner.quiet, announce=False)
    kept = record or order.record
    return _on_disk(Path(kept.parts[0].path), kept.name)


def described(order: Order, room_bytes: int) -> str:
    """Return what would be fetched, from where, and how it fits: one line."""
    hosts = dict.fromkeys(piece.repo or piece.url.split("/")[2] for piece in order.pieces)
    size = show_bytes(order.bytes) if order.bytes else "size not known"
    return f"{order.record.name}: {size} from {', '.join(hosts)}{_fit(order.bytes, room_bytes)}"


def _fit(size: int, room_bytes: int) -> str:
    if not size:
        return ""
    machine = f"this machine has {show_bytes(room_bytes)} of memory"
    return f"; {machine}, {'which is tight' if size > MOST * room_bytes else 'it fits'}"


def _agree(order: Order, name: str, manner: Manner) -> None:
    """Have a person agree to a large download.

    Raises:
        UsageError: They do not, or there is no person.
    """
    missing = order.missing_bytes
    if manner.yes or (order.bytes and missing <= ASKED_ABOVE):
        return
    what = show_bytes(missing) if missing else "it"
    if not manner.asks:
        raise UsageError(
            f"{name} is not on this disk, and {what} would be fetched" if missing else f"{name} is not here",
            remedy=f"Agree with --yes, or fetch it first: relayd pull {name}.",
        )
    if not manner.guide.agrees(f"Fetch {what}?"):
        raise UsageError("nothing was fetched", remedy="See smaller models: `relayd recommend`.")
