"""What a running daemon was given, for commands that must mean the same (configuration, folders, variables).

`relayd serve --config X` is known to no file: the daemon reports on its control socket what it was given.
"""

from pathlib import Path

from relayd.cli.support.control import daemon_client
from relayd.config import Loaded
from relayd.desired.make import ServeArguments
from relayd.desired.site import Site
from relayd.errors import DaemonError


def given_arguments(config: Path | None = None) -> tuple[ServeArguments, Site]:
    """Return what the running daemon was given after `relayd serve`, and where; else nothing, and here.

    Args:
        config: A relay.toml that was named for this command, which then goes by that and by nothing else.
    """
    if config is not None:
        return ServeArguments(config=config), Site()
    try:
        given = daemon_client().configuration().given
    except DaemonError:
        return ServeArguments(), Site()
    if not given.cwd:  # a daemon from before it could say
        return ServeArguments(), Site()
    arguments = ServeArguments(
        targets=given.targets,
        demo=given.demo,
        config=Path(given.config) if given.config else None,
        llama_server=given.llama_server or None,
    )
    return arguments, Site(given.environ, Path(given.home), Path(given.cwd))


def given_settings() -> tuple[Loaded, Site]:
    """Return the configuration that the running daemon reads, else the one that is found here, and where.

    Raises:
        ConfigError: It is wrong.
    """
    arguments, site = given_arguments()
    return site.load(arguments.config), site
