"""What a running daemon was given, for commands that must mean the same (configuration, folders, variables).

`relayd serve --config X` is known to no file: the daemon reports on its control socket what it was given.
"""

import os
import tomllib
from pathlib import Path

from relayd.cli.support.control import daemon_client
from relayd.cli.support.remark import remark
from relayd.cli.support.words import CONFIG_VARIABLE
from relayd.client.control import UPGRADE
from relayd.config import Loaded
from relayd.config.written import FILE_NAME
from relayd.daemon.givenreport import GivenArguments
from relayd.desired.arguments import Overrides, ServeArguments
from relayd.desired.site import Site
from relayd.errors import DaemonError, OtherBuildError


def given_arguments(config: Path | None = None) -> tuple[ServeArguments, Site]:
    """Return what the running daemon was given after `relayd serve`, and where; else nothing, and here.

    Args:
        config: A relay.toml that was named for this command, which then goes by that and by nothing else;
            one that `--config` or RELAYD_CONFIG names otherwise goes before the daemon's as well.

    Raises:
        OtherBuildError: The running daemon cannot report it.
    """
    if config is not None:
        return ServeArguments(config=config), Site()
    try:
        given = daemon_client().configuration().given
    except OtherBuildError:
        raise
    except DaemonError:
        return ServeArguments(), Site()
    if (named := os.environ.get(CONFIG_VARIABLE)) and not _is_same(named, given):
        return ServeArguments(config=Path(named)), Site()
    if not given.cwd:
        raise OtherBuildError(
            "the running daemon is of another build: it does not report what it was given", remedy=UPGRADE
        )
    arguments = ServeArguments(
        targets=given.targets,
        demo=given.demo,
        config=Path(given.config) if given.config else None,
        llama_server=given.llama_server or None,
        overrides=Overrides(given.context, given.slots, given.gpu_layers, given.flags),
        on_demand=given.on_demand,
        hub=given.hub,
        bus=given.bus,
        bus_credentials=Path(given.bus_credentials) if given.bus_credentials else None,
    )
    return arguments, Site(given.environ, Path(given.home), Path(given.cwd))


def _is_same(named: str, given: GivenArguments) -> bool:
    """Return whether a relay.toml that was named for this command is the daemon's."""
    theirs = given.config or given.environ.get(CONFIG_VARIABLE, "")
    return bool(theirs) and Path(named).resolve() == Path(given.cwd, theirs).resolve()


def given_or_here() -> tuple[ServeArguments, Site, str]:
    """Return what `given_arguments` does; where a daemon cannot report it, what is here, and a warning."""
    try:
        return *given_arguments(), ""
    except OtherBuildError as error:
        return ServeArguments(), Site(), f"{error.message}; the configuration that is found here is used"


def given_settings() -> tuple[Loaded, Site]:
    """Return the configuration that the running daemon reads, else the one that is found here, and where.

    Raises:
        ConfigError: It is wrong.
    """
    arguments, site, warning = given_or_here()
    if warning:
        remark(f"warning: {warning}")
    return site.load(arguments.config), site


def configured_by_hand(*names: str) -> bool:
    """Return whether a relay.toml has a model of such a name: one more in models.toml would be a conflict."""
    loaded, site = given_settings()
    ours = site.state / FILE_NAME
    written = tomllib.loads(ours.read_text("utf-8")).get("model", []) if ours.exists() else []
    own = {model["name"] for model in written}
    return any({*names} & {one.name, *one.aliases} for one in loaded.config.model if one.name not in own)
