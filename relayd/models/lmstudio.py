"""The folders in which LM Studio stores models.

As `PUBLISHER/REPOSITORY/FILE.gguf` below one folder, which moved between versions and can be chosen.
"""

import contextlib
from pathlib import Path

import msgspec


def lmstudio_folders(home: Path) -> tuple[Path, ...]:
    """Return the folders LM Studio may keep models in, the chosen one first.

    Args:
        home: Home of the user.
    """
    homes = [home / ".lmstudio", home / ".cache" / "lm-studio"]
    with contextlib.suppress(OSError, UnicodeDecodeError):
        homes.insert(0, Path((home / ".lmstudio-home-pointer").read_text().strip()))
    chosen = (_chosen(one / "settings.json") for one in homes)
    defaults = (one / "models" for one in homes)
    return tuple(dict.fromkeys(path for path in (*chosen, *defaults) if path and path.is_absolute()))


class _LmStudioSettings(msgspec.Struct, frozen=True, rename="camel"):
    downloads_folder: str = ""


def _chosen(settings: Path) -> Path | None:
    """Return the folder that was chosen in its settings."""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        folder = msgspec.json.decode(settings.read_bytes(), type=_LmStudioSettings).downloads_folder
        return Path(folder) if folder else None
    return None
