"""relayd version: which relayd is this?"""

import platform
from typing import Annotated

import typer

from relayd import __version__


def version(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the version of relayd and of the Python it runs on."""
    if as_json:
        import json

        print(json.dumps({"version": __version__, "python": platform.python_version()}))
    else:
        print(f"relayd {__version__} (Python {platform.python_version()})")
