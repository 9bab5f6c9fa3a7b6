"""The environment of a llama-server process (allow-list)."""

from collections.abc import Mapping
from pathlib import Path

_NAMES = frozenset({"PATH", "HOME", "LANG", "TZ", "TMPDIR", "LLAMA_MEDIA_MARKER"})
_PREFIXES = ("LC_", "CUDA_", "NVIDIA_", "HIP_", "ROCR_", "HSA_", "GGML_", "OMP_")
_REFUSED = ("GGML_BACKEND_",)
"""Names of libraries to load: what LD_PRELOAD is to the loader, these are to ggml."""

NO_CONFIG = Path("/dev/null")
"""A configuration home in which nothing can be: the engine reads `llama.cpp/config.ini` below it."""


def environment(
    parent: Mapping[str, str], *, instance: str, replica: str, empty_config_home: Path
) -> dict[str, str]:
    """Return the environment of a child: what it needs of `parent`, and our tags.

    Nearly every engine flag has a `LLAMA_ARG_*` variable, and `AIP_MODE` moves its port, so only
    names on the list pass; loader, proxy, token and service-manager variables are not on it.

    Args:
        parent: Our own environment.
        instance: The runtime directory, which tags every child of this daemon.
        replica: The replica's name.
        empty_config_home: A folder without a `llama.cpp/config.ini`.
    """
    return _allowed(parent) | {
        "RELAYD_INSTANCE": instance,
        "RELAYD_REPLICA": replica,
        "XDG_CONFIG_HOME": str(empty_config_home),
        # Else a failed assertion attaches a debugger, which holds the process for seconds.
        "GGML_NO_BACKTRACE": "1",
    }


def probe_environment(parent: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for an engine that only answers `--version` or `--help`."""
    return _allowed(parent) | {"XDG_CONFIG_HOME": str(NO_CONFIG), "GGML_NO_BACKTRACE": "1"}


def _allowed(parent: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in parent.items()
        if name in _NAMES or (name.startswith(_PREFIXES) and not name.startswith(_REFUSED))
    }
