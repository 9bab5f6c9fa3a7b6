"""The Hugging Face hub: listing repositories, and the layout of its cache.

The cache is the one of huggingface_hub, which llama.cpp shares: a file is `blobs/SHA256`, and
`snapshots/COMMIT/PATH` is a link to it that appears when all files of a model are whole.
huggingface_hub itself is not used: one request lists a repository with every digest, and the rest is
what `relayd.fetch` does for all downloads; the package would bring ten more.
"""

import contextlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

import msgspec

from relayd.errors import FetchError, StateError, UsageError
from relayd.fetch import FIRST_BYTE_SECONDS, fetch_json
from relayd.files import write_atomic
from relayd.models.hubcache import hub_caches, hub_home
from relayd.models.source import safe_path
from relayd.secret import Secret
from relayd.units import MIB

HUB = "https://huggingface.co"
LISTING_BYTES = 32 * MIB
"""Longest list of files; one takes 300 bytes."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TOKEN = re.compile(r"[\x21-\x7e]{1,512}")


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file the hub has.

    Attributes:
        path: Where in the repository.
        bytes: Its size.
        sha256: What its bytes must hash to.
    """

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository as it was at one commit.

    Attributes:
        name: `OWNER/NAME`.
        revision: The branch or tag it was asked for.
        commit: 40 hexadecimal digits.
        files: Those with a digest to check them by, by path: the large ones.
        unchecked: Models of which the hub lists no digest, as mirrors do at times; path → size, 0 is unknown.
    """

    name: str
    revision: str
    commit: str
    files: Mapping[str, HubFile]
    unchecked: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hub:
    """A hub and its cache on this disk.

    Attributes:
        cache: Folder of `models--OWNER--NAME`.
        endpoint: Address without a slash at its end.
        token: Sent to the hub, and not to hosts it redirects to; empty for none.
        timeout_seconds: How long the hub may be silent.
    """

    cache: Path
    endpoint: str = HUB
    token: Secret = field(default_factory=lambda: Secret(""))
    timeout_seconds: float = FIRST_BYTE_SECONDS

    @property
    def host(self) -> str:
        """Host and port of the hub."""
        return urlsplit(self.endpoint).netloc

    @property
    def headers(self) -> dict[str, str]:
        """What is sent along to the hub."""
        return {"Authorization": f"Bearer {self.token.reveal()}"} if self.token else {}

    def look(self, repo: str, revision: str = "main") -> Repository:
        """Return the files of a repository, with their digests.

        Raises:
            UsageError: There is none of that name, or it is closed to us.
            FetchError: The hub does not answer as it should.
        """
        url = f"{self.endpoint}/api/models/{repo}/revision/{quote(revision, safe='')}?blobs=true"
        try:
            document = fetch_json(
                url, LISTING_BYTES, headers=self.headers, timeout_seconds=self.timeout_seconds
            )
            info = msgspec.convert(document, _Info)
        except FetchError as error:
            raise self.explained(error, repo) from error
        except msgspec.ValidationError as error:
            raise FetchError(
                f"{self.host} describes {repo} in a way relayd does not know: {error}"
            ) from error
        if not _COMMIT.fullmatch(info.sha):
            raise FetchError(f"{self.host} names no commit of {repo}")
        files = {file.path: file for sibling in info.siblings if (file := _file(sibling))}
        unchecked = {
            sibling.rfilename: max(0, sibling.size or 0)
            for sibling in info.siblings
            if sibling.rfilename not in files and _is_model(sibling.rfilename)
        }
        return Repository(repo, revision, info.sha, files, unchecked)

    def explained(self, error: FetchError, repo: str) -> FetchError | UsageError:
        """Return what a refusal of the hub means; any other error as it is."""
        status = getattr(error, "status", 0)
        if status in {401, 403}:
            how = "the token was refused" if self.token else "no token was sent"
            return UsageError(
                f"{self.host} does not give {repo}: {status}, and {how}",
                remedy=f"It may be misspelled or private, or its licence waits: accept it at "
                f"{self.endpoint}/{repo}, then set HF_TOKEN.",
            )
        if status == 404:
            return UsageError(
                f"{self.host} has no {repo}", remedy="Check the name, upper and lower case too."
            )
        return error

    def url(self, repository: Repository, path: str) -> str:
        """Return where a file's bytes are."""
        return f"{self.endpoint}/{repository.name}/resolve/{repository.commit}/{quote(path)}"

    def folder(self, repo: str) -> Path:
        """Return the folder of a repository."""
        return self.cache / f"models--{repo.replace('/', '--')}"

    def blob(self, repo: str, file: HubFile) -> Path:
        """Return the path of a file's bytes."""
        return self.folder(repo) / "blobs" / file.sha256

    def lock(self, repo: str, file: HubFile) -> Path:
        """Return the lock that huggingface_hub takes too while it fetches a file."""
        return self.cache / ".locks" / self.folder(repo).name / f"{file.sha256}.lock"

    def link(self, repository: Repository, path: str) -> Path:
        """Return the name by which a file is opened."""
        return self.folder(repository.name) / "snapshots" / repository.commit / path

    def publish(self, repository: Repository, paths: Iterable[str]) -> None:
        """Give files that are whole their names, and remember the commit of the revision.

        Raises:
            StateError: The cache cannot be written.
        """
        try:
            for path in paths:
                _link(self.link(repository, path), self.blob(repository.name, repository.files[path]))
            ref = self.folder(repository.name) / "refs" / repository.revision
            if not _COMMIT.fullmatch(repository.revision):
                ref.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(ref, repository.commit.encode(), mode=0o644)
        except OSError as error:
            raise StateError(f"{self.cache} cannot be written: {error.strerror}") from error


def hub_of(environ: Mapping[str, str], home: Path) -> Hub:
    """Return the hub this environment means, by the variables of huggingface_hub.

    Raises:
        UsageError: The token cannot be one.
    """
    endpoint = environ.get("HF_ENDPOINT", "").rstrip("/") or HUB
    return Hub(hub_caches(environ, home)[0], endpoint, _token(environ, home))


def _token(environ: Mapping[str, str], home: Path) -> Secret:
    """Return the token of the environment, else the one that `hf auth login` left."""
    token = environ.get("HF_TOKEN") or environ.get("HUGGING_FACE_HUB_TOKEN") or ""
    if not token:
        file = Path(environ.get("HF_TOKEN_PATH") or hub_home(environ, home) / "token")
        with contextlib.suppress(OSError, UnicodeDecodeError):
            token = file.read_text()
    token = token.strip()
    if token and not _TOKEN.fullmatch(token):
        raise UsageError("the token of the hub has characters that no token has", remedy="Set HF_TOKEN anew.")
    return Secret(token)


class _Lfs(msgspec.Struct, frozen=True):
    sha256: str
    size: int


class _Sibling(msgspec.Struct, frozen=True):
    rfilename: str
    lfs: _Lfs | None = None
    size: int | None = None


class _Info(msgspec.Struct, frozen=True):
    sha: str
    siblings: tuple[_Sibling, ...] = ()


def _file(sibling: _Sibling) -> HubFile | None:
    """Return a file that can be checked and that stays in its folder, else None."""
    lfs = sibling.lfs
    if lfs is None or lfs.size < 0 or not _SHA256.fullmatch(lfs.sha256):
        return None
    try:
        return HubFile(safe_path(sibling.rfilename), lfs.size, lfs.sha256)
    except UsageError:
        return None


def _is_model(path: str) -> bool:
    """Return whether a path is that of a model that stays in its folder."""
    try:
        return safe_path(path).endswith(".gguf")
    except UsageError:
        return False


def _link(link: Path, blob: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    temporary = link.with_name(f".{blob.name[:16]}.{os.getpid()}.link")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(os.path.relpath(blob, link.parent))
    temporary.replace(link)
