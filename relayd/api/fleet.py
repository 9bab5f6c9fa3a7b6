"""Which models may a client name, and which one does it mean?"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from typing import Protocol

from relayd.dialects.preset import Preset
from relayd.dialects.turns import TemplateTraits
from relayd.errors import ContextExceededError, ModelNotFoundError
from relayd.gguf.facts import UNKNOWN, FileFacts
from relayd.router import UNLIMITED, UNTIMED, TimeLimits, TokenLimit

_TAG = ":latest"
"""The tag of a name without one, as Ollama's clients have it."""

_LISTED = 10
"""How many names an error lists."""


class ModelState(Enum):
    """How far a model is, as its replicas say together."""

    READY = "ready"
    LOADING = "loading"
    FAILED = "failed"
    STOPPED = "stopped"
    """By an operator, until an operator starts it."""
    COLD = "cold"
    """Wanted, and not in memory."""
    WAITING = "waiting"
    """About to load, as soon as memory is granted."""


@dataclass(frozen=True, slots=True)
class ModelView:
    """One configured model, as clients may see it.

    Attributes:
        name: What clients ask for.
        aliases: Other names it answers to.
        replicas_ready: Replicas that serve now.
        replicas: Replicas that are wanted.
        slots: Requests one replica works on at once.
        context: Tokens a slot can hold; 0 while that is not known.
        state: How far the model is.
        demo: Whether this is the demo model.
        created: When the model was configured, in seconds since 1970.
        replicas_cold: Replicas that are wanted and not in memory.
        facts: What its file states.
        abilities: What it can do: completion, tools, insert, thinking, vision, audio, embedding, rerank.
        reason: Why it cannot be asked now, or has to be loaded first; "" where it serves.
        most_text: Bytes that the text of a slot can have, whatever its tokens; 0 while that is not known.
        host_bytes: RAM that its replicas in memory were planned to take.
        device_bytes: Memory of GPUs that they were planned to take.
        is_default: It is meant by requests that name no model.
        is_affine: What its replicas have read of a prompt before counts in the choice between them.
        times: How long its requests may take.
        tokens: How long its answers may be.
        served_by: The models that serve a virtual one, those that can now before the others; empty for a
            model of its own.
        preset: What a virtual model changes in a request.
        traits: Which conversations its template takes; None while that is not known.
        is_local: It is configured here, so that replicas of ours serve it, or could.
        is_elsewhere: Upstreams or nodes serve it, too or alone: what a client sent is kept for them.
    """

    name: str
    aliases: tuple[str, ...]
    replicas_ready: int
    replicas: int
    slots: int
    context: int
    state: ModelState
    demo: bool
    created: int
    replicas_cold: int = 0
    most_text: int = 0
    reason: str = ""
    facts: FileFacts = UNKNOWN
    abilities: tuple[str, ...] = ("completion",)
    host_bytes: int = 0
    device_bytes: int = 0
    is_default: bool = False
    is_affine: bool = False
    times: TimeLimits = UNTIMED
    tokens: TokenLimit = UNLIMITED
    served_by: tuple[str, ...] = ()
    preset: Preset | None = None
    traits: TemplateTraits | None = None
    is_local: bool = True
    is_elsewhere: bool = False

    @property
    def replicas_of(self) -> str:
        """The model whose replicas serve it."""
        return self.served_by[0] if self.served_by else self.name

    @property
    def is_plain(self) -> bool:
        """Whether it answers as its engine does: nothing is limited, preset, or served by others."""
        is_changed = self.times is not UNTIMED or self.tokens is not UNLIMITED or self.preset is not None
        return not (is_changed or self.is_elsewhere or len(self.served_by) > 1)

    @property
    def window(self) -> int:
        """Tokens that one request can use, prompt and answer together; 0 while that is not known."""
        return self.context or self.facts.trained_context

    @property
    def modalities(self) -> list[str]:
        """What it takes besides text, and text."""
        taken = {"image": "vision" in self.abilities, "audio": "audio" in self.abilities}
        return ["text", *(name for name, is_so in taken.items() if is_so)]


class ModelDirectory(Protocol):
    """A read-only look at what is configured and how it is."""

    def models(self) -> Sequence[ModelView]:
        """Return every configured model, in the order of the configuration, and then every virtual one."""
        ...


def real_models(models: Sequence[ModelView]) -> list[ModelView]:
    """Return the models that have replicas of their own."""
    return [model for model in models if not model.served_by]


def find_model(name: str | None, models: Sequence[ModelView], ability: str = "completion") -> ModelView:
    """Return the model that a request means.

    Args:
        name: A name or an alias; None, or an empty one, means the default model, or the only one that can
            answer.
        models: The models that are configured.
        ability: What the request needs, where it names no model.

    Raises:
        ModelNotFoundError: There is none, or more than one, or none of that name.
    """
    name = name or None
    if name is None and len(models) == 1:
        return models[0]
    for model in models:
        if name == model.name or name in model.aliases:
            return model
    found = _default(models, ability) if name is None else _nearly(name, models)
    if found is not None:
        return found
    message = "The request names no model." if name is None else f"There is no model {name[:128]!r}."
    raise ModelNotFoundError(message, remedy=_remedy(name or "", models), param="model")


def _default(models: Sequence[ModelView], ability: str) -> ModelView | None:
    """Return the model of requests that name none: the configured one, or the only one that can answer."""
    real = real_models(models)
    if len(real) == 1 and not any(model.is_default for model in models):
        return real[0]
    able = [model for model in models if ability in model.abilities and (model.is_default or model in real)]
    chosen = [model for model in able if model.is_default] or able
    only = [model for model in chosen if ability == "embedding" or "embedding" not in model.abilities]
    return next((found[0] for found in (chosen, only) if len(found) == 1), None)


def _nearly(name: str, models: Sequence[ModelView]) -> ModelView | None:
    """Return the only model that a name means without its tag `:latest`, in any case; else by a pattern."""
    for asked in dict.fromkeys((name.removesuffix(_TAG), f"{name}{_TAG}")):
        folded = asked.casefold()
        found = [
            (known == asked, model)
            for model in models
            for known in (model.name, *model.aliases)
            if known.casefold() == folded
        ]
        exactly = [model for is_exact, model in found if is_exact]
        meant = {model.name: model for model in exactly or (model for _, model in found)}
        if len(meant) == 1:
            return next(iter(meant.values()))
        if meant:
            return None
    return _by_pattern(name.removesuffix(_TAG).casefold(), models)


def _by_pattern(folded: str, models: Sequence[ModelView]) -> ModelView | None:
    """Return the model with the longest alias that matches a name, where `*` stands for any characters."""
    fitting = [
        (len(alias), -place, model)
        for place, model in enumerate(models)
        for alias in model.aliases
        if "*" in alias and _matches(folded, alias.casefold())
    ]
    return max(fitting, key=lambda one: one[:2])[2] if fitting else None


def _matches(name: str, pattern: str) -> bool:
    """Return whether a pattern describes a name; found from left to right, so in time proportional to it."""
    first, *rest = pattern.split("*")
    *middle, last = rest
    if len(name) < len(first) + len(last) or not (name.startswith(first) and name.endswith(last)):
        return False
    at, end = len(first), len(name) - len(last)
    for piece in middle:
        found = name.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def _remedy(name: str, models: Sequence[ModelView]) -> str:
    """Return what to ask for instead of `name`."""
    if not models:
        return "No model is configured: add a [[model]] to relay.toml."
    known = [one for model in models for one in (model.name, *model.aliases)]
    if not name:
        hint = "Name one, or have an operator set server.default_model. "
        return hint + _listing(models)
    near = get_close_matches(name[:128].removesuffix(_TAG), known, n=1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    return hint + _listing(models)


def _listing(models: Sequence[ModelView]) -> str:
    more = f" and {len(models) - _LISTED} more" if len(models) > _LISTED else ""
    return f"Available: {', '.join(model.name for model in models[:_LISTED])}{more}."


def check_length(model: ModelView, text_bytes: int) -> None:
    """Make sure that a text may fit into a slot of its model: no token stands for more than the longest one.

    Raises:
        ContextExceededError: It cannot.
    """
    if text_bytes > model.most_text > 0:
        raise ContextExceededError(
            f"The request has {text_bytes:,} bytes of text; a slot of this model holds {model.context:,} "
            f"tokens, which are {model.most_text:,} bytes at most.",
            remedy="Shorten it; an operator can set context for the model in relay.toml.",
        )
