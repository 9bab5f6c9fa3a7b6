"""One small JSON document of the state folder that outlives daemons (kept file)."""

from pathlib import Path
from typing import Generic, Protocol, TypeVar

import msgspec

from relayd.errors import StateError
from relayd.files import quarantine, write_atomic
from relayd.journal import Journal

SCHEMA = 1
"""The layout that this build reads and writes."""


class Versioned(Protocol):
    """A document that states its layout."""

    @property
    def schema(self) -> int:
        """The number of the layout."""
        ...


Document = TypeVar("Document", bound=Versioned)


class KeptFile(Generic[Document]):
    """Reads and writes one document; one that cannot be read is moved aside and reported.

    Args:
        path: The file.
        kind: What the document is.
    """

    def __init__(self, path: Path, kind: type[Document]) -> None:
        self._path = path
        self._decoder = msgspec.json.Decoder(kind)
        self._journal = Journal("store")

    def __repr__(self) -> str:
        return f"<KeptFile {self._path}>"

    def read(self) -> Document | None:
        """Return the document; None where there is none that can be read. Blocks."""
        try:
            document = self._decoder.decode(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            self._put_aside(str(error))
            return None
        if document.schema != SCHEMA:
            self._put_aside(f"schema {document.schema}")
            return None
        return document

    def write(self, document: Document) -> None:
        """Replace it. Blocks.

        Raises:
            StateError: The disk is full, or the folder is gone.
        """
        write_atomic(self._path, msgspec.json.encode(document))

    def _put_aside(self, why: str) -> None:
        try:
            aside = quarantine(self._path)
        except StateError as error:
            message = f"{why}; {error.message}"
            self._journal.error("state.unreadable", path=self._path, message=message)
        else:
            self._journal.warning("state.put_aside", path=aside, message=why)
