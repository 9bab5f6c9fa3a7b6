"""Machines with little memory, in few words."""

import math

from relayd.scheduler import MemoryPolicy
from tests.ledger.machine import Life, Machine, Process, Request

POLICY = MemoryPolicy(
    min_resident_seconds=3.0,
    swap_batch_requests=4,
    swap_turn_seconds=10.0,
    home_after_seconds=30.0,
    shrink_after_seconds=60.0,
)


def process(replica: str, size: int = 1, **more: object) -> Process:
    """Return a replica of one slot that loads in two seconds and stops in one tenth."""
    known = {"slots": 1, "load_seconds": 2.0, "stop_seconds": 0.1} | more
    return Process(replica, replica.partition("#")[0], {"host": size}, **known)  # type: ignore[arg-type]  # in few words


def machine(room: int, *processes: Process) -> Machine:
    """Return a machine whose host has so much room, nothing loaded."""
    made = Machine({"host": room}, POLICY)
    for one in processes:
        made.add(one)
    return made


def loaded(room: int, *processes: Process) -> Machine:
    """Return a machine where each of these was loaded long ago, one after the other."""
    made = machine(room, *processes)
    for one in processes:
        made.ask(one.model, 0.0)
        made.run(made.now + 4)
    made.run(made.now + 100)
    made.loads.clear()
    return made


def names(made: Machine) -> list[str]:
    """Return what was loaded, in order."""
    return [name for _, name in made.loads]


def placed_after(request: Request) -> float:
    """Return how long a request waited, in tenths of a second; infinite while it waits."""
    return math.inf if math.isnan(request.placed) else round(request.placed - request.arrived, 1)


def life(made: Machine, replica: str) -> Life:
    return made.processes[replica].life
