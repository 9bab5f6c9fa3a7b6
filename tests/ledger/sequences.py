"""Random events on random machines: what must hold after each of them, and at the end."""

import math
import random
from collections.abc import Callable
from dataclasses import replace

from relayd.scheduler import MemoryPolicy, Resident
from tests.ledger.machine import Life, Machine, Process

ACCOUNTS = ("host", "cuda0", "cuda1")
Act = Callable[[], None]

EVENTS = 60
END_SECONDS = 1000.0


class Sequence:
    """One machine, and random events on it; a seed makes the same again."""

    def __init__(self, seed: int) -> None:
        self.chance = chance = random.Random(seed)
        devices = ACCOUNTS[: chance.randint(1, 3)]
        self.rooms = {account: chance.randint(4, 12) for account in devices}
        policy = MemoryPolicy(
            min_resident_seconds=chance.choice((0.0, 1.0, 5.0)),
            swap_batch_requests=chance.choice((1, 4, 32)),
            swap_turn_seconds=chance.choice((0.5, 3.0, 15.0)),
            home_after_seconds=chance.choice((2.0, 30.0)),
            shrink_after_seconds=chance.choice((2.0, 60.0)),
        )
        self.machine = Machine(self.rooms, policy)
        self.models = [f"m{number}" for number in range(chance.randint(1, 6))]
        for model in self.models:
            for number in range(chance.choice((1, 1, 2, 3))):
                self._add(model, number)

    def _add(self, model: str, number: int) -> None:
        chance = self.chance
        need = {account: chance.randint(0, 5) for account in self.rooms}
        if chance.random() < 0.1:
            need = {account: count + 20 for account, count in need.items()}
        policy = Resident(
            pin=chance.random() < 0.1,
            home=chance.random() < 0.1,
            demand=chance.random() < 0.5,
            idle_seconds=chance.choice((None, None, 0.0, 3.0)),
            growth=number > 0 and chance.random() < 0.5,
            reload_seconds=chance.uniform(0.1, 10),
        )
        process = Process(
            f"{model}#{number}",
            model,
            need,
            slots=chance.randint(1, 4),
            load_seconds=chance.uniform(0.01, 5),
            stop_seconds=chance.uniform(0, 2),
            freed_seconds=chance.choice((0.0, 0.0, 3.0)),
            fails=chance.choice((0, 0, 0, 1, 3)),
            policy=policy,
        )
        if chance.random() < 0.15:
            self.machine.adopt(process)
        else:
            self.machine.add(process)

    def play(self) -> None:
        """Let everything happen, and check it."""
        acts: tuple[Act, ...] = (
            *(self.ask,) * 8,
            *(self.wait,) * 6,
            *(self.cancel,) * 2,
            *(
                self.crash,
                self.load,
                self.start,
                self.unload,
                self.pin,
                self.others,
                self.measure,
                self.limit,
            ),
        )
        for _ in range(EVENTS):
            self.chance.choice(acts)()
            self.check()
        self.end()

    def ask(self) -> None:
        for _ in range(self.chance.randint(1, 5)):
            wait = self.chance.choice((None, 1.0, 10.0, 60.0))
            self.machine.ask(self.chance.choice(self.models), self.chance.expovariate(0.5), wait_seconds=wait)

    def wait(self) -> None:
        self.machine.run(self.machine.now + self.chance.expovariate(0.5))

    def cancel(self) -> None:
        waiting = [one for one in self.machine.requests if math.isnan(one.placed) and not one.refused]
        for request in waiting if self.chance.random() < 0.2 else waiting[:1]:
            self.machine.cancel(request)

    def any_replica(self) -> str:
        return self.chance.choice(sorted(self.machine.processes))

    def crash(self) -> None:
        self.machine.crash(self.any_replica())

    def load(self) -> None:
        self.machine.load(self.chance.choice(self.models))

    def start(self) -> None:
        process = self.machine.processes[self.any_replica()]
        if process.life is Life.COLD and not process.held:
            self.chance.choice((self.machine.start, self.machine.insist))(process.name)

    def unload(self) -> None:
        self.machine.unload(self.any_replica(), force=self.chance.random() < 0.3)

    def pin(self) -> None:
        self.machine.pin(self.any_replica(), pin=self.chance.random() < 0.3)

    def others(self) -> None:
        self.machine.use_elsewhere({self.chance.choice(ACCOUNTS): self.chance.randint(0, 6)})

    def measure(self) -> None:
        need = self.machine.processes[name := self.any_replica()].need
        self.machine.measure(name, {one: max(0, n + self.chance.randint(-2, 2)) for one, n in need.items()})

    def limit(self) -> None:
        self.machine.limit({one: self.chance.randint(4, 12) for one in self.rooms})

    def check(self) -> None:
        """The ledger is what the machine shows, and no slot is taken twice."""
        machine = self.machine
        for row in machine.scheduler.memory.ledger():
            assert machine.held(row.account) == row.held, f"the ledger of {row.account} is not what is held"
            assert row.planned >= 0
            assert row.held >= 0
            assert row.capacity - row.others - row.held == row.free
        for model in self.models:
            load = machine.scheduler.load(model)
            assert load.running <= load.slots or any(
                one.life is Life.DRAINING for one in machine.processes.values()
            )

    def end(self) -> None:
        """Let everything that stands in the way go: every request must end."""
        machine = self.machine
        machine.use_elsewhere({})
        machine.limit(self.rooms)
        for name, process in machine.processes.items():
            process.fails = 0
            machine.pin(name, pin=False)
            self.check()
            assert not replace(process.policy).pin
        machine.run(machine.now + END_SECONDS)
        self.check()
        for request in machine.requests:
            assert not math.isnan(request.ended) or request.refused, f"{request} never ended"
