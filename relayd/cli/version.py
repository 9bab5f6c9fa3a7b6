"""relayd version: the versions of relayd, of its llama-server, and of Python."""

import platform

from relayd import __version__
from relayd.cli.support.output import AsJson, print_json


def version(as_json: AsJson = False) -> None:
    """Show the versions of relayd, its llama-server and Python."""
    from relayd.desired.engines import engine_at
    from relayd.desired.site import Site
    from relayd.errors import RelaydError

    try:
        engine = engine_at(Site())
        found = {"version": engine.version, "path": str(engine.path), "source": engine.source}
    except RelaydError:  # none is installed, or no folder is known where it could be
        found = None
    if as_json:
        print_json({"version": __version__, "python": platform.python_version(), "engine": found})
        return
    print(f"relayd {__version__} (Python {platform.python_version()})")
    print(f"llama.cpp {found['version']}: {found['path']}" if found else "no llama-server is installed yet")
