"""Do responses that clients can still name outlive the daemon (a file of the state folder)?

Only where that is asked for: they hold prompts and answers as plain text. The file is for this user alone
(0600), has the bounds of what is kept in memory, and goes away once it is not asked for any more.
"""

import asyncio
from pathlib import Path

import msgspec

from relayd.api.kept import KeptResponses, SavedResponse
from relayd.clock import Clock
from relayd.errors import StateError
from relayd.journal import Journal
from relayd.store.kept import SCHEMA, KeptFile

FILE = "responses.json"

SAVE_SECONDS = 30.0
"""How often what is new is written: a daemon that is killed loses that much."""


class _ResponsesFile(msgspec.Struct, frozen=True, kw_only=True):
    responses: tuple[SavedResponse, ...] = ()
    schema: int = SCHEMA


class KeptOnDisk:
    """Writes kept responses down, and reads those of the daemon before.

    Args:
        kept: The responses.
        clock: Time.
    """

    def __init__(self, kept: KeptResponses, clock: Clock) -> None:
        self._kept = kept
        self._clock = clock
        self._path: Path | None = None
        self._saved = kept.changes
        self._journal = Journal("responses")

    def __repr__(self) -> str:
        return f"<KeptOnDisk {self._path or 'nowhere'}: {self._kept!r}>"

    async def open(self, state: Path, *, enabled: bool) -> None:
        """Begin: read what is there, or remove it where none may be.

        Args:
            state: The state folder.
            enabled: Whether responses may be on disk.
        """
        path = state / FILE
        if not enabled:
            await asyncio.to_thread(path.unlink, missing_ok=True)
            return
        self._path = path
        self._journal.warning("responses.on_disk", path=path)
        if found := await asyncio.to_thread(KeptFile(path, _ResponsesFile).read):
            self._kept.recall(found.responses, self._clock.wall())
            self._saved = self._kept.changes

    def leave_off(self) -> None:
        """Write nothing more: another daemon does."""
        self._path = None

    async def run(self) -> None:
        """Write what is new every few seconds, without end."""
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            await self.save()

    async def save(self) -> None:
        """Write what is new; what cannot be written is tried again the next time."""
        path, changes = self._path, self._kept.changes
        if path is None or changes == self._saved:
            return
        document = _ResponsesFile(responses=self._kept.saved(self._clock.wall()))
        try:
            await asyncio.to_thread(KeptFile(path, _ResponsesFile).write, document)
        except StateError as error:
            self._journal.warning("responses.not_written", message=error.message)
        else:
            self._saved = changes
