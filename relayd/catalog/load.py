"""Loading the catalogue: relayd's own, its updates, and what the operator adds.

Later folders win: shipped, updated, imported, own. TOML is slow to read (150 ms for all families), so the
merged catalogue is kept as JSON beside a key made of every file's size and time, and read from there (3 ms).
"""

import contextlib
import hashlib
import importlib.resources
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from relayd import __version__
from relayd.catalog.entry import CatalogEntry, FactSources, Family, Origin
from relayd.errors import ConfigError, StateError
from relayd.files import write_atomic

UPDATED = "updated.json"
IMPORTED = "imported.toml"


def shipped_folder() -> Path:
    """Return the folder of relayd's own catalogue: `_catalog` in a wheel, else `catalog` of the checkout.

    An editable install does not see what hatchling force-includes in a wheel.
    """
    package = Path(str(importlib.resources.files("relayd")))
    inside = package / "_catalog"
    return inside if inside.is_dir() else package.parent / "catalog"


@dataclass(frozen=True, slots=True)
class Folders:
    """The folders of the catalogue; only `shipped` has to exist.

    Attributes:
        shipped: Comes with relayd.
        state: What `catalog update` and `catalog import` wrote.
        own: TOML files of the operator.
        cache: Where the merged catalogue is kept; None keeps none.
    """

    shipped: Path
    state: Path
    own: Path
    cache: Path | None = None

    def files(self) -> Iterator[tuple[Origin, Path]]:
        """Return every file there is, those that win last."""
        parts: tuple[tuple[Origin, Iterable[Path]], ...] = (
            ("shipped", sorted(self.shipped.glob("*.toml"))),
            ("updated", [self.state / UPDATED]),
            ("imported", [self.state / IMPORTED]),
            ("own", sorted(self.own.glob("*.toml"))),
        )
        return ((origin, path) for origin, paths in parts for path in paths if path.is_file())


def load_catalog(folders: Folders) -> tuple[CatalogEntry, ...]:
    """Return every model that is known, families in order of their names, small sizes first.

    Raises:
        ConfigError: A file holds something the schema does not know, or two of one origin use one name.
        StateError: relayd's own catalogue is missing, or a file cannot be read.
    """
    files = list(folders.files())
    if not any(origin == "shipped" for origin, _ in files):
        raise StateError(f"relayd's own catalogue is missing: {folders.shipped} has no TOML file")
    key = _key(files)
    cached = _read_cache(folders.cache, key)
    if cached is not None:
        return cached
    entries = merge(entry for origin, path in files for entry in read_file(path, origin))
    _write_cache(folders.cache, key, entries)
    return entries


def read_file(path: Path, origin: Origin) -> list[CatalogEntry]:
    """Return the models of one file: a family in TOML, or families in the JSON of an update.

    Raises:
        ConfigError: It does not match the schema; file and key are named.
        StateError: It cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror}") from error
    return list(read_families(data, str(path), origin, json=path.suffix == ".json"))


def read_families(data: bytes, name: str, origin: Origin, *, json: bool) -> Iterator[CatalogEntry]:
    """Return the models of a file's bytes; `name` is what to call the file.

    Raises:
        ConfigError: They do not match the schema.
    """
    try:
        document = msgspec.json.decode(data) if json else tomllib.loads(data.decode())
        families = document["families"] if json else [document]
    except (msgspec.DecodeError, ValueError, KeyError, TypeError) as error:
        kind = "JSON with a list of families" if json else "TOML"
        raise ConfigError(f"{name} is not valid {kind}: {error}") from error
    for document in families:
        yield from _finished(_family(document, name), name, origin)


def merge(entries: Iterable[CatalogEntry]) -> tuple[CatalogEntry, ...]:
    """Return the entries that are left when each takes its names from those of origins before it.

    An entry whose own name is taken goes; one that shares an alias loses the alias.

    Raises:
        ConfigError: Two entries of one origin use the same name.
    """
    owners: dict[str, CatalogEntry] = {}
    for entry in entries:
        for name in entry.names:
            other = owners.get(name)
            if other is not None and other.origin == entry.origin:
                raise ConfigError(
                    f"the catalogue has the name {name} twice: {other.family}/{other.name} and "
                    f"{entry.family}/{entry.name} ({entry.origin})"
                )
        owners |= dict.fromkeys(entry.names, entry)
    kept = dict.fromkeys(entry.name for name, entry in owners.items() if name == entry.name)
    left = (_without_lost_names(owners[name], owners) for name in kept)
    return tuple(sorted(left, key=lambda entry: (entry.family, entry.parameters or 0, entry.name)))


def _without_lost_names(entry: CatalogEntry, owners: Mapping[str, CatalogEntry]) -> CatalogEntry:
    if all(owners[name] is entry for name in entry.names):
        return entry
    return msgspec.structs.replace(
        entry,
        aliases=tuple(name for name in entry.aliases if owners[name] is entry),
        quant_aliases={name: to for name, to in entry.quant_aliases.items() if owners[name] is entry},
    )


def _family(document: Any, name: str) -> Family:
    try:
        return msgspec.convert(document, Family)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}: {_blame(document, error)}") from error


def _blame(document: Any, error: msgspec.ValidationError) -> str:
    """Return which model of a family is wrong: the error alone counts no list items."""
    models = document.get("models") if isinstance(document, dict) else None
    for model in models if isinstance(models, list) else []:
        try:
            msgspec.convert(model, CatalogEntry)
        except msgspec.ValidationError as its_own:
            known = model.get("name") if isinstance(model, dict) else None
            return f"model {known or '?'}: {its_own}"
    return str(error)


def _finished(family: Family, name: str, origin: Origin) -> Iterator[CatalogEntry]:
    """Return a family's models with what stands once for all of them, and codes replaced by sources."""
    for model in family.models:
        try:
            groups = msgspec.structs.asdict(model.sources).items()
            sources = {group: tuple(family.sources[code] for code in codes) for group, codes in groups}
            files = tuple(
                msgspec.structs.replace(file, source=family.sources[file.source]) for file in model.files
            )
            benchmarks = tuple(
                msgspec.structs.replace(one, source=family.sources[one.source]) for one in model.benchmarks
            )
        except KeyError as error:
            raise ConfigError(f"{name}: model {model.name}: no source is called {error}") from error
        yield msgspec.structs.replace(
            model,
            sources=FactSources(**sources),
            files=files,
            benchmarks=benchmarks,
            family=family.family,
            publisher=family.publisher,
            origin=origin,
        )


class _Cache(msgspec.Struct, frozen=True):
    key: str
    entries: tuple[CatalogEntry, ...]


def _key(files: Iterable[tuple[Origin, Path]]) -> str:
    """Return what changes when relayd or a file of the catalogue does."""
    digest = hashlib.sha256(__version__.encode())
    for origin, path in files:
        status = path.stat()
        digest.update(f"{origin} {path} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _read_cache(path: Path | None, key: str) -> tuple[CatalogEntry, ...] | None:
    if path is None:
        return None
    try:
        cache = msgspec.json.decode(path.read_bytes(), type=_Cache)
    except (OSError, msgspec.MsgspecError):
        return None
    return cache.entries if cache.key == key else None


def _write_cache(path: Path | None, key: str, entries: tuple[CatalogEntry, ...]) -> None:
    """Keep the merged catalogue; without the cache it is only slower."""
    if path is None:
        return
    with contextlib.suppress(StateError, OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(path, msgspec.json.encode(_Cache(key, entries)))
