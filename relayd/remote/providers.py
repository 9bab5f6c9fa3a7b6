"""What holds for the machines of a provider, the label of nodes and workers (routing rules, pure)?"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class ProviderRule:
    """What holds for everything that a provider offers.

    Attributes:
        cost: Seconds that a request rather waits for something cheaper, besides the way there.
        weight: How many requests it gets, relative to others that cost the same.
        models: Patterns of the models that it may serve; empty for all.
    """

    cost: float = 0.0
    weight: float = 1.0
    models: tuple[str, ...] = ()

    def permits(self, model: str) -> bool:
        """Return whether it may serve a model."""
        return not self.models or any(fnmatchcase(model, one) for one in self.models)


NO_RULE = ProviderRule()


def read_rules(lines: Iterable[str]) -> Mapping[str, ProviderRule]:
    """Return provider → its rule, of lines `PROVIDER cost=60 weight=0.5 models=a*,b`."""
    rules = {}
    for line in lines:
        provider, *settings = line.split()
        given = dict(one.split("=", 1) for one in settings)
        models = tuple(filter(None, given.get("models", "").split(",")))
        rules[provider] = ProviderRule(float(given.get("cost", 0)), float(given.get("weight", 1)), models)
    return rules
