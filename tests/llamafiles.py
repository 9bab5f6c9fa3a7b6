"""Llamafiles made on the spot: a program that does nothing, and a zip archive after it."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

APE = b"MZqFpD='\n" + bytes(70_000)
"""How an Actually Portable Executable begins."""


def make_llamafile(path: Path, files: Mapping[str, bytes], *, compression: int = zipfile.ZIP_STORED) -> Path:
    """Write a llamafile as `zipalign` does: programs first, files stored, the archive's directory last."""
    path.write_bytes(APE)
    with zipfile.ZipFile(path, "a") as archive:
        for name, data in {".args": b"-m\n...\n", **files}.items():
            archive.writestr(zipfile.ZipInfo(name), data, compression)
    return path
