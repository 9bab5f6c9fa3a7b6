"""What does every route to a replica need (parts of inference)?"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from relayd.api.bodies import Bodies
from relayd.api.fitting import NO_FITTING, Fitting
from relayd.api.fleet import ModelDirectory
from relayd.router import (
    DROP,
    Beside,
    Dispatcher,
    Exchanges,
    ProgressComments,
    Proxy,
    Unlisted,
)
from relayd.units import Bytes, mib


@dataclass(frozen=True, slots=True)
class InferenceParts:
    """What every route to a replica needs.

    Attributes:
        fleet: The models.
        dispatcher: Finds each request a slot.
        proxy: Carries it there.
        exchanges: Opens the record of each request.
        max_body: The most a body may hold.
        body_seconds: How long a body, or the next 64 KiB of it, may take.
        unlisted: What becomes of members that no table lists.
        bodies: Counts what bodies take together.
        beside: Sends what takes no slot; None has it take one.
        fitting: What is changed so that the engine carries a request out.
        note_prompt: Takes note of what a replica gets for a request, unless its key forbids that.
        progress: Shows streams that ask for it how far they are; None shows nothing.
        continues: Whether another replica may go on with an answer whose replica failed.
        aside: The thread that looks into large bodies, one after the other: the decoder holds the
            interpreter's lock, so that with thirty threads the loop would wait for thirty bodies.
    """

    fleet: ModelDirectory
    dispatcher: Dispatcher
    proxy: Proxy
    exchanges: Exchanges
    max_body: Bytes
    body_seconds: float
    unlisted: Unlisted = DROP
    progress: ProgressComments | None = None
    continues: bool = True
    bodies: Bodies = field(default_factory=lambda: Bodies(mib(256)))
    beside: Beside | None = None
    fitting: Fitting = NO_FITTING
    note_prompt: Callable[[str, bytes], None] = lambda _id, _body: None
    aside: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "bodies"))
