"""Which of the models, and how many of the slots, that a worker registers are accepted?"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from relayd.remote.modelrelay.messages import VERSION, Register

MOST_MODELS = 256
LONGEST_NAME = 128
MOST_SLOTS = 4096

WILDCARD = "*"
"""Any model, which the stock worker registers when it could not ask its backend which models it has."""

_NAME = re.compile(r"[!-~](?:[ -~]*[!-~])?")
"""Printable ASCII: a model's name becomes part of a path, of labels and of lines of the log."""

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")

DEFAULT_PROVIDER = "local"


@dataclass(frozen=True, slots=True)
class AcceptedModels:
    """What is accepted of the models that a worker serves.

    Attributes:
        models: Each name once, in the worker's order.
        warnings: What was left out, and why.
        has_wildcard: It registers any model: it is to be asked which ones those are.
    """

    models: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    has_wildcard: bool = False


def accept_models(registered: Sequence[str]) -> AcceptedModels:
    """Return which of a worker's models are accepted."""
    models: dict[str, None] = {}
    warnings: list[str] = []
    names = [name.strip() for name in registered]
    for name in names:
        if not name:
            warnings.append("An empty model name is left out.")
        elif name == WILDCARD:
            warnings.append("`*` is left out: a hub routes by name. Name the models: --models a,b")
        elif len(name) > LONGEST_NAME:
            warnings.append(f"{name[:40]!r}… is left out: a name has at most {LONGEST_NAME} characters.")
        elif not _NAME.fullmatch(name):
            warnings.append(f"{name[:40]!a} is left out: a name is printable ASCII.")
        elif len(models) == MOST_MODELS and name not in models:
            warnings.append(f"{name!r} is left out: a worker has at most {MOST_MODELS} models.")
        else:
            models[name] = None
    if not models:
        warnings.append("No model is accepted, so this worker gets no request.")
    return AcceptedModels(tuple(models), tuple(dict.fromkeys(warnings))[:MOST_MODELS], WILDCARD in names)


def accept_slots(max_concurrent: int) -> int:
    """Return how many requests a worker gets at once."""
    return min(max(max_concurrent, 1), MOST_SLOTS)


def is_version_known(register: Register) -> bool:
    """Return whether a worker uses this protocol: it names its version, or none."""
    return register.protocol_version in (None, VERSION)


def worker_label(worker_name: str, taken: frozenset[str] | set[str]) -> str:
    """Return the name of a worker among the connected ones: its own, with a number where that is taken.

    It becomes the part behind `@` of its replicas' names, so other characters than letters, digits, `.`,
    `_` and `-` become `-`.
    """
    label = _UNSAFE.sub("-", worker_name).strip("-.")[:48] or "worker"
    if label not in taken:
        return label
    return next(name for count in range(2, len(taken) + 3) if (name := f"{label}-{count}") not in taken)
