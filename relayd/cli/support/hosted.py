"""A model that a daemon serves, by its name there (relayd run)."""

from collections.abc import Iterable
from typing import NamedTuple

from relayd.cli.support.control import RunningDaemon
from relayd.client.control import Client


class Hosted(NamedTuple):
    """A model that a daemon serves.

    Attributes:
        client: Of the daemon.
        name: What the model is called there.
        is_new: Whether the daemon was started for it.
    """

    client: Client
    name: str
    is_new: bool = False


def hosted_already(text: str, running: Iterable[RunningDaemon]) -> Hosted | None:
    """Return the model that a daemon has by exactly this name; None where none has."""
    wanted = text.casefold()
    for daemon in running:
        for model in daemon.report.models:
            if wanted in map(str.casefold, (model.name, *model.aliases)):
                return Hosted(daemon.client, model.name)
    return None
