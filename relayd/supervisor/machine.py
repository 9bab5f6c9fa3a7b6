"""The position of one replica, its events in order, and who waits for a state (state machine)."""

import asyncio
from collections import deque
from collections.abc import Callable

from relayd.errors import DaemonError
from relayd.supervisor.state import Event, Position, State, after, knows


class StateMachine:
    """Where a replica stands; what each event makes of it is decided by the table in `state`.

    Args:
        step: Called for each event with the state before and the one that follows, which holds already.
    """

    def __init__(self, step: Callable[[Event, State, State], None]) -> None:
        self.position = Position()
        self.released = False
        self._step = step
        self._inbox: deque[Event] = deque()
        self._awaited: dict[asyncio.Future[State], tuple[State, ...]] = {}

    def __repr__(self) -> str:
        return f"<StateMachine: {self.position.state.value}, {len(self._inbox)} events to come>"

    def knows(self, event: Event) -> bool:
        """Return whether an event means something now."""
        return knows(self.position, event)

    def handle_known(self, event: Event) -> bool:
        """Take an event if it means something now, and return whether it does."""
        if known := self.knows(event):
            self.handle(event)
        return known

    def handle(self, event: Event) -> None:
        """Take an event; one that arises while another is handled waits for its turn."""
        if self.released:
            return
        self._inbox.append(event)
        if len(self._inbox) > 1:
            return
        while self._inbox:
            try:
                self._take(self._inbox[0])
            finally:
                self._inbox.popleft()

    def release(self) -> None:
        """Take no event from here on: another daemon looks after the replica."""
        self.released = True
        for waiting in self._awaited:
            if not waiting.done():
                waiting.set_exception(_taken_over())

    async def reached(self, *states: State) -> State:
        """Wait until it is in one of some states, however briefly, and return that one.

        Raises:
            DaemonError: Another daemon looks after it now.
        """
        if self.position.state in states:
            return self.position.state
        if self.released:
            raise _taken_over()
        waiting: asyncio.Future[State] = asyncio.get_running_loop().create_future()
        self._awaited[waiting] = states
        try:
            return await waiting
        finally:
            del self._awaited[waiting]

    def _take(self, event: Event) -> None:
        before, self.position = self.position, after(self.position, event)
        state = self.position.state
        self._step(event, before.state, state)
        for waiting, states in self._awaited.items():
            if state in states and not waiting.done():
                waiting.set_result(state)


def _taken_over() -> DaemonError:
    return DaemonError("a new daemon has taken over meanwhile", remedy="Ask again.")
