"""The lines of a llamafile catalogue, as ModelRelay keeps them.

    slug|display name|bytes|size for people|licence|file name|URL|tags

Its sizes are rounded, up to 4 % off, and one is a copy of another model's; a size that its quantization
cannot have is refused.
"""

import re
from collections.abc import Iterator
from typing import get_args
from urllib.parse import urlsplit

import msgspec

from relayd.catalog.entry import Capability, CatalogEntry, FactSources, ModelFile
from relayd.errors import UsageError
from relayd.units import Bytes

FIELDS = 8
SOURCE = "line of a llamafile catalogue, rounded"

LICENSES = {"gemma 3": "gemma", "apache 2.0": "apache-2.0"}
"""Labels that are spelled otherwise here, beside those that only lose their spaces."""

_QUANT = re.compile(r"(?:UD-)?I?Q(\d)_[A-Z0-9]+(?:_[A-Z]+)*|MXFP(4)|BF(16)|F(16|32)", re.IGNORECASE)
_BILLIONS = re.compile(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)b(?![a-z0-9])", re.IGNORECASE)
_HUGGING_FACE = re.compile(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)")


def read_lines(text: str) -> Iterator[CatalogEntry]:
    """Return a model for each line; empty lines and those that begin with # do not count.

    Raises:
        UsageError: A line has other fields, or an impossible value; its number is named.
    """
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.startswith("#"):
            try:
                yield read_line(line)
            except UsageError as error:
                raise UsageError(f"line {number}: {error.message}", remedy=error.remedy) from error


def read_line(line: str) -> CatalogEntry:
    """Return the model of one line.

    Tags that name no capability are left out; a line without any is a chat model.

    Raises:
        UsageError: It has other fields, or a size that its quantization cannot have.
    """
    fields = [field.strip() for field in line.split("|")]
    if len(fields) != FIELDS:
        raise UsageError(f"{line[:60]!r} has {len(fields)} fields separated by |, not {FIELDS}")
    slug, title, size, _, license_, file_name, url, tags = fields
    if not size.isdecimal() or not int(size):
        raise UsageError(f"{slug}: {size!r} is not a valid size in bytes")
    quant = _quant(file_name)
    _check_size(f"{slug} {title}", int(size), quant)
    wanted = {tag.strip().lower() for tag in tags.split(",")}
    capabilities = tuple(known for known in get_args(Capability) if known in wanted) or ("chat",)
    entry = {
        "name": slug.lower(),
        "title": title,
        "license": LICENSES.get(license_.lower(), license_.lower().replace(" ", "")) or "unknown",
        "capabilities": capabilities,
        "files": (_file(quant[0], Bytes(int(size)), file_name, url),),
        "sources": FactSources(license=(SOURCE,), capabilities=(SOURCE,)),
    }
    try:
        return msgspec.convert(entry, CatalogEntry)
    except msgspec.ValidationError as error:
        raise UsageError(f"{slug}: {error}") from error


def _file(quant: str, size: Bytes, file_name: str, url: str) -> ModelFile:
    parts = urlsplit(url)
    place = _HUGGING_FACE.fullmatch(parts.path) if parts.hostname == "huggingface.co" else None
    if place is None:
        return ModelFile(quant=quant, bytes=size, file=file_name, url=url, source=SOURCE)
    return ModelFile(quant=quant, bytes=size, repo=place[1], file=place[2], source=SOURCE)


def _quant(file_name: str) -> tuple[str, int]:
    """Return the quantization in a file name, and the bits that a weight takes at least."""
    found = _QUANT.search(file_name)
    if found is None:
        return "unknown", 0
    bits = int(next(group for group in found.groups() if group))
    return ("MXFP4_MOE" if found[2] else found[0].upper()), bits


def _check_size(names: str, size: int, quant: tuple[str, int]) -> None:
    """Refuse a file of fewer bits a weight than its quantization has; names give the number of weights."""
    billions = _BILLIONS.search(names)
    if billions is None:
        return
    bits = size * 8 / (float(billions[1]) * 1e9)
    if bits < 0.9 * quant[1]:
        raise UsageError(
            f"{names.partition(' ')[0]}: {size} bytes for {billions[1]}B weights are {bits:.1f} bits each, "
            f"and {quant[0]} takes more than {quant[1]}",
            remedy="Correct the size in the third field, then import the line again.",
        )
