"""Where does each line of a batch stand in its file, and in which order are they run (index of lines)?

The index is a file: a line of JSON with the format and the names, then a record of fixed length for each
line, in the order of running. It is made when the lines are read for the first time.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from relayd.batch.place import written
from relayd.errors import StateError
from relayd.files import write_atomic

FORMAT = 1

_RECORD = struct.Struct("<QIIHH")


class BatchLine(NamedTuple):
    """One line.

    Attributes:
        start: Where it begins in the file.
        size: Its bytes.
        number: Its number in the file, from 1.
        model: Which of the models of the index it names.
        url: Which of the paths.
    """

    start: int
    size: int
    number: int
    model: int
    url: int


class _IndexHead(msgspec.Struct, frozen=True):
    format: int
    count: int
    last: int
    models: tuple[str, ...]
    urls: tuple[str, ...]


class LineIndex:
    """The lines of a batch, in the order of running.

    Attributes:
        models: The names of models; empty for none.
        urls: The paths.
        last: The largest number of a line.
    """

    def __init__(self, records: bytes, models: Sequence[str], urls: Sequence[str], last: int) -> None:
        self._records = records
        self.models = tuple(models)
        self.urls = tuple(urls)
        self.last = last

    def __repr__(self) -> str:
        return f"<LineIndex {len(self)} lines, {len(self.models)} models>"

    def __len__(self) -> int:
        return len(self._records) // _RECORD.size

    def __iter__(self) -> Iterator[BatchLine]:
        """Yield the lines in the order of running."""
        return map(BatchLine._make, _RECORD.iter_unpack(self._records))

    def __getitem__(self, place: int) -> BatchLine:
        """Return the line that is run at a place, from 0."""
        return BatchLine(*_RECORD.unpack_from(self._records, place * _RECORD.size))

    @classmethod
    def of(cls, lines: Iterable[BatchLine], models: Sequence[str], urls: Sequence[str]) -> "LineIndex":
        """Return the index of some lines, in this order."""
        records, last = bytearray(), 0
        for line in lines:
            records += _RECORD.pack(*line)
            last = max(last, line.number)
        return cls(bytes(records), models, urls, last)

    def write(self, path: Path) -> None:
        """Write it, on disk when this returns. Blocks.

        Raises:
            StateError: It cannot be written.
        """
        head = _IndexHead(FORMAT, len(self), self.last, self.models, self.urls)
        with written(path):
            write_atomic(path, msgspec.json.encode(head) + b"\n" + self._records)

    @classmethod
    def read(cls, path: Path) -> "LineIndex":
        """Return the index in a file. Blocks.

        Raises:
            StateError: There is none that can be read.
        """
        try:
            head_line, _, records = path.read_bytes().partition(b"\n")
            head = msgspec.json.decode(head_line, type=_IndexHead)
        except (OSError, msgspec.MsgspecError) as error:
            raise StateError(f"{path} cannot be read: {error}") from error
        if head.format != FORMAT or len(records) != head.count * _RECORD.size:
            raise StateError(f"{path} has another format, or is not whole")
        return cls(records, head.models, head.urls, head.last)
