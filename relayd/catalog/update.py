"""Updating the catalogue by download, and importing models into it.

Both write into the state folder and never touch what relayd ships or the operator wrote. The document of
an update is JSON, `{"families": [...]}`, each family as in `catalog/*.toml`.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import tomli_w

from relayd.catalog.entry import CatalogEntry, FactSources, Family
from relayd.catalog.load import IMPORTED, UPDATED, merge, read_file
from relayd.errors import UsageError
from relayd.fetch import fetch
from relayd.files import private_folder, write_atomic
from relayd.units import MIB

MAX_BYTES = 16 * MIB
"""A catalogue of all families takes 0.3 MB."""


def update_catalog(url: str, sha256: str, state: Path) -> tuple[CatalogEntry, ...]:
    """Fetch a newer catalogue into the state folder and return its models.

    What is there stays unless the new one is complete, verified and valid.

    Args:
        url: https, or http on the loopback interface.
        sha256: Hexadecimal digest the document must have.
        state: Folder of the catalogue's state.

    Raises:
        UsageError: There is no address or no digest.
        FetchError: The document did not arrive, or is another one.
        ConfigError: It does not match the schema.
        StateError: The folder cannot be written.
    """
    if not url or not sha256:
        raise UsageError(
            "the catalogue has no address to be updated from, or no SHA-256 to check it with",
            remedy="Give both: `relayd catalog update --url https://… --sha256 …`.",
        )
    fresh = private_folder(state) / f"new-{UPDATED}"
    try:
        fetch(url, fresh, sha256=sha256, max_bytes=MAX_BYTES)
        entries = merge(read_file(fresh, "updated"))
        fresh.replace(state / UPDATED)
    finally:
        fresh.unlink(missing_ok=True)
    return entries


def keep_imported(entries: Iterable[CatalogEntry], state: Path) -> None:
    """Add models to those imported before; one of the same name is replaced.

    Raises:
        ConfigError: The file of imported models does not match the schema.
        StateError: The folder or the file cannot be used.
    """
    path = private_folder(state) / IMPORTED
    before = read_file(path, "imported") if path.is_file() else []
    entries = {entry.name: entry for entry in (*before, *entries)}.values()
    write_atomic(path, tomli_w.dumps(_document(entries)).encode())


def _document(entries: Iterable[CatalogEntry]) -> dict[str, Any]:
    """Return a family of imported models, sources as codes again."""
    codes: dict[str, str] = {}

    def code(source: str) -> str:
        return codes.setdefault(source, f"s{len(codes) + 1}")

    models = tuple(
        msgspec.structs.replace(
            entry,
            sources=FactSources(
                **{
                    group: tuple(map(code, sources))
                    for group, sources in msgspec.structs.asdict(entry.sources).items()
                }
            ),
            files=tuple(msgspec.structs.replace(file, source=code(file.source)) for file in entry.files),
            benchmarks=tuple(
                msgspec.structs.replace(one, source=code(one.source)) for one in entry.benchmarks
            ),
            family="",
            publisher="",
            origin="shipped",
        )
        for entry in entries
    )
    family = Family(
        family="imported",
        title="Imported",
        publisher="",
        sources={code: source for source, code in codes.items()},
        models=models,
    )
    document: dict[str, Any] = msgspec.to_builtins(family)
    return document
