"""The cache of the Hugging Face hub on this disk: where it is, and how files leave it.

It is known without what downloads: commands that list models load no TLS.
"""

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path

from relayd.files import expanded


def hub_caches(environ: Mapping[str, str], home: Path) -> tuple[Path, ...]:
    """Return the folders that may hold hub files, the one to write to first.

    The order of the variables is llama.cpp's (common/hf-cache.cpp), which knows those of
    huggingface_hub and puts its own LLAMA_CACHE before them.
    """
    names = ("LLAMA_CACHE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")
    given = [expanded(environ[name]) for name in names if environ.get(name)]
    return tuple(dict.fromkeys((*given, hub_home(environ, home) / "hub")))


def hub_home(environ: Mapping[str, str], home: Path) -> Path:
    """Return the folder of huggingface_hub itself."""
    if environ.get("HF_HOME"):
        return expanded(environ["HF_HOME"])
    base = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "huggingface"


def remove_from_cache(link: Path, blob: Path) -> int:
    """Remove a file of a hub's cache and return the bytes that are free now.

    The bytes stay while another commit of the repository has them too. Folders that are left empty go.
    """
    folder = blob.parent.parent
    link.unlink(missing_ok=True)
    freed = 0
    others = (folder / "snapshots").rglob("*")
    if not any(one.is_symlink() and one.readlink().name == blob.name for one in others) and blob.is_file():
        freed = blob.stat().st_size
        blob.unlink()
    for parent in link.parents:
        if parent == folder:
            break
        with contextlib.suppress(OSError):
            parent.rmdir()
    with contextlib.suppress(OSError):
        blob.parent.rmdir()
    if not (folder / "snapshots").exists() and not (folder / "blobs").exists():
        shutil.rmtree(folder, ignore_errors=True)
    return freed
