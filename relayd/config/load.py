"""Finding and merging the configuration: files, variables, defaults.

Later ones win: defaults, relay.toml, models.toml of the state folder (what relayd itself wrote), environment.
"""

import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from relayd.config.check import (
    Document,
    Surroundings,
    check,
    contradictions,
    holds_key,
    repeated_names,
    unknown_models,
)
from relayd.config.environment import overrides
from relayd.config.locate import KeyPath, lines, locate
from relayd.config.migrate import migrated, migrated_written
from relayd.config.schema import Config
from relayd.config.shortcut import shortcut
from relayd.config.syntax import syntax_problem
from relayd.config.trust import check_trust, trusted_owner, unreadable
from relayd.config.upstreams import repeated_upstreams
from relayd.errors import ConfigError
from relayd.folders import config_dir, state_dir

FILE_NAME = "relay.toml"
SYSTEM_FILE = Path("/etc/relayd") / FILE_NAME


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration and its sources.

    Attributes:
        config: The settings in effect.
        sources: Files read, then variables used, in the order they apply.
        warnings: What the operator should know, a sentence each.
    """

    config: Config
    sources: tuple[str, ...]
    warnings: tuple[str, ...]


def load(
    file: Path | None, environ: Mapping[str, str], home: Path, cwd: Path, *, system_file: Path = SYSTEM_FILE
) -> Loaded:
    """Read the configuration; where there is none, the defaults.

    Args:
        file: What `--config` named, if it did.
        environ: Environment variables.
        home: What `~` stands for.
        cwd: The working directory, for relative names that no file contains; absolute.
        system_file: The relay.toml of this machine.

    Raises:
        ConfigError: A file is missing, unsafe or wrong; every problem is one line, `FILE:LINE: ...`.
    """
    documents = read_documents(file, environ, home, cwd, system_file=system_file)
    problems = [one for document in documents for one in document.problems]
    models = [model for document in documents for model in document.models]
    virtual = [one for document in documents for one in document.virtual]
    upstreams = [one for document in documents for one in document.upstreams]
    problems += (
        *repeated_names([*models, *virtual]),
        *contradictions(models),
        *(() if upstreams else unknown_models(virtual, models)),  # theirs are known once they are asked
        *repeated_upstreams(upstreams),
    )
    if problems:
        raise ConfigError("\n".join(problems))
    return Loaded(
        _merge(document.values for document in documents),
        tuple(one for document in documents for one in document.sources),
        tuple(one for document in documents for one in document.warnings),
    )


def read_documents(
    file: Path | None, environ: Mapping[str, str], home: Path, cwd: Path, *, system_file: Path = SYSTEM_FILE
) -> list[Document]:
    """Return the settings of each source by itself, those that win last; arguments are those of `load`.

    Relative paths of a file start at its own folder: where it is a link, at that of the file it leads to.

    Raises:
        ConfigError: A file cannot be read.
    """
    around = Surroundings(cwd, home, environ)
    documents = []
    if path := find_config(file, environ, home, cwd, system_file=system_file):
        place = cwd / path
        target = Path(os.path.realpath(place)) if place.is_symlink() else place
        documents.append(_read(path, place, replace(around, folder=target.parent)))
    if os.access(path := state_dir(environ, home) / "models.toml", os.F_OK):
        documents.append(_read(path, path, replace(around, folder=path.parent), written=True))
    return [*documents, shortcut(around), overrides(around)]


def find_config(
    file: Path | None, environ: Mapping[str, str], home: Path, cwd: Path, *, system_file: Path = SYSTEM_FILE
) -> Path | None:
    """Return the file named by `--config` or RELAYD_CONFIG, else the first of the usual ones that exists.

    Those are relay.toml in the working directory (returned relative), of the user and of the machine.
    """
    if file or environ.get("RELAYD_CONFIG"):
        return file or Path(environ["RELAYD_CONFIG"])
    usual = (Path(FILE_NAME), config_dir(environ, home) / FILE_NAME, system_file)
    return next((one for one in usual if os.access(cwd / one, os.F_OK)), None)


def _read(path: Path, place: Path, around: Surroundings, *, written: bool = False) -> Document:
    """Return the settings of one file.

    Args:
        path: How problems name it; it may be relative.
        place: Where it is; absolute.
        around: What its relative paths and variables refer to.
        written: Whether it is one that relayd writes itself.
    """
    try:
        with place.open("rb") as stream:
            status, content = os.fstat(stream.fileno()), stream.read()
    except OSError as error:
        raise unreadable(path, error, os.geteuid()) from error
    try:
        text = content.decode("utf-8-sig")
        data, known = tomllib.loads(text), lines(text)
    except (ValueError, RecursionError) as error:
        document = Document(problems=[f"{path}{syntax_problem(error, content)}"])
    else:

        def line(key: KeyPath) -> str:
            return f"{path}:{locate(known, key)}"

        current, warnings = (migrated_written(data), []) if written else migrated(data, line)
        document = check(current, line, around)
        document.warnings += warnings
        document.warnings += check_trust(
            path, status, os.geteuid(), holds_key=holds_key(data), trusted=trusted_owner(around.environ)
        )
    document.sources.append(str(path))
    return document


def _merge(layers: Iterable[Mapping[str, Any]]) -> Config:
    """Return the configuration of all layers: settings of later ones win, models add up."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            if isinstance(value, dict):
                merged[name] = {**merged.get(name, {}), **value}
            else:
                merged[name] = [*merged.get(name, []), *value]
    return msgspec.convert(merged, Config)
