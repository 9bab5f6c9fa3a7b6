"""Which thread uses the database, and while which daemon may it?

The database follows the lock of the daemon: before another one takes over it is closed here.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from relayd.errors import StateError
from relayd.store.database import Database

T = TypeVar("T")


class DatabaseThread:
    """Opens the database when it is first needed, and does all work with it one after the other.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, "database")
        self._database: Database | None = None
        self._is_given_up = False

    def __repr__(self) -> str:
        state = "given up" if self._is_given_up else "open" if self._database else "not open"
        return f"<DatabaseThread {state}>"

    async def run(self, work: Callable[[Database], T]) -> T:
        """Return what work with the database gives; the file is made if it is missing.

        Raises:
            StateError: It cannot be opened, or another daemon is about to take over.
        """
        return await self._aside(lambda: work(self._opened()))

    async def read(self, work: Callable[[Database], T], otherwise: T) -> T:
        """Return what a look into the database gives, or something else where there is no file yet.

        Raises:
            StateError: It cannot be opened, or another daemon is about to take over.
        """

        def look() -> T:
            return work(self._opened()) if self._path.exists() else otherwise

        return await self._aside(look)

    async def close(self) -> None:
        """Close the file; work from now on is refused."""
        self._is_given_up = True
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)

    def take_back(self) -> None:
        """Allow work again: no other daemon has taken over."""
        self._is_given_up = False

    async def _aside(self, work: Callable[[], T]) -> T:
        if self._is_given_up:
            raise StateError(
                "this daemon ends, or another one is taking over", remedy="Try again in a moment."
            )
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _opened(self) -> Database:
        if self._database is None:
            self._database = Database.open(self._path)
        return self._database

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
