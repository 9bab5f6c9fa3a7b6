"""How long to wait before a replica is started again, and when to stop trying?"""

from collections import deque


def backoff_seconds(failures: int, *, first: float, most: float, jitter: float) -> float:
    """Return the delay before the next start: doubling from `first` up to `most`.

    Args:
        failures: Exits in a row without a stable time between, from 1.
        first: Seconds after the first failure.
        most: The longest delay in seconds.
        jitter: From -1 to 1; moves the delay by up to a fifth, so that replicas that died
            together do not start together.
    """
    return min(most, first * 2.0 ** min(failures - 1, 30)) * (1 + 0.2 * jitter)


class Budget:
    """Unexpected exits within a window; spent means no further restart.

    Args:
        most: Exits that are borne within the window.
        window_seconds: How far back exits count.
    """

    def __init__(self, most: int, window_seconds: float) -> None:
        self._most = most
        self._window_seconds = window_seconds
        self._exits: deque[tuple[float, int]] = deque()

    def spend(self, now: float, weight: int = 1) -> bool:
        """Count an exit and return whether a restart is still allowed."""
        self._exits.append((now, weight))
        return self.left(now) >= 0

    def left(self, now: float) -> int:
        """Return how many more exits are borne; negative once it is overspent."""
        while self._exits and self._exits[0][0] <= now - self._window_seconds:
            self._exits.popleft()
        return self._most - sum(weight for _, weight in self._exits)

    def refill(self) -> None:
        """Forget every exit: an operator started the replica."""
        self._exits.clear()
