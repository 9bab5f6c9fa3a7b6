"""What a request asks of the scheduler, and everything that its policies may weigh.

An `Ask` crosses a hand-over to a daemon of another version. Hence every member has a default, no
member's type is narrower than what an older or newer daemon may send, and a decoder ignores members
it does not know.
"""

import msgspec

INTERACTIVE = "interactive"
"""The class of a request that a client waits for; a class that is not known counts as this one."""


class Ask(msgspec.Struct, frozen=True, gc=False):
    """One request, as far as its place in the schedule depends on it.

    Attributes:
        model: The configured name, aliases already resolved.
        width: Slots the request takes inside a replica (prompts, choices, inputs).
        key: Name of the API key it came with; empty when it came without.
        klass: Its class (`interactive` by default).
        prefix: Fingerprints of the prompt's blocks, the first block first; empty when not computed.
        deadline: Monotonic seconds after which waiting is given up; None waits without limit.
        stream: Whether the client reads the answer as events.
    """

    model: str = ""
    width: int = 1
    key: str = ""
    klass: str = INTERACTIVE
    prefix: tuple[int, ...] = ()
    deadline: float | None = None
    stream: bool = False

    def is_overdue(self, now: float) -> bool:
        """Return whether the deadline has passed at `now` (monotonic seconds)."""
        return self.deadline is not None and self.deadline <= now
