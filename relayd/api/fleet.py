"""Which models may a client name, and which one does it mean?"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from typing import Protocol

from relayd.api.facts import UNKNOWN, FileFacts
from relayd.errors import ContextExceededError, ModelNotFoundError

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
        abilities: What it can do: completion, tools, thinking, vision, audio, embedding, rerank.
        reason: Why it cannot be asked now, or has to be loaded first; "" where it serves.
        most_text: Bytes that the text of a slot can have, whatever its tokens; 0 while that is not known.
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
        """Return every configured model, in the order of the configuration."""
        ...


def find_model(name: str | None, models: Sequence[ModelView]) -> ModelView:
    """Return the model that a request means.

    Args:
        name: A name or an alias, exactly; None means the only model there is.
        models: The models that are configured.

    Raises:
        ModelNotFoundError: There is none, or more than one, or none of that name.
    """
    if name is None and len(models) == 1:
        return models[0]
    for model in models:
        if name == model.name or name in model.aliases:
            return model
    message = "The request names no model." if name is None else f"There is no model {name[:128]!r}."
    raise ModelNotFoundError(message, remedy=_remedy(name or "", models), param="model")


def _remedy(name: str, models: Sequence[ModelView]) -> str:
    """Return what to ask for instead of `name`."""
    if not models:
        return "No model is configured: add a [[model]] to relay.toml."
    known = [one for model in models for one in (model.name, *model.aliases)]
    near = get_close_matches(name[:128], known, n=1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    more = f" and {len(models) - _LISTED} more" if len(models) > _LISTED else ""
    return f"{hint}Available: {', '.join(model.name for model in models[:_LISTED])}{more}."


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
