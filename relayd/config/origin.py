"""Where each setting that holds comes from: a line of a file, a variable, or the default."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec.structs import fields

from relayd.config.check import Document
from relayd.config.describe import is_section
from relayd.config.foreign import nearest
from relayd.config.schema import Config
from relayd.errors import UsageError
from relayd.secret import Secret

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class SettingOrigin:
    """A setting as it holds.

    Attributes:
        key: `server.listen`; of blocks with names `model.NAME.context`.
        value: What it is, as TOML's types; a secret is `***`, or "" where there is none.
        place: `relay.toml:12`, a variable, or `default`.
    """

    key: str
    value: Any
    place: str


def origins(documents: Sequence[Document]) -> tuple[SettingOrigin, ...]:
    """Return every setting of a table, and what each block sets, with their values and places.

    Args:
        documents: The sources, those that win last, without a problem.
    """
    blocks = (one for table in ("model", "virtual", "upstream") for one in _blocks(table, documents))
    return (*_tables(documents), *blocks)


def origin_of(key: str, known: Sequence[SettingOrigin]) -> tuple[SettingOrigin, ...]:
    """Return a setting, or all of a table or block.

    Raises:
        UsageError: There is none of that name.
    """
    found = tuple(one for one in known if one.key == key or one.key.startswith(f"{key}."))
    if found:
        return found
    names = dict.fromkeys(name for one in known for name in (one.key, one.key.rpartition(".")[0]))
    short = {one.key.rpartition(".")[2]: one.key for one in reversed(known)}
    alike = nearest(key, short, cutoff=0.8)
    guess = short.get(key) or nearest(key, names) or (short[alike] if alike else None)
    raise UsageError(
        f"there is no setting {key!r}",
        remedy=f"Did you mean {guess}?" if guess else "See all of them with `relayd config show --all`.",
    )


def _tables(documents: Sequence[Document]) -> Iterator[SettingOrigin]:
    for section in fields(Config):
        if not is_section(section.type):
            continue
        default = section.default_factory() if callable(section.default_factory) else section.type()
        for key in section.type.__struct_fields__:
            value, place = getattr(default, key), DEFAULT
            for document in documents:
                if key in document.values.get(section.name, {}):
                    value = document.values[section.name][key]
                    place = document.place((section.name, key))
            yield SettingOrigin(f"{section.name}.{key}", _shown(value), place)


def _blocks(table: str, documents: Iterable[Document]) -> Iterator[SettingOrigin]:
    """Yield what blocks with names set."""
    for document in documents:
        for number, block in enumerate(document.values.get(table, ())):
            path = (table, number)
            for key, value in block.items():
                place = document.place((*path, key))
                yield SettingOrigin(f"{table}.{block.get('name') or number}.{key}", _shown(value), place)


def _shown(value: object) -> Any:
    """Return a value without its secrets, as builtins."""
    if isinstance(value, Secret):
        return "***" if value else ""
    if isinstance(value, Mapping):
        return {key: _shown(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(one) for one in value]
    return msgspec.to_builtins(value)
