"""How far is the speed model from published runs, and which constants fit them best?

`python -m tests.oracle.speed` holds the constants of `relayd/planner/processor.py` against the rows in
`tests/data/speed_rows.json` and fits them again. With the path of a `catalog_facts.json` the rows are
taken from there, with a count of those left out and why; `--write` stores them.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from relayd.planner.calibration import BenchmarkRun, calibrate
from relayd.planner.processor import CLASSES, NVIDIA, Processor
from relayd.planner.speed import Part, decode_tokens_per_second, prefill_tokens_per_second
from tests.oracle.speed_rows import ELSEWHERE, Row, community_rows, from_facts, store, stored

ATTRIBUTION = {
    "localmaxxing": "measurements of localmaxxing.com as github.com/AlexsJones/llmfit @3f44fd3 holds them",
    "community": "submissions to github.com/AlexsJones/llmfit, up to 2026-09",
    "other": f"{len(ELSEWHERE)} rows name their page as source",
}

ROUNDS = 12
RUNS = 3
"""Runs of its own that a device is calibrated with."""

FEW = 10
"""Rows below which constants mean nothing."""

Constants = tuple[float, float, float]
Judge = Callable[[Row], float]


class Errors(NamedTuple):
    """Relative errors |predicted / measured - 1| of some rows."""

    values: tuple[float, ...]

    def __str__(self) -> str:
        if not self.values:
            return f"{'none':>15}"
        return f"{np.median(self.values):6.1%} {np.mean(np.array(self.values) <= 0.25):5.0%}  "

    @property
    def p80(self) -> float:
        return float(np.quantile(self.values, 0.8)) if self.values else 0.0


def features(row: Row) -> Constants:
    """Return what the three constants of a class are multiplied with, in milliseconds."""
    work = row.workload
    return work.n_layer, work.n_moe_layer, work.bytes_read() / (row.bandwidth * 1e6)


def fit(rows: Sequence[Row]) -> Constants:
    """Return the constants of least relative deviation; a device weighs as much as the root of its rows."""
    count = {row.device: sum(other.device == row.device for other in rows) for row in rows}
    scaled = np.array([features(row) for row in rows]) * np.array([[row.decode / 1000] for row in rows])
    weight = np.array([count[row.device] ** -0.5 for row in rows])
    found, robust = np.zeros(3), np.ones(len(rows))
    for _ in range(ROUNDS):
        root = np.sqrt(weight * robust)
        found = non_negative(scaled * root[:, None], root)
        robust = 1 / np.maximum(np.abs(scaled @ found - 1), 0.03)
    return float(found[0]), float(found[1]), float(found[2])


def non_negative(matrix: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the least-squares solution without negative members: the best of all subsets."""
    best, least = np.zeros(matrix.shape[1]), np.inf
    for size in range(1, matrix.shape[1] + 1):
        for chosen in map(list, combinations(range(matrix.shape[1]), size)):
            part = np.linalg.lstsq(matrix[:, chosen], wanted, rcond=None)[0]
            rest = float(((matrix[:, chosen] @ part - wanted) ** 2).sum())
            if (part >= 0).all() and rest < least:
                least, best = rest, np.zeros(matrix.shape[1])
                best[chosen] = part
    return best


def predicted(constants: Constants, row: Row) -> float:
    return 1000 / sum(one * other for one, other in zip(constants, features(row), strict=True))


def errors(rows: Sequence[Row], judge: Judge) -> Errors:
    return Errors(tuple(abs(judge(row) / row.decode - 1) for row in rows))


def shipped(row: Row) -> float:
    return decode_tokens_per_second([Part(row.workload, row.processor)]).each.value


def devices(rows: Sequence[Row]) -> list[str]:
    return sorted({row.device for row in rows})


def left_out(rows: Sequence[Row], device: str) -> Errors:
    """Return the errors on a device of constants fitted to the others of its class."""
    others = [row for row in rows if row.device != device and not row.aside]
    if not others:
        return Errors(())
    constants = fit(others)
    return errors([row for row in rows if row.device == device], lambda row: predicted(constants, row))


def calibrated(rows: Sequence[Row], device: str) -> Errors:
    """Return the errors on a device after `RUNS` of its rows calibrated constants that it had no part in.

    Where its class has no other rows, those of NVIDIA cards are the start: the wrong class on purpose.
    """
    own = sorted((row for row in rows if row.device == device), key=lambda row: row.workload.bytes_read())
    if len(own) < 2 * RUNS:
        return Errors(())
    others = [row for row in rows if row.device != device]
    kind = NVIDIA
    if len(others) >= FEW:
        layer, moe_layer, byte = fit(others)
        kind = replace(own[0].kind, layer_ms=layer, moe_layer_ms=moe_layer, byte_factor=byte)
    chosen = [own[0], own[len(own) // 2], own[-1]]
    runs = [BenchmarkRun(row.workload, row.decode) for row in chosen]
    processor = calibrate(Processor(kind, own[0].bandwidth), runs)
    rest = [row for row in own if row not in chosen]
    return errors(rest, lambda row: decode_tokens_per_second([Part(row.workload, processor)]).each.value)


def pooled(found: Sequence[Errors]) -> Errors:
    return Errors(tuple(value for one in found for value in one.values))


def table(rows: Sequence[Row]) -> Iterator[str]:
    yield "decoding: median error and share of rows within 25 %; kept aside: rows that no fit has seen"
    yield f"{'class':24}rows  as shipped       kept aside       p80  device left out  p80  3 own runs  p80"
    for kind in CLASSES:
        mine = [row for row in rows if row.kind is kind]
        if not mine:
            yield f"{kind.name:24}   0  none"
            continue
        out = {device: left_out(mine, device) for device in devices(mine)}
        own = {device: calibrated(mine, device) for device in devices(mine)}
        again = " ".join(f"{value:.4f}" for value in fit([row for row in mine if not row.aside]))
        yield line(kind.name, mine, pooled(list(out.values())), pooled(list(own.values())))
        yield f"  fitted again: {again}"
        if any(row.workload.n_moe_layer for row in mine):
            yield experts(mine)
        for device in devices(mine):
            yield line(f"  {device}", [row for row in mine if row.device == device], out[device], own[device])


def line(name: str, rows: Sequence[Row], out: Errors, own: Errors) -> str:
    kept = errors([row for row in rows if row.aside], shipped)
    return (
        f"{name:24}{len(rows):4}  {errors(rows, shipped)}  {kept} {kept.p80:4.0%}  "
        f"{out} {out.p80:4.0%}  {own} {own.p80:4.0%}"
    )


def experts(rows: Sequence[Row]) -> str:
    """Return the errors on models with experts alone."""
    found = [row for row in rows if row.workload.n_moe_layer]
    kept = errors([row for row in found if row.aside], shipped)
    return f"  {'with experts':22}{len(found):4}  {errors(found, shipped)}  {kept} {kept.p80:4.0%}"


def prefill_table(rows: Sequence[Row]) -> Iterator[str]:
    yield "prompts: as shipped, and of that what was kept aside with its p80"
    for kind in CLASSES:
        mine = [row for row in rows if row.kind is kind and row.prefill]
        if mine:
            yield prompts(kind.name, mine)
    yield prompts("all", [row for row in rows if row.prefill])


def prompts(name: str, rows: Sequence[Row]) -> str:
    found = Errors(tuple(abs(prompt_speed(row) / row.prefill - 1) for row in rows))
    kept = Errors(tuple(abs(prompt_speed(row) / row.prefill - 1) for row in rows if row.aside))
    return f"{name:24}{len(rows):4}  {found} {kept} {kept.p80:4.0%}"


def prompt_speed(row: Row) -> float:
    return prefill_tokens_per_second([Part(row.workload, row.processor)]).value


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.oracle.speed", description=__doc__)
    parser.add_argument("facts", nargs="?", type=Path, help="a catalog_facts.json to take the rows from")
    parser.add_argument("--community", type=Path, help="llmfit's data/community, for rows after the facts")
    parser.add_argument("--write", action="store_true", help="store the rows of FACTS in tests/data")
    options = parser.parse_args()
    if options.facts:
        facts = json.loads(options.facts.read_text("utf-8"))
        if options.community:
            seen = {(row["file"], row["model"]) for row in facts["benchmarks_llmfit_community"]}
            news = community_rows(options.community)
            facts["community"] = [row for row in news if (row["file"], row["model"]) not in seen]
        rows, reasons = from_facts(facts)
        print("\n".join(f"{count:4} rows left out: {reason}" for reason, count in reasons.most_common()))
        if options.write:
            store(rows, ATTRIBUTION)
    else:
        rows = stored()
    print(f"{len(rows):4} rows kept\n")
    print("\n".join([*table(rows), "", *prefill_table(rows)]))


if __name__ == "__main__":
    main()
