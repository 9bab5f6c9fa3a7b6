"""How do ModelRelay's workers get in, and what do reports show of them?"""

from collections.abc import Callable

from aiohttp import web

from relayd.api import HealthWorker, Keyring, Route
from relayd.api.workers import Authenticate, WorkerDoor, worker_routes
from relayd.clock import Clock
from relayd.config import Config
from relayd.daemon.adminreport import WorkerReport
from relayd.remote import Remotes
from relayd.remote.modelrelay.session import WorkerFacts
from relayd.remote.modelrelay.workers import Workers
from relayd.secret import Secret

_NODE = "node"
"""The scope of the tokens of other machines."""

_UPGRADE = "another relayd takes over"


class WorkerHub:
    """ModelRelay's workers, and their door.

    Args:
        config: The configuration.
        remotes: Capacity elsewhere.
        keyring: The keys that are valid now, tokens of nodes among them.
        clock: Time.
    """

    def __init__(self, config: Config, remotes: Remotes, keyring: Keyring, clock: Clock) -> None:
        self._workers = Workers(remotes)
        self._keyring = keyring
        self._clock = clock
        self._secret = config.hub.worker_secret

    def __repr__(self) -> str:
        return f"<WorkerHub {'open' if self._secret else 'closed'} {self._workers!r}>"

    def configure(self, config: Config) -> None:
        """Follow another configuration; workers that are connected stay."""
        self._secret = config.hub.worker_secret

    def routes(self, client_of: Callable[[web.BaseRequest], str]) -> tuple[Route, ...]:
        """Return the route that workers connect to.

        Args:
            client_of: Returns the address of a request's sender, behind a proxy too.
        """
        return worker_routes(WorkerDoor(self._workers, self._authenticate, self._clock, client_of))

    def hand_over(self, drain_seconds: float) -> None:
        """Have workers finish what they have, and connect to the daemon that takes over."""
        self._workers.drain(drain_seconds, _UPGRADE)

    def close(self) -> None:
        """Forget every worker."""
        self._workers.close()

    def reports(self) -> tuple[WorkerReport, ...]:
        """Return what `/admin/workers` shows of those that are connected."""
        return tuple(_report(worker) for worker in self._workers)

    def health(self) -> tuple[HealthWorker, ...]:
        """Return what `/health` shows of them."""
        return tuple(
            HealthWorker(one.label, one.provider, one.models, one.running, one.slots, one.is_draining)
            for one in self._workers
            if one.models
        )

    def _authenticate(self) -> Authenticate | None:
        """Return what judges secrets: the one in [hub], and tokens of nodes; a client's key is neither."""
        secret = self._secret
        grants = self._keyring.known.grants
        tokens = {digest for digest, grant in grants.items() if _NODE in grant.rights.scopes}
        if not secret and not tokens:
            return None

        def is_known(given: Secret) -> bool:
            return (bool(secret) and given == secret) or given.digest() in tokens

        return is_known


def _report(worker: WorkerFacts) -> WorkerReport:
    """Return what is reported of a connected worker, in ModelRelay's members."""
    return WorkerReport(
        worker_id=worker.worker_id,
        provider=worker.provider,
        worker_name=worker.label,
        models=worker.models,
        max_concurrent=worker.slots,
        reported_load=worker.reported,
        in_flight_count=worker.running,
        is_draining=worker.is_draining,
        state="draining" if worker.is_draining else "connected",
    )
