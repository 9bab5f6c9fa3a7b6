"""Which requests does one worker have, and which does it still get?"""

from collections import deque

from relayd.remote.modelrelay.connection import Alarm, WorkerConnection
from relayd.remote.modelrelay.messages import WorkerRequest


class WorkerRequests:
    """The requests of one worker.

    Attributes:
        waiting: Those that are not sent yet.
        running: Those it has, by id.
        left: Those that were cancelled, each with when it counts as over.
        models: Of those it has, or is taken to have.
    """

    def __init__(self) -> None:
        self.waiting: deque[tuple[WorkerConnection, WorkerRequest]] = deque()
        self.running: dict[str, WorkerConnection] = {}
        self.left: dict[str, tuple[WorkerConnection, Alarm]] = {}
        self.models: dict[str, str] = {}
        self._last = 0

    def __repr__(self) -> str:
        return f"waiting={len(self.waiting)} running={len(self.running)} left={len(self.left)}"

    @property
    def taken(self) -> int:
        """How many slots are taken."""
        return len(self.running) + len(self.left)

    @property
    def count(self) -> int:
        """How many requests it has or is to get."""
        return self.taken + len(self.waiting)

    def next_id(self, worker_id: str) -> str:
        """Return a name for a request."""
        self._last += 1
        return f"{worker_id}-{self._last}"

    def taken_beside(self, model: str) -> int:
        """Return how many slots other models take."""
        return sum(one != model for one in self.models.values())

    def finish(self, request_id: str) -> WorkerConnection | None:
        """Forget a request that runs, and return whose it is; None when it does not run."""
        connection = self.running.pop(request_id, None)
        if connection is not None:
            self.models.pop(request_id, None)
        return connection

    def withdraw(self, request_id: str) -> bool:
        """Take back a request that is not sent yet, and return whether it was there."""
        before = len(self.waiting)
        self.waiting = deque(one for one in self.waiting if one[1].request_id != request_id)
        return len(self.waiting) < before

    def take_waiting(self) -> list[tuple[WorkerConnection, WorkerRequest]]:
        """Return, and forget, what is not sent yet."""
        taken = list(self.waiting)
        self.waiting.clear()
        return taken

    def clear(self) -> list[WorkerConnection]:
        """Forget everything, and return whose it was."""
        connections = [connection for connection, _ in self.waiting] + list(self.running.values())
        for connection, timer in self.left.values():
            timer.cancel()
            connections.append(connection)
        self.waiting.clear()
        self.running.clear()
        self.left.clear()
        self.models.clear()
        return connections
