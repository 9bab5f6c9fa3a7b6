"""Features of a llama-server binary, read from it and cached."""

import contextlib
import hashlib
import os
import re
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import msgspec

from relayd.engine.argv import Features
from relayd.engine.environment import probe_environment
from relayd.errors import EngineError, StateError
from relayd.files import private_folder, write_atomic

PROBE_SECONDS = 20.0
"""How long a binary may take to print its help; the first run of a GPU build loads its libraries."""

_NEW_VERSION = re.compile(r"version: (\S+) \(build (\d+), commit (\S+)\)")
_OLD_VERSION = re.compile(r"version: (\d+) \(([0-9a-f]+)\)")
_NAME = re.compile(r"(-{1,2}[A-Za-z][\w.-]*)(,?\s+|$)")
_DEFINITION = re.compile(r"^-.*(?:\n(?!-).*)*", re.MULTILINE)
_SOCKET_HOST = re.compile(r"^--host\b.*(?:\n(?!-).*)*\.sock", re.MULTILINE)
_REMOVED = "the argument has been removed"


class _RememberedFeatures(msgspec.Struct, frozen=True):
    path: str
    size: int
    mtime_ns: int
    features: Features


def read_features(binary: Path, cache: Path, parent: Mapping[str, str]) -> Features:
    """Return what `binary` can do, from `cache` while the file is the same one.

    Args:
        binary: The llama-server; absolute.
        cache: A folder for what was learnt; made if it is missing.
        parent: Our environment, of which the binary sees an allow-list.

    Raises:
        EngineError: The binary does not run here, or is not a llama-server.
    """
    found = binary.stat()
    key = hashlib.sha256(str(binary).encode()).hexdigest()[:16]
    remembered_file = cache / f"engine-{key}.json"
    identity = (str(binary), found.st_size, found.st_mtime_ns)
    with contextlib.suppress(OSError, msgspec.DecodeError):
        remembered = msgspec.json.decode(remembered_file.read_bytes(), type=_RememberedFeatures)
        if (remembered.path, remembered.size, remembered.mtime_ns) == identity:
            return remembered.features
    features = ask(binary, parent)
    # A cache that cannot be written costs a few milliseconds next time, nothing else.
    with contextlib.suppress(StateError):
        private_folder(cache)
        write_atomic(remembered_file, msgspec.json.encode(_RememberedFeatures(*identity, features)))
    return features


def ask(binary: Path, parent: Mapping[str, str]) -> Features:
    """Run `binary` twice, and return its features.

    Raises:
        EngineError: The binary does not run here, or is not a llama-server.
    """
    version, build = parse_version(_run(binary, "--version", parent))
    text = _run(binary, "--help", parent)
    hints = parse_help(text)
    if "--port" not in hints:
        raise EngineError(
            f"{binary} is not a llama-server: its --help has no --port",
            remedy="Name llama.cpp's llama-server.",
        )
    return Features(
        version=version,
        build=build,
        flags=frozenset(hints),
        hints={flag: hint for flag, hint in hints.items() if hint},
        unix_sockets=_SOCKET_HOST.search(text) is not None,
    )


def parse_version(text: str) -> tuple[str, int | None]:
    """Return version and build number from `--version`; build 0 means that none was known."""
    if new := _NEW_VERSION.search(text):
        build = int(new[2]) or None
        return (f"b{build}" if build else new[1]), build
    if old := _OLD_VERSION.search(text):
        build = int(old[1]) or None
        return (f"b{build}" if build else "unknown"), build
    return "unknown", None


def parse_help(text: str) -> dict[str, str]:
    """Return every flag of a `--help` with what it takes, empty for a switch."""
    flags: dict[str, str] = {}
    for match in _DEFINITION.finditer(text):
        block = match[0]
        if _REMOVED in block:
            continue
        names: list[str] = []
        gap, rest = "", block.partition("\n")[0]
        while name := _NAME.match(rest):
            names.append(name[1])
            gap, rest = name[2], rest[name.end() :]
        hint = rest.partition("  ")[0] if rest and gap == " " else ""
        flags |= dict.fromkeys(names, hint.strip())
    return flags


def _run(binary: Path, flag: str, parent: Mapping[str, str]) -> str:
    """Return what `binary flag` prints on both streams: the version is on stderr, the help on stdout."""
    try:
        done = subprocess.run(
            [binary, flag],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=probe_environment(parent),
            timeout=PROBE_SECONDS,
            check=False,
            text=True,
            errors="replace",
        )
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"{binary} {flag} did not answer within {PROBE_SECONDS:g} s") from error
    except OSError as error:
        raise EngineError(
            f"{binary} cannot be run: {os.strerror(error.errno or 0)}",
            remedy="Install one for this machine with `relayd engine install`.",
        ) from error
    if done.returncode:
        raise _failed(binary, flag, done.returncode, done.stdout)
    return done.stdout


def _failed(binary: Path, flag: str, status: int, output: str) -> EngineError:
    if status == -signal.SIGILL:
        return EngineError(f"{binary} was built for another CPU", remedy="Run `relayd engine install`.")
    last = output.strip().rpartition("\n")[2] or f"exit status {status}"
    return EngineError(f"{binary} {flag} failed: {last}", remedy="Run `relayd engine install`.")
