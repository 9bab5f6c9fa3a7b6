"""How does what the supervisor sees reach the scheduler, the router and the doors?

The rooms do not know each other; here a replica's news becomes an event, a retired pool,
and a fresh look for clients.
"""

from collections.abc import Callable, Sequence

from relayd.api import ModelState, ModelView
from relayd.config import Config, Model
from relayd.desired.demo import is_demo
from relayd.endpoint import Endpoint
from relayd.planner import Planned
from relayd.scheduler import Draining, Event, Expected, Forgotten, Gone, Lost, Ready
from relayd.supervisor import State, Status


class Bridge:
    """Passes a replica's news on.

    Args:
        post: Tells the scheduler.
        retire: Closes the router's connections to an incarnation that is no more.
        changed: Tells who shows the fleet that it looks different now.
    """

    def __init__(
        self, post: Callable[[Event], None], retire: Callable[[Endpoint], None], changed: Callable[[], None]
    ) -> None:
        self._post = post
        self._retire = retire
        self._changed = changed

    def expected(self, replica: str, model: str) -> None:
        """A replica is on its way."""
        self._tell(Expected(replica, model))

    def ready(self, planned: Planned, endpoint: Endpoint) -> None:
        """A replica takes requests."""
        self._tell(Ready(planned.name, planned.model, planned.spec.slots, endpoint))

    def paused(self, replica: str) -> None:
        """A replica is unwell and takes no new request until it is ready again."""
        self._tell(Draining(replica))

    def draining(self, replica: str) -> None:
        """A replica takes no new request."""
        self._tell(Draining(replica))

    def lost(self, endpoint: Endpoint) -> None:
        """An incarnation is no more."""
        self._retire(endpoint)
        self._tell(Lost(endpoint.replica))

    def gone(self, replica: str, reason: str) -> None:
        """A replica will not come back by itself."""
        self._tell(Gone(replica, reason))

    def forgotten(self, replica: str) -> None:
        """A replica is no longer part of the plan."""
        self._tell(Forgotten(replica))

    def _tell(self, event: Event) -> None:
        self._changed()
        self._post(event)


class FleetView:
    """The models as clients may see them; computed when something changed, not for each request.

    Args:
        config: The models that are configured.
        created: When, in seconds since 1970.
        statuses: How the replicas are now.
    """

    def __init__(self, config: Config, created: float, statuses: Callable[[], Sequence[Status]]) -> None:
        self._config = config
        self._created = int(created)
        self._statuses = statuses
        self._view: tuple[ModelView, ...] | None = None

    def models(self) -> Sequence[ModelView]:
        """Return every configured model, in the order of the configuration."""
        if self._view is None:
            statuses = self._statuses()
            self._view = tuple(self._model(model, statuses) for model in self._config.model)
        return self._view

    def named(self, name: str) -> str:
        """Return the model that an alias means; any other name as it is."""
        return next((model.name for model in self._config.model if name in model.aliases), name)

    def configure(self, config: Config) -> None:
        """Show other models from now on."""
        self._config = config
        self.changed()

    def changed(self) -> None:
        """Look again at the next request."""
        self._view = None

    def _model(self, model: Model, statuses: Sequence[Status]) -> ModelView:
        states = [status.state for status in statuses if status.spec.model == model.name]
        return ModelView(
            name=model.name,
            aliases=model.aliases,
            replicas_ready=states.count(State.READY),
            replicas=model.replicas,
            slots=model.slots,
            context=model.context,
            state=_together(states),
            demo=is_demo(model.file),
            created=self._created,
        )


def _together(states: Sequence[State]) -> ModelState:
    """Return how far a model is whose replicas are in these states."""
    if State.READY in states:
        return ModelState.READY
    if states and all(state is State.FATAL for state in states):
        return ModelState.FAILED
    if states and all(state in (State.STOPPED, State.STOPPING, State.FATAL) for state in states):
        return ModelState.STOPPED
    return ModelState.LOADING
