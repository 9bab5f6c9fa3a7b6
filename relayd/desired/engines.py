"""Which llama-server runs at a site: the one that is found, or one that is installed first."""

from collections.abc import Iterator
from contextlib import contextmanager

from relayd.clock import SystemClock
from relayd.desired.display import Display
from relayd.desired.site import Site
from relayd.engine import Engine, EngineShelf, Installer, ensure, find_engine
from relayd.engine.host import host_of
from relayd.hardware import Machine, probe
from relayd.progress import Progress


def engine_shelf(site: Site, machine: Machine | None = None) -> EngineShelf:
    """Return the folder of installed engines, as far as they run on this CPU."""
    return EngineShelf(site.data / "engines", (machine or probe()).cpu_key())


def engine_at(site: Site, configured: str = "", machine: Machine | None = None) -> Engine:
    """Return the llama-server that would run.

    Args:
        site: Where to look.
        configured: A path from the configuration or the command line; empty for none.
        machine: This machine, where it was probed already.

    Raises:
        EngineMissing: There is none.
        EngineError: It does not run here.
    """
    shelf = engine_shelf(site, machine)
    return find_engine(shelf, cache=site.cache / "engine", environ=site.environ, configured=configured)


def engine_for(site: Site, display: Display, configured: str = "", release_sha256: str = "") -> Engine:
    """Return the llama-server to run; install one if none is found and none was named.

    Raises:
        RelaydError: As `engine_at` and `Installer.install` do.
    """
    with lend_installer(site, display, release_sha256) as installer:
        return ensure(installer, cache=site.cache / "engine", configured=configured)


@contextmanager
def lend_installer(
    site: Site, display: Display, release_sha256: str = "", *, verify: bool = True
) -> Iterator[Installer]:
    """Lend an installer whose progress is displayed."""
    with display.progress() as progress:
        yield make_installer(site, progress, release_sha256, verify=verify)


def make_installer(
    site: Site, progress: Progress, release_sha256: str = "", *, verify: bool = True
) -> Installer:
    """Return what installs engines of a site."""
    return Installer(
        engine_shelf(site),
        lambda: host_of(probe()),
        site.environ,
        progress,
        SystemClock(),
        release_sha256,
        verify=verify,
    )
