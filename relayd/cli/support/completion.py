"""Shell completion of model and replica names.

After any error nothing is proposed: a shell has no place for messages during completion.
"""

from collections.abc import Iterable, Sequence

from relayd.cli.support.control import daemon_client
from relayd.daemon.report import ModelReport
from relayd.errors import RelaydError

PATIENCE_SECONDS = 0.5
"""A person waits for the Tab key; a daemon on the same machine answers in milliseconds."""


def models(incomplete: str) -> list[str]:
    """Return the names and aliases of the daemon's models that begin like this."""
    return _begun(incomplete, (name for model in _report() for name in (model.name, *model.aliases)))


def targets(incomplete: str) -> list[str]:
    """Return the daemon's models and replicas, `MODEL` and `MODEL#N`, that begin like this."""
    names = (
        name for model in _report() for name in (model.name, *(replica.name for replica in model.replicas))
    )
    return _begun(incomplete, names)


def _begun(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _report() -> Sequence[ModelReport]:
    """Return the models of the status report; none when no daemon answers in time."""
    try:
        return daemon_client().status(timeout_seconds=PATIENCE_SECONDS).models
    except (RelaydError, OSError, ValueError):
        return ()
