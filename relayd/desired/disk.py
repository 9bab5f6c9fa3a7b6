"""Which models are on the disk of a site, and how one of them is served."""

from collections.abc import Callable, Sequence
from pathlib import Path

from relayd.clock import SystemClock
from relayd.config import Model, model_name
from relayd.desired.display import Display
from relayd.desired.site import Site
from relayd.errors import UsageError
from relayd.models.bring import servable
from relayd.models.choice import base_name, quant_of
from relayd.models.ondisk import STORES, Found, identified
from relayd.models.resolve import meanings, name_of
from relayd.models.skipped import Skipped, named_among, passed_over
from relayd.models.stores import places_of, scan
from relayd.units import show_bytes

NAMED = 3
"""Models to fetch that an error names."""


def models_on_disk(
    site: Site, folders: Sequence[str], skip: Callable[[Skipped], None] = passed_over
) -> list[Found]:
    """Return every model on disk, with what the catalogue calls it.

    Args:
        site: Whose stores are searched.
        folders: Folders besides, those of `[models]`.
        skip: Called with each file that is called like a model and is none to serve.
    """
    return identified(scan(places_of(site.environ, site.home, site.data, folders), skip), site.catalog())


def names_of_file(path: Path, site: Site) -> tuple[str, ...]:
    """Return what the model of a file is called, as in `relayd models`: its name, then what it answers to."""
    found = Found(base_name(path.name), (path,), 0, "folder", quant=quant_of(path.name))
    (known,) = identified([found], site.catalog())
    return tuple(dict.fromkeys((*known.names, path.stem)))


def servable_model(name: str, site: Site, folders: Sequence[str], display: Display) -> Model:
    """Return how a model on disk is served, with its names; out of a llamafile it is copied first.

    Raises:
        UsageError: No model on disk has that name, or more than one.
        ModelFileError: What has it is not a model to serve.
    """
    skipped: list[Skipped] = []
    found = _meant(name, models_on_disk(site, folders, skipped.append), site, skipped)
    return served_model(found, site, display)


def served_model(found: Found, site: Site, display: Display) -> Model:
    """Return how a model on disk is served, with its names; out of a llamafile it is copied first.

    Raises:
        RelaydError: As `bring` does.
    """
    file = found.files[0]
    if found.embedded:
        with display.progress() as progress:

            def at(label: str, done: int, total: int | None) -> None:
                progress.at(label, done / total if total else None)

            file = servable(found, site.shelf, SystemClock(), at)
    projector = str(found.projector or "")
    return Model(name=model_name(found.name), file=str(file), projector=projector, aliases=found.aliases)


def _meant(name: str, found: Sequence[Found], site: Site, skipped: Sequence[Skipped]) -> Found:
    """Return the model on disk that a name means.

    Raises:
        UsageError: None is meant, or more than one; with what to type.
        ModelFileError: A file of that name is not a model to serve.
    """
    try:
        meant = meanings(name, found, site.catalog())
    except UsageError as error:
        raise named_among(skipped, name) or error from error
    here = [one for one in meant if isinstance(one, Found)]
    if len(here) == 1:
        return here[0]
    if here:
        lines = [f"{one.name}  {show_bytes(one.bytes)}  {STORES[one.store]}: {one.files[0]}" for one in here]
        remedy = "\n".join([*lines, "Write more of the name, or the path of the file."])
        raise UsageError(f"{name!r} could be {len(here)} models", remedy=remedy)
    if left_out := named_among(skipped, name):
        raise left_out
    commands = [f"relayd run {name_of(one)}" for one in meant[:NAMED]]
    raise UsageError(
        f"no model on this disk is called {name!r}", remedy=f"Fetch and run it: {' or '.join(commands)}."
    )
