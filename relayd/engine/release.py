"""Official llama.cpp releases: choosing, downloading and unpacking an archive."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from relayd.engine.host import Cuda, Host
from relayd.engine.installed import Installed, engine_id
from relayd.errors import FetchError
from relayd.fetch import FIRST_BYTE_SECONDS, fetch, fetch_bytes, fetch_json
from relayd.progress import Progress
from relayd.units import GIB, MIB, show_bytes

GITHUB = "https://api.github.com/repos/ggml-org/llama.cpp"

_MAX_LISTING = 8 * MIB
_MAX_ARCHIVE = 2 * GIB
_POINTER = "nightly-tag.txt"
_CUDA_13_CAPABILITY = (7, 5)
"""CUDA 13 makes no code for GPUs before Turing."""


class Asset(msgspec.Struct, frozen=True):
    """A file of a release, as GitHub's API lists it."""

    name: str
    browser_download_url: str
    size: int
    digest: str | None = None


class Release(msgspec.Struct, frozen=True):
    """A release of llama.cpp, as GitHub's API lists it."""

    tag_name: str
    assets: tuple[Asset, ...] = ()

    def asset(self, name: str) -> Asset | None:
        """Return the file of that name, if there is one."""
        return next((asset for asset in self.assets if asset.name == name), None)


@dataclass(frozen=True, slots=True)
class EngineDownload:
    """The archives that make an engine together; the first holds llama-server."""

    tag: str
    backend: str
    assets: tuple[Asset, ...]

    @property
    def size(self) -> int:
        """Bytes to download."""
        return sum(asset.size for asset in self.assets)


def newest(api_url: str, *, timeout_seconds: float = FIRST_BYTE_SECONDS) -> Release:
    """Return the newest stable release that has binaries.

    `releases/latest` is a version such as v0.6.0 whose only file names the build (b11429) that
    carries the archives; before llama.cpp had versions it was that build itself.

    Raises:
        HostSilentError: GitHub did not answer in time.
        FetchError: It answered, but not with a release.
    """
    release = _release(f"{api_url}/releases/latest", timeout_seconds)
    pointer = release.asset(_POINTER)
    if pointer is None:
        return release
    text = fetch_bytes(pointer.browser_download_url, 1024, timeout_seconds=timeout_seconds)
    tag = text.decode(errors="replace").strip()
    if not re.fullmatch(r"b\d+", tag):
        raise FetchError(f"release {release.tag_name} names {tag!r} as its build")
    return _release(f"{api_url}/releases/tags/{tag}", timeout_seconds)


def _release(url: str, timeout_seconds: float) -> Release:
    headers = {"Accept": "application/vnd.github+json"}
    listing: Any = fetch_json(url, _MAX_LISTING, headers=headers, timeout_seconds=timeout_seconds)
    try:
        return msgspec.convert(listing, Release)
    except msgspec.ValidationError as error:
        raise FetchError(f"{url} does not list a release: {error}") from error


def choose(release: Release, host: Host) -> EngineDownload | None:
    """Return the archives of `release` for this machine, None where it has none.

    The CUDA build comes first where there is an NVIDIA driver (with the CUDA libraries, which only a
    toolkit would bring otherwise), then the Vulkan build, then the plain one.
    """
    prefix = f"llama-{release.tag_name}-bin"
    if host.system == "darwin":
        backend = "metal" if host.machine == "arm64" else "cpu"
        return _choice(release, backend, f"{prefix}-macos-{host.machine}")
    if host.system != "linux":
        return None
    if host.cuda and (version := _cuda_version(release, host.machine, host.cuda)):
        stem = f"{prefix}-ubuntu-cuda-{version}-{host.machine}"
        if choice := _choice(release, "cuda", stem, f"cudart-{stem}"):
            return choice
    if host.vulkan and (choice := _choice(release, "vulkan", f"{prefix}-ubuntu-vulkan-{host.machine}")):
        return choice
    return _choice(release, "cpu", f"{prefix}-ubuntu-{host.machine}")


def _choice(release: Release, backend: str, *stems: str) -> EngineDownload | None:
    found = tuple(
        next(filter(None, (release.asset(stem + end) for end in (".tar.gz", ".zip"))), None) for stem in stems
    )
    assets = tuple(asset for asset in found if asset is not None)
    return EngineDownload(release.tag_name, backend, assets) if len(assets) == len(stems) else None


def _cuda_version(release: Release, machine: str, cuda: Cuda) -> str | None:
    """Return the newest CUDA of the release whose major version driver and GPU can run."""
    pattern = re.compile(rf"llama-.*-ubuntu-cuda-(\d+)\.(\d+)-{machine}\..*")
    names = (pattern.fullmatch(asset.name) for asset in release.assets)
    versions = [(int(match[1]), int(match[2])) for match in names if match]
    # Within a major version an older driver runs what a newer toolkit made.
    newest_major = 12 if cuda.capability < _CUDA_13_CAPABILITY else cuda.driver[0]
    usable = [version for version in versions if version[0] <= min(newest_major, cuda.driver[0])]
    return "{}.{}".format(*max(usable)) if usable else None


def describe(choice: EngineDownload) -> str:
    """Return one line: what will be fetched, and how much it is."""
    return f"Fetching llama.cpp {choice.tag} ({choice.backend}) from its release: {show_bytes(choice.size)}."


def unpack_release(
    choice: EngineDownload,
    staging: Path,
    host: Host,
    progress: Progress,
    pinned: Mapping[str, str],
    *,
    verify: bool = True,
) -> Installed:
    """Fetch and unpack `choice` into `staging/bin`, and return its manifest.

    Args:
        choice: What to fetch.
        staging: An empty folder.
        host: This machine.
        progress: Called as bytes arrive.
        pinned: SHA-256 by archive name; stronger than the API's digest.
        verify: Whether an archive without a known SHA-256 is refused.

    Raises:
        HashMismatchError: An archive is not what the API, or the operator, promised.
        FetchError: An archive did not arrive, or has no known SHA-256.
        EngineError: An archive cannot be unpacked safely.
    """
    from relayd.engine.archive import gather, unpack  # noqa: PLC0415 - else every daemon holds tarfile

    for number, asset in enumerate(choice.assets):
        archive, folder = staging / asset.name, staging / f"unpacked-{number}"
        fetch(
            asset.browser_download_url,
            archive,
            sha256=_promised(asset, pinned, verify=verify),
            max_bytes=_MAX_ARCHIVE,
            progress=_reporter(progress, asset),
        )
        folder.mkdir()
        unpack(archive, folder)
        archive.unlink()
        gather(folder, "lib*" if number else "llama-server", staging / "bin")
    first = choice.assets[0]
    return Installed(
        id=engine_id(choice.tag, choice.backend, host.cpu_key),
        source="release",
        version=choice.tag,
        build=int(choice.tag[1:]) if re.fullmatch(r"b\d+", choice.tag) else None,
        backend=choice.backend,
        cpu=host.cpu_key,
        origin=first.browser_download_url,
        sha256=_promised(first, pinned, verify=verify),
    )


def _promised(asset: Asset, pinned: Mapping[str, str], *, verify: bool) -> str:
    if asset.name in pinned:
        return pinned[asset.name]
    kind, _, digest = (asset.digest or "").partition(":")
    if kind == "sha256" and re.fullmatch(r"[0-9a-f]{64}", digest):
        return digest
    if verify:
        raise FetchError(
            f"the release gives no SHA-256 for {asset.name}",
            remedy="Pin one in relay.toml with [engine] release_sha256, or take it unchecked: "
            "relayd engine install --no-verify.",
        )
    return ""


def _reporter(progress: Progress, asset: Asset) -> Any:
    def report(done: int, total: int | None) -> None:
        progress.at(f"{asset.name} ({show_bytes(asset.size)})", done / (total or asset.size or 1))

    return report
