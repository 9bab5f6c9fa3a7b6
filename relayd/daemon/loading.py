"""How an operator's load and unload are carried out: the scheduler makes room, their end is waited for."""

from collections.abc import Callable, Iterable, Sequence

from relayd.errors import NotLoadedError
from relayd.scheduler import Event, LoadWanted, StartWanted, UnloadWanted
from relayd.supervisor import Replica, State
from relayd.supervisor.state import DOWN, SETTLED


def bring_up(replicas: Iterable[Replica], post: Callable[[Event], None]) -> None:
    """Start what was stopped or given up, and have what was unloaded come back, other models making room."""
    cold = dict[str, None]()
    for replica in replicas:
        if replica.state is State.COLD and replica.status().reason:
            cold[replica.spec.model] = None
        else:
            replica.start()
            if replica.state is State.WAITING:
                post(StartWanted(replica.name))
    for model in cold:
        post(LoadWanted(model))


async def load(replicas: Sequence[Replica], post: Callable[[Event], None]) -> None:
    """Bring a model into memory, other models making room by the rules of requests, and wait for the outcome.

    Raises:
        NotLoadedError: Nothing of it can be loaded.
    """
    if all(one.state in DOWN for one in replicas):
        bring_up(replicas, post)
    if all(one.state is State.COLD for one in replicas):
        raise _not_loaded(replicas)
    for replica in replicas:
        await replica.reached(*SETTLED)


async def unload(replicas: Sequence[Replica], post: Callable[[Event], None], *, force: bool) -> None:
    """Take replicas out of memory, so that a request brings them back, and wait until they are gone.

    Args:
        replicas: Which ones.
        post: Gives the scheduler an event.
        force: Whether running requests are ended; else they are waited for, without a limit.
    """
    up = [one for one in replicas if one.state not in DOWN]
    for replica in up:
        post(UnloadWanted(replica.name, force))
    for replica in up:
        await replica.reached(*DOWN)


def _not_loaded(replicas: Sequence[Replica]) -> NotLoadedError:
    model = replicas[0].spec.model
    reasons = [why for one in replicas if (why := one.wanted.refused or one.status().reason)]
    reason = f": {reasons[0]}" if reasons else ""
    return NotLoadedError(f"{model} cannot be loaded{reason}", remedy="`relayd status` shows more.")
