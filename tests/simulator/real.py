"""Strategies on three real replicas, beside what is simulated of them: `python -m tests.simulator.real`

    python -m tests.simulator.real [--workload chat] [--seeds 1] [--seconds 35] [--share 0.4] [--pace 1]

Sessions arrive whatever becomes of those before (open loop), each policy begins cold and gets the same ones.
Each seed begins with another policy, so that what disturbs the machine hits them alike.
relayd's data path runs in this process, nginx (`least_conn`) beside. Replicas of a smaller share get as much
less to do. The simulator gets the same sessions and the rates that a replica shows at first. Exits 1 where
a bar is missed.
"""

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from statistics import fmean

import uvloop

from relayd.cli.engine import lend_installer
from relayd.engine import ensure
from relayd.folders import cache_dir
from tests.ggufs import SLOW, make_model
from tests.simulator.fairness import jain, two_keys
from tests.simulator.llamaservers import (
    CONTEXT,
    PORT,
    REPLICAS,
    SLOTS,
    TEMPLATE,
    Answer,
    Messages,
    ask,
    front,
    measured,
    message,
    replicas,
    text_of,
)
from tests.simulator.replica import Rates, replica
from tests.simulator.run import POLICIES, Simulation, percentile
from tests.simulator.workloads import Session, Turn, Workload, agents, chat, single

NAMES = {
    "round_robin": "round robin",
    "least_busy": "least busy",
    "nginx": "nginx least_conn",
    "prefix_affinity": "prefix affinity",
}
OURS = "prefix_affinity"
SCALE = {"chat": 0.5, "agents": 0.25, "hot": 0.25, "unique": 0.5, "keys": 0.25}
"""Tokens of a session beside those that are simulated elsewhere: these replicas are slower."""

WHOLE_SHARE = 0.4
"""Of a core, at which replicas get these workloads as they are."""

MOST = {"chat": 0.6, "agents": 0.8, "hot": 1.15, "unique": 1.15}
"""What our p95 is at most of the best other's; where there is nothing to gain, of least busy's."""

LEAST_JAIN = 0.95
LONGEST_ANSWER = 40
MOST_TURNS = 5
LONGEST_THINK = 8.0


def workload(name: str, pace: float) -> Workload:
    """Return who sends what; `pace` times as much in a second."""
    made: Mapping[str, Workload] = {
        "chat": chat(0.22 * pace),
        "agents": agents(0.12 * pace),
        "hot": single(0.9 * pace, shared=4000, own=200, answer=120),
        "unique": single(0.5 * pace, shared=0, own=1500, answer=120),
        "keys": two_keys(8.0 * pace, 2.0 * pace),
    }
    return made[name]


def fitted(session: Session, scale: float) -> Session:
    """Return a session with turns that fit into these replicas."""
    turns, held = list[Turn](), 0
    for turn in session.turns[:MOST_TURNS]:
        added = tuple((number, max(1, round(length * scale))) for number, length in turn.added)
        answer = turn.answer[0], min(LONGEST_ANSWER, turn.answer[1])
        held += sum(length for _, length in (*added, answer))
        if held > CONTEXT - 100:
            break
        turns.append(Turn(added, answer, scale * min(turn.think_seconds, LONGEST_THINK)))
    return replace(session, turns=tuple(turns))


@dataclass(slots=True)
class Stage:
    """What every run is made with."""

    engine: Path
    model: Path
    share: float
    seconds: float
    workload: str
    pace: float
    p95: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def sessions(self, seed: int) -> list[Session]:
        """Return those of a seed, that fit."""
        made = workload(self.workload, self.pace)(random.Random(seed))
        found = (
            fitted(one, SCALE[self.workload]) for one in takewhile(lambda one: one.at < self.seconds, made)
        )
        return [one for one in found if one.turns]

    async def run(self, policy: str, sessions: Sequence[Session]) -> tuple[list[Answer], float, Rates]:
        """Return what a policy made of some sessions, when they began, and how fast a replica was before."""
        answers: list[Answer] = []
        with tempfile.TemporaryDirectory() as folder, replicas(self.engine, self.model, self.share) as found:
            rates = await measured(PORT)
            async with front(policy, found, Path(folder)) as port:
                began = asyncio.get_running_loop().time()
                limit = self.seconds if self.workload == "keys" else None
                with suppress(TimeoutError):
                    async with asyncio.timeout(limit), asyncio.TaskGroup() as group:
                        for one in sessions:
                            group.create_task(_converse(port, one, answers))
        return answers, began, rates


async def _converse(port: int, session: Session, answers: list[Answer]) -> None:
    """Have one conversation, beginning at its time."""
    await asyncio.sleep(session.at)
    messages: Messages = []
    for turn in session.turns:
        await asyncio.sleep(turn.think_seconds)
        *system, last = turn.added
        messages += [message("system", text_of(*one)) for one in system]
        messages.append(message("user", text_of(*last)))
        answers.append(await ask(port, messages, turn.answer[1], session.flow))
        messages.append(message("assistant", answers[-1].text))


def _row(name: str, seed: int, first: Sequence[float], queued: float, cached: float) -> str:
    return (
        f"| {name} | {seed} | {len(first)} | {fmean(first):.2f} | {percentile(first, 0.5):.2f} "
        f"| {percentile(first, 0.95):.2f} | {queued:.2f} | {fmean(first) - queued:.2f} | {cached:.0%} "
        f"| {sum(one < 2 for one in first) / len(first):.0%} |"
    )


def _compare(stage: Stage, policies: Sequence[str], seeds: Sequence[int]) -> int:
    print("| workload, policy | seed | requests | mean | p50 | p95 | queue | reading | cached | under 2 s |")
    for turn, seed in enumerate(seeds):
        sessions = stage.sessions(seed)
        for policy in (*policies[turn % len(policies) :], *policies[: turn % len(policies)]):
            answers, _, shown = uvloop.run(stage.run(policy, sessions))
            first = [one.first for one in answers]
            cached = sum(one.cached for one in answers) / sum(one.cached + one.read for one in answers)
            label = f"{stage.workload}, {NAMES[policy]}"
            print(_row(label, seed, first, fmean(one.queued for one in answers), cached), flush=True)
            found = [replica(SLOTS, shown) for _ in range(REPLICAS)]
            told = Simulation(POLICIES[NAMES[policy]](found), sessions).run(0.0)
            waits = [job.first - job.arrived for job in told.jobs]
            print(_row(f"{label}, simulated", seed, waits, told.queue_mean, told.cached), flush=True)
            stage.p95.setdefault(policy, []).append((percentile(first, 0.95), told.p95))
            print(
                f"  a replica then: {shown.prompt_rate:.0f} tokens/s read, {shown.step_seconds:.4f} s a token"
            )
    return _judge(stage)


def _judge(stage: Stage) -> int:
    """Print shares and errors; return whether a bar is missed."""
    pairs = stage.p95
    for policy, values in pairs.items():
        errors = ", ".join(f"{simulated / real - 1:+.0%}" for real, simulated in values)
        print(f"p95 of {NAMES[policy]}, simulated beside real: {errors}")
    if OURS not in pairs or len(pairs) == 1:
        return 0
    real, simulated = (_share(stage.workload, pairs, which) for which in (0, 1))
    most = MOST[stage.workload]
    print(f"{stage.workload}: p95 {real:.2f} of the other (at most {most}), {simulated:.2f} simulated")
    return int(real > most)


def _share(name: str, pairs: Mapping[str, Sequence[tuple[float, float]]], which: int) -> float:
    p95 = {policy: fmean(one[which] for one in values) for policy, values in pairs.items()}
    best = min(value for policy, value in p95.items() if policy != OURS)
    return p95[OURS] / (best if MOST[name] < 1 else p95.get("least_busy", best))


def _fair(stage: Stage, seeds: Sequence[int]) -> int:
    """Have one of two keys flood, and print what each got while both had requests that waited."""
    return max([*_unfair(stage, seeds)])


def _unfair(stage: Stage, seeds: Sequence[int]) -> Iterator[bool]:
    for seed in seeds:
        answers, began, _ = uvloop.run(stage.run("least_busy", stage.sessions(seed)))
        placed = [one for one in answers if one.began + one.queued > began + stage.seconds / 5]
        index, got = jain((one.flow, one.read + 4 * len(one.text)) for one in placed)
        text = ", ".join(f"{flow} {count:,.0f}" for flow, count in got.items())
        print(f"two keys, one floods, seed {seed}: Jain's index {index:.3f} (at least {LEAST_JAIN}); {text}")
        yield index < LEAST_JAIN


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator.real", description=__doc__)
    parser.add_argument("--workload", choices=[*SCALE], default="chat")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--seconds", type=float, default=35.0, help="in which sessions begin")
    parser.add_argument("--share", type=float, default=WHOLE_SHARE, help="of a core, for each replica")
    parser.add_argument("--pace", type=float, help="how many times as much comes; as the share allows if not")
    parser.add_argument("--model", type=Path, help="another one, such as a smaller one on a busy machine")
    parser.add_argument("--policies", nargs="+", choices=[*NAMES], default=[*NAMES])
    asked = parser.parse_args()
    with lend_installer() as installer:
        engine = ensure(installer, cache=cache_dir() / "engine").path
    with tempfile.TemporaryDirectory() as folder:
        shape = replace(SLOW, template=TEMPLATE, writes_bytes=False)
        model = asked.model or make_model(Path(folder) / "slow.gguf", shape)
        pace = asked.share / WHOLE_SHARE if asked.pace is None else asked.pace
        stage = Stage(engine, model, asked.share, asked.seconds, asked.workload, pace)
        if asked.workload == "keys":
            return _fair(stage, asked.seeds)
        return _compare(stage, asked.policies, asked.seeds)


if __name__ == "__main__":
    sys.exit(main())
