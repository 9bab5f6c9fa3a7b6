"""The models in Ollama's store.

`manifests/HOST/NAMESPACE/MODEL/TAG` is a JSON list of layers, `blobs/sha256-DIGEST` are their bytes
(ollama manifest/manifest.go, manifest/paths.go). Since 2026 manifests are blobs themselves, linked from
`manifests-v2`, and one may list others, for MLX and for GGUF. Some models of Ollama's own engine are
GGUFs that llama.cpp does not load, which shows only when they are loaded.
"""

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from relayd.models.choice import quant_of
from relayd.models.ondisk import Found
from relayd.models.shelf import size_of
from relayd.units import MIB

MODEL = "application/vnd.ollama.image.model"
PROJECTOR = "application/vnd.ollama.image.projector"
MANIFEST_BYTES = 1 * MIB

_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")
_DEFAULT_HOSTS = frozenset({"registry.ollama.ai", "ollama.com"})


class _ManifestLayer(msgspec.Struct, frozen=True, rename="camel"):
    media_type: str
    digest: str


class _Manifest(msgspec.Struct, frozen=True):
    layers: tuple[_ManifestLayer, ...] = ()
    manifests: tuple["_Manifest", ...] = ()
    digest: str = ""


def ollama_folders(environ: Mapping[str, str], home: Path) -> tuple[Path, ...]:
    """Return the folders Ollama may keep models in: of this user, and of its system service."""
    chosen = [Path(environ["OLLAMA_MODELS"])] if environ.get("OLLAMA_MODELS") else []
    services = (
        "/usr/share/ollama/.ollama/models",
        "/var/lib/ollama/models",
        "/var/lib/ollama/.ollama/models",
    )
    return (*chosen, home / ".ollama" / "models", *map(Path, services))


def ollama_models(folder: Path) -> Iterator[Found]:
    """Return the models of a folder of Ollama's, by their tags.

    A model without its GGUF on disk, as while it is pulled, is left out; so is one in several.
    """
    tags = [
        (root, path)
        for root in ("manifests-v2", "manifests")
        for path in sorted(folder.glob(f"{root}/*/*/*/*"))
    ]
    seen: set[str] = set()
    for root, path in tags:
        name = _name(path.relative_to(folder / root).parts)
        layers = _layers(folder, path)
        models = [blob for media, blob in layers if media == MODEL]
        projectors = tuple(blob for media, blob in layers if media == PROJECTOR)
        if name not in seen and name.isprintable() and len(models) == 1 and _is_gguf(models[0]):
            seen.add(name)
            yield Found(
                name,
                (models[0],),
                size_of(models[0]),
                "ollama",
                projectors=projectors,
                quant=quant_of(name.replace(":", "-")),
                digests=tuple((blob, blob.name.removeprefix("sha256-")) for blob in (*models, *projectors)),
            )


def _name(parts: tuple[str, ...]) -> str:
    """Return a tag as Ollama writes it: without its own host, and without `library`."""
    host, namespace, model, tag = parts
    path = [] if host in _DEFAULT_HOSTS else [host]
    path += [] if namespace == "library" and not path else [namespace]
    return "/".join([*path, model]) + f":{tag}"


def _layers(folder: Path, path: Path) -> list[tuple[str, Path]]:
    """Return kinds and bytes of a manifest's layers, those of the manifests it lists included."""
    manifest = _read(path)
    listed = [one if one.layers else _read(_blob(folder, one.digest)) for one in manifest.manifests]
    layers: Iterable[_ManifestLayer] = (layer for one in (manifest, *listed) for layer in one.layers)
    return [(layer.media_type, blob) for layer in layers if (blob := _blob(folder, layer.digest))]


def _read(path: Path | None) -> _Manifest:
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        if path and path.stat().st_size <= MANIFEST_BYTES:
            return msgspec.json.decode(path.read_bytes(), type=_Manifest)
    return _Manifest()


def _blob(folder: Path, digest: str) -> Path | None:
    found = _DIGEST.fullmatch(digest)
    return folder / "blobs" / f"sha256-{found[1]}" if found else None


def _is_gguf(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(4) == b"GGUF"
    except OSError:
        return False
