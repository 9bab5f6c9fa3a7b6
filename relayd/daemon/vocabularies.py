"""How many bytes can one token of a model stand for, which bounds the text that its context holds?"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from relayd.errors import ModelFileError
from relayd.gguf import read_metadata


class Vocabularies:
    """The longest token of each model file, read aside when it is first asked for."""

    def __init__(self) -> None:
        self._on_known: Callable[[], None] = lambda: None
        self._known: dict[str, int] = {}
        self._reading: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Vocabularies known={len(self._known)} reading={len(self._reading)}>"

    def on_known(self, changed: Callable[[], None]) -> None:
        """Call `changed` when another one is known."""
        self._on_known = changed

    def longest_token(self, file: str) -> int:
        """Return the bytes of a model's longest token; 0 until that is known, and where it cannot be."""
        if file not in self._known:
            self._known[file] = 0
            task = asyncio.get_running_loop().create_task(self._read(file))
            self._reading.add(task)
            task.add_done_callback(self._reading.discard)
        return self._known[file]

    def forget(self) -> None:
        """Read the files again: they may have been replaced."""
        self._known.clear()

    async def _read(self, file: str) -> None:
        found = await asyncio.to_thread(_longest_token, Path(file))
        if file in self._known and found:
            self._known[file] = found
            self._on_known()


def _longest_token(file: Path) -> int:
    try:
        return read_metadata(file).longest_token
    except ModelFileError:
        return 0
