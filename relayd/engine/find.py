"""Which llama-server runs: configured, installed, or on PATH."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from relayd.engine.argv import Features
from relayd.engine.features import read_features
from relayd.engine.installed import EngineShelf
from relayd.errors import EngineError, EngineMissing
from relayd.files import expanded

VARIABLE = "LLAMA_SERVER_PATH"
"""The environment variable that names a binary."""

PROGRAM = "llama-server"

Source = Literal["configured", "environment", "installed", "path"]


@dataclass(frozen=True, slots=True)
class Engine:
    """A llama-server that can be started.

    Attributes:
        path: The binary itself, symbolic links resolved.
        source: How it was found.
        features: Its version and the flags it knows.
    """

    path: Path
    source: Source
    features: Features

    @property
    def version(self) -> str:
        """The version as people write it."""
        return self.features.version

    @property
    def build(self) -> int | None:
        """llama.cpp's build number, if it is known."""
        return self.features.build


def find_engine(
    shelf: EngineShelf, *, cache: Path, environ: Mapping[str, str], configured: str = ""
) -> Engine:
    """Return the engine to use: the configured one, else $LLAMA_SERVER_PATH, the installed one, one on PATH.

    Args:
        shelf: The engines that relayd installed.
        cache: The folder of cached features.
        environ: Our environment.
        configured: A path from the configuration or the command line; empty for none.

    Raises:
        EngineMissing: The named one does not exist, or none was found anywhere.
        EngineError: The one that was found may not be trusted, or does not run here.
    """
    if configured:
        return _engine(_named(configured, "--llama-server, or [engine] path,"), "configured", cache, environ)
    if named := environ.get(VARIABLE):
        return _engine(_named(named, f"${VARIABLE}"), "environment", cache, environ)
    if installed := shelf.current():
        engine = _engine(shelf.binary(installed), "installed", cache, environ)
        known = msgspec.structs.replace(engine.features, version=installed.version, build=installed.build)
        return Engine(engine.path, engine.source, known)
    if on_path := shutil.which(PROGRAM, path=environ.get("PATH", "")):
        return _engine(Path(on_path), "path", cache, environ)
    raise EngineMissing("no llama-server was found", remedy="Install one with `relayd engine install`.")


def _engine(path: Path, source: Source, cache: Path, environ: Mapping[str, str]) -> Engine:
    resolved = path.resolve()
    _refuse_writable(resolved)
    return Engine(resolved, source, read_features(resolved, cache, environ))


def _named(name: str, named_by: str) -> Path:
    path = expanded(name)
    if not path.is_file():
        raise EngineMissing(
            f"{named_by} names {path} as the llama-server, which is not a file",
            remedy="Correct the path, or remove it and run `relayd engine install`.",
        )
    return path


def _refuse_writable(binary: Path) -> None:
    """Raise EngineError when any user may replace the binary or put a library beside it."""
    for path in (binary, binary.parent):
        if path.stat().st_mode & 0o002:
            raise EngineError(
                f"{path} can be changed by every user of this machine, so it is not run",
                remedy=f"Take that right away with `chmod o-w {path}`.",
            )
