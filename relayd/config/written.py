"""Which models has relayd itself written down (models.toml of the state folder), and how are they changed?

It is relayd's own file: comments in it are lost, and what else is in it stays. relay.toml is never touched.
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from relayd.config.migrate import WRITTEN, migrated_written
from relayd.errors import StateError
from relayd.files import private_folder, write_atomic

FILE_NAME = "models.toml"


def keep(model: Mapping[str, object], state: Path, table: str = "model") -> Path:
    """Write a model down, in place of those that answer to one of its names, and return the file.

    Args:
        model: Its settings, those of `[[model]]`.
        state: The state folder.
        table: `virtual` for a virtual one, whose settings are those of `[[virtual]]`.

    Raises:
        StateError: The file cannot be read or written, or holds no TOML.
    """
    document = migrated_written(_read(state / FILE_NAME))
    others = [one for one in document.get(table, []) if not _names(one) & _names(model)]
    return _write(document | {table: [*others, dict(model)]}, state)


def drop(name: str, state: Path, table: str = "model") -> Path:
    """Take a model out, and return the file; nothing changes where none is called so.

    Args:
        name: Its name.
        state: The state folder.
        table: `virtual` for a virtual one.

    Raises:
        StateError: The file cannot be read or written, or holds no TOML.
    """
    document = migrated_written(_read(state / FILE_NAME))
    others = [one for one in document.get(table, []) if one.get("name") != name]
    return _write(document | {table: others}, state)


def replace_lines(lines: Sequence[Mapping[str, object]], state: Path, table: str) -> Path:
    """Write all lines of a table down, in place of those that it has, and return the file.

    Raises:
        StateError: The file cannot be read or written, or holds no TOML.
    """
    return _write(migrated_written(_read(state / FILE_NAME)) | {table: [dict(one) for one in lines]}, state)


def written_models(state: Path) -> dict[str, dict[str, Any]]:
    """Return the settings of each model that is written down, by name.

    Raises:
        StateError: The file cannot be read, or holds no TOML.
    """
    return written(state, "model")


def written(state: Path, table: str) -> dict[str, dict[str, Any]]:
    """Return the settings of each line of a table that is written down, by name.

    Raises:
        StateError: The file cannot be read, or holds no TOML.
    """
    lines = migrated_written(_read(state / FILE_NAME)).get(table, [])
    return {one["name"]: one for one in lines if isinstance(one, dict) and "name" in one}


def _write(document: Mapping[str, Any], state: Path) -> Path:
    private_folder(state)
    path = state / FILE_NAME
    write_atomic(path, tomli_w.dumps({"schema": WRITTEN, **document}).encode())
    return path


def _names(model: Mapping[str, Any]) -> set[Any]:
    return {model.get("name"), *model.get("aliases", ())}


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise StateError(f"{path} is not valid TOML: {error}", remedy="Correct it, or remove it.") from error
