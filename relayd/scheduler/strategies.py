"""Which strategy does each model have?"""

from collections.abc import Callable, Mapping
from random import Random

from relayd.scheduler.affinity import PrefixAffinity
from relayd.scheduler.ask import Ask
from relayd.scheduler.balance import LeastBusy, RandomChoice, RealTimeMetrics, RoundRobin, Strategy
from relayd.scheduler.capacity import Capacity

DEFAULT = "prefix_affinity"

_ALIASES = {"least_connection": "least_busy"}
"""Names that LLMStream has for the same."""


class Strategies:
    """The strategy of each model, kept as long as the model has it.

    Args:
        default: That of a model that none was set for.
        random: Where chance decides.
    """

    def __init__(self, default: Strategy | None = None, random: Random | None = None) -> None:
        self._default = default or LeastBusy()
        self._random = random or Random(0)  # noqa: S311 - nothing secret follows from it
        self._of_model: dict[str, tuple[str, Strategy]] = {}
        self._learning: dict[str, PrefixAffinity] = {}
        self._max_hold_seconds = 20.0
        self._spread: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<Strategies of {len(self._of_model)} models>"

    def of(self, model: str) -> Strategy:
        """Return a model's strategy."""
        found = self._of_model.get(model)
        return found[1] if found else self._default

    def learning(self, ask: Ask) -> PrefixAffinity | None:
        """Return the strategy that is to be given what becomes of a request; None where none learns of it."""
        if not ask.prefix:
            return None
        if (own := self._learning.get(ask.model)) is not None or ask.model in self._of_model:
            return own
        return self._default if isinstance(self._default, PrefixAffinity) else None

    def configure(self, names: Mapping[str, str], max_hold_seconds: float) -> None:
        """Set the strategy of every model; one that stays keeps what it has learned.

        Args:
            names: Model → name of its strategy.
            max_hold_seconds: How long a ticket may be held for a replica that is busy.
        """
        known, self._of_model = self._of_model, {}
        names = {**self._spread, **names}
        anew = max_hold_seconds != self._max_hold_seconds
        self._max_hold_seconds = max_hold_seconds
        for model, asked in names.items():
            name = _ALIASES.get(asked, asked)
            before = known.get(model)
            stays = before is not None and before[0] == name and not (anew and name == DEFAULT)
            self._of_model[model] = before if before and stays else (name, self._make(name))
        found = ((model, strategy) for model, (_, strategy) in self._of_model.items())
        self._learning = {model: one for model, one in found if isinstance(one, PrefixAffinity)}

    def spread(self, model: str, name: str) -> None:
        """Set the strategy of a model that is not configured, but for which there is capacity elsewhere."""
        self._spread[model] = name
        if model not in self._of_model:
            asked = _ALIASES.get(name, name)
            self._of_model[model] = asked, self._make(asked)

    def warm_seconds(self, model: str, capacity: Capacity) -> float:
        """Return how long a replica would take to read again what it holds; 0 where that is not known."""
        strategy = self.of(model)
        return strategy.warm_seconds(capacity) if isinstance(strategy, PrefixAffinity) else 0.0

    def keep(self, model: str, capacities: set[Capacity]) -> None:
        """Forget what was learned of replicas of a model that are not among these."""
        if found := self._of_model.get(model):
            found[1].keep(capacities)

    def keep_prompts(self, model: str, capacity: Capacity) -> None:
        """Take note that what is in a replica's slots is on disk."""
        if isinstance(strategy := self.of(model), PrefixAffinity):
            strategy.keep_prompts(capacity)

    def restore(self, model: str, capacity: Capacity) -> None:
        """Take note that a new incarnation has that in its slots."""
        if isinstance(strategy := self.of(model), PrefixAffinity):
            strategy.restore(capacity)

    def _make(self, name: str) -> Strategy:
        makers: Mapping[str, Callable[[], Strategy]] = {
            "prefix_affinity": lambda: PrefixAffinity(self._max_hold_seconds),
            "least_busy": LeastBusy,
            "round_robin": RoundRobin,
            "random": lambda: RandomChoice(self._random),
            "real_time_metrics": RealTimeMetrics,
        }
        return makers[name]()
