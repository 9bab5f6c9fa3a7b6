"""Which models an operator has pinned or unpinned, kept over daemons: one file of the state folder."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from relayd.store.kept import SCHEMA, KeptFile

FILE = "pins.json"


class _PinsFile(msgspec.Struct, frozen=True, kw_only=True):
    models: dict[str, bool]
    schema: int = SCHEMA


class Pins:
    """What commands have set, by model, where it is not what the configuration has.

    Args:
        state: The state folder.
    """

    def __init__(self, state: Path) -> None:
        self._file = KeptFile(state / FILE, _PinsFile)

    def __repr__(self) -> str:
        return f"<Pins in {self._file!r}>"

    def read(self) -> Mapping[str, bool]:
        """Return what is kept. Blocks."""
        document = self._file.read()
        return document.models if document else {}

    def write(self, models: Mapping[str, bool]) -> None:
        """Keep these, and nothing that was kept before. Blocks.

        Raises:
            StateError: The disk is full, or the folder is gone.
        """
        self._file.write(_PinsFile(models=dict(models)))
