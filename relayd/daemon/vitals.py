"""How does a daemon do, in a look that costs nothing (`/health`)?"""

from relayd import __version__
from relayd.api import HealthWorker, Vitals
from relayd.daemon.parts import DaemonParts
from relayd.daemon.providerstats import PROVIDER
from relayd.supervisor import State, Status

_WORKING = frozenset({State.READY, State.DRAINING})


def vitals(parts: DaemonParts) -> Vitals:
    """Return version, age, what waits and what works."""
    models = parts.desired.config.model
    return Vitals(
        __version__,
        parts.clock.wall() - parts.started,
        sum(parts.scheduler.load(model.name).waiting for model in models) + len(parts.keys.waiting()),
        (
            *(_worker(parts, one) for one in parts.fleet.statuses() if one.state in _WORKING),
            *parts.workers.health(),
        ),
    )


def _worker(parts: DaemonParts, status: Status) -> HealthWorker:
    spec = status.spec
    aliases = next((one.aliases for one in parts.desired.config.model if one.name == spec.model), ())
    return HealthWorker(
        spec.name,
        PROVIDER,
        (spec.model, *aliases),
        parts.scheduler.running_on(spec.name),
        spec.slots,
        status.state is State.DRAINING,
    )
