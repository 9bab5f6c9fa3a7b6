"""An upstream as it is configured: where it answers, and what is wanted of it."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from relayd.endpoint import Address
from relayd.secret import Secret

NO_KEY = Secret("")


@dataclass(frozen=True, slots=True)
class WantedModel:
    """A model, or a pattern of models, of an upstream.

    Attributes:
        theirs: What it is called there; `*` is any characters.
        ours: What clients call it; empty is the same.
    """

    theirs: str
    ours: str = ""

    @classmethod
    def parse(cls, text: str) -> "WantedModel":
        """Read `THEIRS` or `OURS=THEIRS`."""
        ours, mark, theirs = text.partition("=")
        return cls(theirs, ours) if mark and theirs else cls(text)

    @property
    def is_pattern(self) -> bool:
        """Whether it stands for all that fit."""
        return "*" in self.theirs

    def fits(self, name: str) -> bool:
        """Return whether a model of the upstream is meant."""
        return fnmatchcase(name, self.theirs) if self.is_pattern else name == self.theirs


@dataclass(frozen=True, slots=True)
class UpstreamSource:
    """An upstream.

    Attributes:
        name: What it is called.
        url: As it is configured, for people.
        address: Where it answers.
        base: What its paths begin with, before `/v1`.
        key: What it knows relayd by; an empty one is not sent.
        models: Those that are wanted; empty for all that it has.
        slots: Requests of each model that it works on at once; 0 is what it reports.
        weight: How many requests it gets, relative to others that cost the same.
        cost: Seconds that a request rather waits for something cheaper.
        strategy: How requests are spread where several serve a model that is not configured here.
        timeout_seconds: How long an answer may make no progress.
        metrics_seconds: How often its figures are read; 0 never.
        probe_seconds: How often it is asked for its models.
    """

    name: str
    url: str
    address: Address
    base: str = ""
    key: Secret = NO_KEY
    models: tuple[WantedModel, ...] = ()
    slots: int = 0
    weight: float = 1.0
    cost: float = 0.0
    strategy: str = "prefix_affinity"
    timeout_seconds: float = 300.0
    metrics_seconds: float = 10.0
    probe_seconds: float = 10.0

    @property
    def named(self) -> tuple[WantedModel, ...]:
        """The models that are wanted by name, so that they are known before the upstream answers."""
        return tuple(one for one in self.models if not one.is_pattern)
