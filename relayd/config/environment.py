"""Settings overridden by environment variables (`RELAYD_SECTION__KEY`)."""

from collections.abc import Mapping
from typing import Any

import msgspec

from relayd.config.check import Checker, Document, Surroundings
from relayd.config.describe import is_array, is_section
from relayd.config.foreign import nearest
from relayd.config.locate import KeyPath
from relayd.config.schema import Config

PREFIX = "RELAYD_"

SHORT_FORMS = {"RELAYD_API_KEY": "RELAYD_SERVER__API_KEY"}

NOT_SETTINGS = frozenset({
    "RELAYD_CONFIG", "RELAYD_CONFIG_UID", "RELAYD_RUNTIME_DIR", "RELAYD_INSTANCE", "RELAYD_REPLICA",
    "RELAYD_BASE_URL",
})  # fmt: skip
"""Variables read elsewhere: where files and servers are, who may own them, the tags of replica processes."""


def overrides(around: Surroundings) -> Document:
    """Return what `RELAYD_SECTION__KEY` variables set; an empty variable counts as unset.

    An unknown name is a problem when it has the two underscores that only settings have. Without them it
    may be anyone's (Kubernetes makes RELAYD_PORT for a service called relayd): a likely slip is a warning.
    """
    places: dict[KeyPath, str] = {}
    document = Document(place=lambda path: places.get(path[:2], ""))
    known = _variables()
    for name, text in sorted(around.environ.items()):
        if not name.startswith(PREFIX) or name in NOT_SETTINGS or not text:
            continue
        if (full := SHORT_FORMS.get(name, name)) in known:
            _set(document, name, *known[full], around)
            places[known[full][0]] = name
        elif "__" in name:
            guess = nearest(name, known)
            document.problems.append(
                f"{name}: unknown setting" + (f"; did you mean {guess}?" if guess else "")
            )
        elif guess := _slip(name, known):
            document.warnings.append(f"{name} is not a setting and has no effect; did you mean {guess}?")
    return document


def _variables() -> dict[str, tuple[KeyPath, Any]]:
    """Return variable -> (path, type) of every key of every table; arrays of tables have none."""
    return {
        f"{PREFIX}{section.name}__{key.name}".upper(): ((section.name, key.name), key.type)
        for section in msgspec.structs.fields(Config)
        if is_section(section.type)
        for key in msgspec.structs.fields(section.type)
    }


def _set(document: Document, name: str, path: KeyPath, kind: Any, around: Surroundings) -> None:
    checker = Checker(lambda _: name, around, text_only=True, problems=document.problems)
    section, key = (str(one) for one in path)
    if is_array(kind):
        document.problems.append(f'{name}: "{key}" in [{section}] is an array; set it in relay.toml')
        return
    value = checker.value(kind, around.environ[name], path, f'"{key}" in [{section}]')
    table = document.values.setdefault(section, {})
    if value is not None and table.setdefault(key, value) != value:
        document.problems.append(f"{name}: another variable sets {key} to something else; keep one of them")
    document.sources.append(name)


def _slip(name: str, known: Mapping[str, Any]) -> str | None:
    """Return the setting that a name without `__` was meant for: its key alone, or one underscore short."""
    rest = name.removeprefix(PREFIX)
    return next(
        (one for one in known if rest in (one.partition("__")[2], one[len(PREFIX) :].replace("__", "_"))),
        None,
    )
