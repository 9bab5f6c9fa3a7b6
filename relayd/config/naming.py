"""Names for models that are not in relay.toml."""

import re
from collections.abc import Iterable

import msgspec

from relayd.config.schema import Model

LONGEST = 120
"""Characters of a derived name; eight less than a name may have, for the suffix of a second one."""

_WORD = r"[A-Za-z0-9][A-Za-z0-9._:-]*"
NAME = re.compile(rf"{_WORD}(/{_WORD})*")
"""What a name is made of, as the schema has it."""


def model_name(text: str) -> str:
    """Return a name for a model, made from the name of a file or of something else."""
    words = (part.strip("-._:") for part in re.sub(r"[^A-Za-z0-9._:/-]+", "-", text).split("/"))
    return "/".join(filter(None, words))[:LONGEST].rstrip("/") or "model"


def told_apart(models: Iterable[Model], taken: Iterable[str] = ()) -> tuple[Model, ...]:
    """Return models of which no two have the same name; a model that is given twice is returned once.

    A name stays with the first that has it; an alias of two models is dropped from both.

    Args:
        models: In the order in which they were named.
        taken: Names of other models.
    """
    given = list({(model.name, model.file): model for model in models}.values())
    names: list[str] = []
    for model in given:
        names.append(_unlike(model.name, {*taken, *names}))
    answered = [alias for model in given for alias in {*model.aliases}]
    spoken_for = {*taken, *names}
    return tuple(
        msgspec.structs.replace(
            model,
            name=name,
            aliases=tuple(
                alias
                for alias in dict.fromkeys(model.aliases)
                if NAME.fullmatch(alias) and answered.count(alias) == 1 and alias not in spoken_for
            ),
        )
        for model, name in zip(given, names, strict=True)
    )


def _unlike(name: str, taken: set[str]) -> str:
    """Return the name, or the first of `NAME-2`, `NAME-3` … that is not taken."""
    numbered = (f"{name}-{number}" for number in range(2, len(taken) + 3))
    return name if name not in taken else next(one for one in numbered if one not in taken)
