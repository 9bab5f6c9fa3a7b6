"""`python -m tests.attack`: hostile bodies, connections and files against a daemon of its own, under load.

Real replicas serve honest clients meanwhile, whose answers are known. Exits with 1 if a replica ended, a
model was given up, or an honest client was not answered rightly.
"""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TypeVar

from tests.attack import files
from tests.attack.bodies import FAMILIES, cases, sampled
from tests.attack.case import Case
from tests.attack.crowd import crowd
from tests.attack.doors import door_forms
from tests.attack.honest import Beside
from tests.attack.outcome import Outcome, Tally
from tests.attack.report import Result
from tests.attack.sending import send_body, send_form
from tests.attack.target import Target
from tests.attack.tls import EncryptedDaemon, tls_forms
from tests.attack.wire import Form, forms

PARTS = ("bodies", "wire", "crowd", "doors", "tls", "files")

_AT_ONCE_LARGE = 30
_BEFORE_SECONDS = 5.0
_AFTER_SECONDS = 5.0

Shot = TypeVar("Shot", bound=Case | Form)


def main() -> int:
    """Attack, report, and return the exit status."""
    options = _options().parse_args()
    try:
        result = asyncio.run(_attack(options))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    if options.json:
        sys.stdout.write(json.dumps(result.document(), indent=2) + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in result.lines())
    return 1 if result.broken() else 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of damaged files")
    parser.add_argument("--only", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--family", default="", help=f"bodies of these families: {', '.join(FAMILIES)}")
    parser.add_argument("--sample", type=int, default=400, help="at most so many of each family; 0 is all")
    parser.add_argument("--clients", type=int, default=6, help="that attack at a time")
    parser.add_argument("--files", type=int, default=200, help="damaged model files")
    parser.add_argument("--json", action="store_true", help="report for programs")
    return parser


async def _attack(options: argparse.Namespace) -> Result:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    tally, began = Tally(), time.monotonic()
    target = Target(tally)
    watching, honest = None, None
    try:
        await target.ready()
        watching = asyncio.create_task(target.watch())
        honest = await Beside.start(target.port)
        await asyncio.sleep(_BEFORE_SECONDS)
        await _parts(options, target, tally, honest)
        _enter("after", target, honest)
        await asyncio.sleep(_AFTER_SECONDS)
        seen = await honest.stop()
        await target.look()
        faults = target.faults()
    finally:
        if watching is not None:
            watching.cancel()
        if honest is not None:
            honest.kill()
        await asyncio.to_thread(target.close)
    return Result(tally, target.fate, seen, faults, time.monotonic() - began)


async def _parts(options: argparse.Namespace, target: Target, tally: Tally, honest: Beside) -> None:
    only, port = options.only.split(","), target.port
    if "bodies" in only:
        families = tuple(filter(None, options.family.split(",")))
        for family in families or FAMILIES:
            # Bodies of the largest size come all at once: what they hold together is the attack.
            clients = _AT_ONCE_LARGE if family == "structure" else options.clients
            shots = sampled([*cases((family,))], options.sample)
            _enter(family, target, honest)
            await _fire(shots, clients, lambda case: send_body(port, case), tally)
    if "wire" in only:
        shots_of_wire = sampled([*forms()], options.sample)
        _enter("raw HTTP", target, honest)
        await _fire(shots_of_wire, options.clients * 2, lambda form: send_form(port, form), tally)
    if "crowd" in only:
        _enter("crowd", target, honest)
        for outcome in await crowd(port):
            tally.add(outcome)
    if "doors" in only:
        _enter("doors", target, honest)
        secrets = await asyncio.to_thread(target.make_keys)
        shots_at_doors = sampled([*door_forms(secrets)], options.sample)
        await _fire(shots_at_doors, options.clients * 2, lambda form: send_form(port, form), tally)
    if "tls" in only:
        _enter("tls", target, honest)
        await _encrypted(options, target, tally)
    if "files" in only:
        _enter("files", target, honest)
        await asyncio.to_thread(_damage, options, tally)


async def _encrypted(options: argparse.Namespace, target: Target, tally: Tally) -> None:
    """Attack a second daemon, on which everything is encrypted; honest clients ask it before and after."""
    other = await asyncio.to_thread(EncryptedDaemon, target.engine)
    try:
        port = await asyncio.to_thread(lambda: other.port)
        tally.add(await other.honest())
        await _fire(
            sampled([*tls_forms()], options.sample),
            options.clients,
            lambda form: send_form(port, form),
            tally,
        )
        tally.add(await other.honest())
    finally:
        await asyncio.to_thread(other.close)


def _enter(phase: str, target: Target, honest: Beside) -> None:
    """Begin a phase; what ends late of the one before counts in it."""
    sys.stderr.write(f"{time.strftime('%X')} {phase}; {target.fate.ended.total()} replicas ended so far\n")
    target.phase = phase
    honest.enter(phase)


async def _fire(
    shots: Iterable[Shot], clients: int, send: Callable[[Shot], Awaitable[Outcome]], tally: Tally
) -> None:
    queue = iter([*shots])

    async def client() -> None:
        for shot in queue:
            name = f"{shot.kind}: {shot.name}"
            tally.flying[name] += 1
            try:
                tally.add(await send(shot))
            finally:
                tally.flying[name] -= 1

    await asyncio.gather(*(client() for _ in range(clients)))


def _damage(options: argparse.Namespace, tally: Tally) -> None:
    with tempfile.TemporaryDirectory(prefix="attack-files") as home:
        for outcome in files.outcomes(Path(home), options.seed, options.files):
            tally.add(outcome)


if __name__ == "__main__":
    sys.exit(main())
