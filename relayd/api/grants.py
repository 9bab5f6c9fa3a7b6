"""What may the sender of a request do: by its key, or without one?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from relayd.api.allowance import Allowance
from relayd.api.fleet import ModelView
from relayd.rights import INFERENCE_ONLY, SCOPES, KeyRights
from relayd.scheduler.ask import INTERACTIVE, NORMAL


class VisibleModels:
    """The models that a key may use; computed when the models have changed, not for each request.

    Args:
        patterns: What their names or aliases match, in any case; empty for all.
    """

    __slots__ = ("_by_name", "_found", "_of", "_patterns", "_plain")

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        self._patterns = tuple(pattern.casefold() for pattern in patterns)
        self._of: Sequence[ModelView] = ()
        self._found: Sequence[ModelView] = ()
        self._by_name: Mapping[str, ModelView] = {}
        self._plain: Mapping[str | None, ModelView] = {}

    def __repr__(self) -> str:
        return f"<VisibleModels {' '.join(self._patterns) or 'all'}>"

    def among(self, models: Sequence[ModelView]) -> Sequence[ModelView]:
        """Return those of some models that the key may use."""
        if models is not self._of:
            self._look(models)
        return self._found

    def named(self, name: str, models: Sequence[ModelView]) -> ModelView | None:
        """Return which of some models has exactly this name, and may be used; `find_model` finds others."""
        if models is not self._of:
            self._look(models)
        return self._by_name.get(name)

    def plain(self, name: str | None, models: Sequence[ModelView]) -> ModelView | None:
        """Do the same where the model is a plain one (`ModelView.is_plain`); else return None."""
        if models is not self._of:
            self._look(models)
        return self._plain.get(name)

    def _look(self, models: Sequence[ModelView]) -> None:
        self._of = models
        self._found = tuple(one for one in models if self._matches(one)) if self._patterns else models
        by_name: dict[str, ModelView] = {}
        for model in self._found:  # as `find_model` does: the first one counts
            for name in (model.name, *model.aliases):
                if name:
                    by_name.setdefault(name, model)
        self._by_name = by_name
        self._plain = {name: model for name, model in by_name.items() if model.is_plain}

    def _matches(self, model: ModelView) -> bool:
        names = [name.casefold() for name in (model.name, *model.aliases)]
        return any(fnmatchcase(name, pattern) for name in names for pattern in self._patterns)


@dataclass(frozen=True, slots=True, eq=False)
class KeyGrant:
    """What the sender of a request may do; a key whose rights change gets another one.

    Attributes:
        id: The key's id; empty without a key.
        name: What people call it.
        rights: What it may do.
        models: Which models these are.
        own_class: The class of requests that ask for none.
        best_class: The best class that they may ask for.
        allowance: What the key may use, and has; None without limits.
    """

    id: str = ""
    name: str = ""
    rights: KeyRights = INFERENCE_ONLY
    models: VisibleModels = field(default_factory=VisibleModels)
    own_class: str = NORMAL
    best_class: str = INTERACTIVE
    allowance: Allowance | None = None


ANYONE = KeyGrant()
"""What is granted without a key, where none is needed."""

ALL_BUT_NODE = frozenset(SCOPES) - {"node"}
"""The scopes of the key of relay.toml, and of the one that commands use."""
