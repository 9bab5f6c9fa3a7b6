"""Which models are on the disk of a site, and how one of them is served."""

from collections.abc import Callable, Sequence

from relayd.clock import SystemClock
from relayd.config import Model, model_name
from relayd.desired.display import Display
from relayd.desired.site import Site
from relayd.models.bring import servable
from relayd.models.ondisk import Found, find_on_disk, identified
from relayd.models.skipped import Skipped, passed_over
from relayd.models.stores import places_of, scan


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


def servable_model(name: str, site: Site, folders: Sequence[str], display: Display) -> Model:
    """Return how a model on disk is served, with its names; out of a llamafile it is copied first.

    Raises:
        UsageError: No model on disk has that name, or more than one.
        ModelFileError: What has it is not a model to serve.
    """
    skipped: list[Skipped] = []
    found = find_on_disk(models_on_disk(site, folders, skipped.append), name, skipped)
    file = found.files[0]
    if found.embedded:
        with display.progress() as progress:

            def at(label: str, done: int, total: int | None) -> None:
                progress.at(label, done / total if total else None)

            file = servable(found, site.shelf, SystemClock(), at)
    projector = str(found.projector or "")
    return Model(name=model_name(found.name), file=str(file), projector=projector, aliases=found.aliases)
