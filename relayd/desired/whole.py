"""Which models on disk are all there: each file's whole header is read, once as long as it stays as it is.

A header with a vocabulary of 150,000 takes 50 ms, so that a list of many models would wait for seconds: files
that were whole are remembered in the cache folder by their size and time.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from relayd.desired.judged import judge
from relayd.errors import ModelFileError, StateError
from relayd.files import write_atomic
from relayd.models.ondisk import Found
from relayd.models.skipped import Skipped, skipped_for

LAYOUT = 1
FILE_NAME = "whole-models.json"
_MOST_BYTES = 16 << 20

_Stamp = tuple[int, int]
"""Bytes and time of the last change, in ns, of all parts of a model."""


class _Remembered(msgspec.Struct, frozen=True):
    """The file: first file of each model that was whole, and its stamp."""

    whole: dict[str, _Stamp]
    layout: int = LAYOUT


def whole_models(found: Iterable[Found], cache: Path, skip: Callable[[Skipped], None]) -> list[Found]:
    """Return the models whose files are all there and that can be served, as far as relayd knows.

    Args:
        found: Models on disk; what is inside a llamafile is taken as it is.
        cache: A folder of what can be made again; it need not exist or be writable.
        skip: Called with each file that is left out.
    """
    before, now, kept = _read(cache), dict[str, _Stamp](), list[Found]()
    for one in found:
        path, stamp = one.files[0], _stamp(one)
        if not one.embedded and before.get(str(path)) != stamp:
            try:
                judge(path, None)
            except ModelFileError as error:
                skip(skipped_for(path, error))
                continue
        if not one.embedded:
            now[str(path)] = stamp
        kept.append(one)
    if now != before:
        _write(cache, now)
    return kept


def _stamp(one: Found) -> _Stamp:
    sizes, times = [0], [0]
    for path in one.files:
        with suppress(OSError):
            found = path.stat()
            sizes.append(found.st_size)
            times.append(found.st_mtime_ns)
    return sum(sizes), max(times)


def _read(cache: Path) -> dict[str, _Stamp]:
    """Return what is remembered; nothing where that cannot be read."""
    with suppress(OSError, msgspec.MsgspecError, ValueError), (cache / FILE_NAME).open("rb") as file:
        remembered = msgspec.json.decode(file.read(_MOST_BYTES), type=_Remembered)
        return remembered.whole if remembered.layout == LAYOUT else {}
    return {}


def _write(cache: Path, whole: dict[str, _Stamp]) -> None:
    with suppress(OSError, StateError):
        cache.mkdir(parents=True, exist_ok=True)
        write_atomic(cache / FILE_NAME, msgspec.json.encode(_Remembered(whole)))
