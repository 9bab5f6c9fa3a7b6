"""Where does a recommendation go that shall run: into models.toml of the state folder."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from relayd.config.migrate import WRITTEN, migrated_written
from relayd.errors import StateError
from relayd.files import private_folder, write_atomic

FILE_NAME = "models.toml"


def keep(model: Mapping[str, object], state: Path) -> Path:
    """Write a model into models.toml, in place of those that answer to one of its names, and return the file.

    What else is in it stays. It is relayd's own file: comments in it are lost, relay.toml is never touched.

    Args:
        model: Its settings, those of `[[model]]`.
        state: The state folder.

    Raises:
        StateError: The file cannot be read or written, or holds no TOML.
    """
    path = state / FILE_NAME
    document = migrated_written(_read(path))
    others = [one for one in document.get("model", []) if not _names(one) & _names(model)]
    document["model"] = [*others, dict(model)]
    private_folder(state)
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
