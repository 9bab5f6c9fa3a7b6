"""relayd version: the version of relayd and of Python."""

import platform

from relayd import __version__
from relayd.cli.support.output import AsJson, print_json


def version(as_json: AsJson = False) -> None:
    """Show the version of relayd and of the Python it runs on."""
    if as_json:
        print_json({"version": __version__, "python": platform.python_version()})
    else:
        print(f"relayd {__version__} (Python {platform.python_version()})")
