"""What a pull argument names: a catalogue entry, a repository, or a URL.

What is typed, and what a hub lists, becomes paths on this disk: nothing here leaves its folder.
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from relayd.errors import UsageError

HUB_PREFIX = "hf:"
LONGEST_NAME_BYTES = 200
"""Of a file; file systems hold 255, and `.part.etag` is added while it arrives."""

_REPO = re.compile(
    r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?/[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?"
)
_QUANT = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*\.(?:gguf|llamafile)")
_HUB_PATH = re.compile(r"/(?P<repo>[^/]+/[^/]+)/(?:resolve|blob)/(?P<revision>[^/]+)/(?P<file>.+)")
_HUB_HOSTS = frozenset({"huggingface.co", "www.huggingface.co", "hf.co"})
_HUB_PLACE = re.compile(r"(?:hf:|(?:www\.)?huggingface\.co/|hf\.co/)", re.IGNORECASE)
_REPO_PLACE = re.compile(rf"{_REPO.pattern}(?:/[^:]+)?(?::[^/]*)?")
_SUFFIXES = (".gguf", ".llamafile", ".llamafile.exe")


@dataclass(frozen=True, slots=True)
class Named:
    """`NAME[:QUANT]` of the catalogue."""

    text: str


@dataclass(frozen=True, slots=True)
class InRepo:
    """A repository on the hub, or one file of it.

    Attributes:
        repo: `OWNER/NAME`.
        file: Path in it; "" leaves the choice to us.
        quant: The quantization that is wanted; "" leaves the choice to us.
        revision: Branch, tag or commit.
    """

    repo: str
    file: str = ""
    quant: str = ""
    revision: str = "main"


@dataclass(frozen=True, slots=True)
class AtUrl:
    """A file at an address; `name` is what it is called here."""

    url: str
    name: str


Source = Named | InRepo | AtUrl


def parse_source(text: str, hub_host: str = "") -> Source:
    """Return what `NAME[:QUANT]`, `[hf:|hf.co/]OWNER/REPO[/FILE][:QUANT]` or an address means.

    Args:
        text: As it was typed.
        hub_host: Host of the hub, beside Hugging Face's own: an address there means its repository.

    Raises:
        UsageError: It is none of these, or would leave the folder of models.
    """
    text = text.strip()
    if re.match(r"https?://", text, re.IGNORECASE):
        return _at_url(text, _HUB_HOSTS | {hub_host})
    if place := _HUB_PLACE.match(text):
        return _in_repo(text[place.end() :])
    if "/" not in text and not text.startswith("."):
        return Named(text)
    is_file = text.count("/") == 1 and text.lower().endswith(_SUFFIXES)
    if is_file or not _REPO_PLACE.fullmatch(text):
        raise UsageError(
            f"{text!r} is not a valid name of a model or of a repository",
            remedy="A repository is written OWNER/NAME, an address begins with https://. "
            "For a file on this disk: relayd run FILE, relayd serve FILE.",
        )
    return _in_repo(text)


def safe_path(path: str) -> str:
    """Return a relative path that stays in its folder.

    Raises:
        UsageError: It is absolute, climbs, or has parts that no file can have.
    """
    for part in path.split("/"):
        if part in {"", ".", ".."} or "\\" in part or not part.isprintable():
            raise UsageError(f"{path!r} is not a path inside a repository")
        if len(part.encode()) > LONGEST_NAME_BYTES:
            raise UsageError(f"{part[:40]!r}… is longer than the {LONGEST_NAME_BYTES} bytes of a file name")
    return path


def safe_repo(repo: str) -> str:
    """Return `OWNER/NAME` as the hub allows it.

    Raises:
        UsageError: It is not.
    """
    if not _REPO.fullmatch(repo) or "--" in repo or ".." in repo or len(repo) > 2 * 96 + 1:
        raise UsageError(
            f"{repo!r} is not a valid repository name", remedy="Write it OWNER/NAME, as on the hub."
        )
    return repo


def safe_file_name(name: str) -> str:
    """Return the name of a model file that is safe in our folder.

    Raises:
        UsageError: It is not `*.gguf` or `*.llamafile`, or has characters that mean something elsewhere.
    """
    if not _FILE_NAME.fullmatch(name) or len(name) > LONGEST_NAME_BYTES:
        raise UsageError(
            f"{name[:80]!r} is not a valid name of a model file",
            remedy="Names end with .gguf or .llamafile and have letters, digits and . _ + - in them.",
        )
    return name


def _in_repo(text: str) -> InRepo:
    place, colon, quant = text.partition(":")
    if colon and not _QUANT.fullmatch(quant):
        raise UsageError(f"{quant!r} is not a valid quantization", remedy="They look like Q4_K_M.")
    owner, _, rest = place.partition("/")
    name, _, file = rest.partition("/")
    return InRepo(safe_repo(f"{owner}/{name}"), safe_path(file) if file else "", quant)


def _at_url(url: str, hub_hosts: frozenset[str]) -> Source:
    parts = urlsplit(url)
    if parts.netloc in hub_hosts:
        found = _HUB_PATH.fullmatch(unquote(parts.path))
        if found:
            return InRepo(
                safe_repo(found["repo"]), safe_path(found["file"]), revision=safe_path(found["revision"])
            )
        if parts.path.strip("/").count("/") == 1:
            return InRepo(safe_repo(parts.path.strip("/")))
    return AtUrl(url, safe_file_name(unquote(parts.path.rpartition("/")[2])))
