"""What a request asks of the scheduler, and everything that its policies may weigh.

An `Ask` crosses a hand-over to a daemon of another version. Hence every member has a default, no
member's type is narrower than what an older or newer daemon may send, and a decoder ignores members
it does not know.
"""

import msgspec

INTERACTIVE = "interactive"
"""The class of a request that a person waits for: it runs before the others."""

NORMAL = "normal"
"""The class of a request that names none; a class that is not known counts as this one."""

BATCH = "batch"
"""The class of a request that can wait: it runs when no other is there."""

CLASSES = (INTERACTIVE, NORMAL, BATCH)
"""The classes that a request may ask for, the one that runs first in front."""

BACKGROUND = "background"
"""The class of a line of a batch: it has slots that are free otherwise, gives them back when another request
wants them, and waits without limit."""

RANKED = (*CLASSES, BACKGROUND)
"""All classes."""

_RANKS = {name: rank for rank, name in enumerate(RANKED)}
_NORMAL_RANK = _RANKS[NORMAL]


def rank(klass: str) -> int:
    """Return the place of a class among `RANKED`; a lower one runs first."""
    return _RANKS.get(klass, _NORMAL_RANK)


class Ask(msgspec.Struct, frozen=True, gc=False):
    """One request, as far as its place in the schedule depends on it.

    Attributes:
        model: The configured name, aliases already resolved.
        width: Slots the request takes inside a replica (prompts, choices, inputs).
        key: Name of the API key it came with; empty when it came without.
        klass: Its class, one of `CLASSES`.
        prefix: Fingerprints of the prompt's blocks, the first block first; empty when not computed.
        deadline: Monotonic seconds after which waiting is given up; None waits without limit.
        stream: Whether the client reads the answer as events.
        session: The client's own name for the conversation that it belongs to; empty when it gave none.
        flow: Among whom slots are shared fairly: the key, else the session, else the client's address.
        body_bytes: Length of what a replica gets; 0 when that is not known.
    """

    model: str = ""
    width: int = 1
    key: str = ""
    klass: str = NORMAL
    prefix: tuple[int, ...] = ()
    deadline: float | None = None
    stream: bool = False
    session: str = ""
    flow: str = ""
    body_bytes: int = 0

    def is_overdue(self, now: float) -> bool:
        """Return whether the deadline has passed at `now` (monotonic seconds)."""
        return self.deadline is not None and self.deadline <= now
