"""Does anything but relayd's own errors come out of a model file that is read, judged and planned?

`python -m tests.fuzz.models --seed 1 --cases 100000` from the root of the checkout. Headers of every
architecture of the catalogue, and of files that are no models, are damaged by kinds; each is read as a file,
predicted and planned. A case that lets another error out, or takes too long, is an escape: its file is kept.
"""

import argparse
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from relayd.errors import RelaydError
from tests.fuzz.gguf import peak_mib, say
from tests.fuzz.judged import judge
from tests.fuzz.originals import Original, originals

CASE_SECONDS = 5.0
"""Processor time that one file may take, after which it is an escape; whole ones take a tenth of it."""

FILE_BYTES = 1 << 43
"""Largest file that is made, all of it a hole: ext4 holds 16 TiB."""

WORDS = (
    "block_count", "embedding_length", "head_count", "of file, it has", "is missing", "not a model to serve",
    "twice", "architecture", "shape", "offset", "type", "expected", "cannot",
)  # fmt: skip
"""Words in a message, by which outcomes are counted."""


class _TooLong(BaseException):
    """A case has used up its time; no `except Exception` on the way may take it for an answer."""


def _stop(_signal: int, _frame: object) -> None:
    raise _TooLong(f"longer than {CASE_SECONDS} s")


@dataclass(slots=True)
class Result:
    """What came of the cases; seconds are of processor time."""

    outcomes: Counter[str] = field(default_factory=Counter)
    escapes: dict[str, str] = field(default_factory=dict)
    slowest_seconds: float = 0.0
    slowest: str = ""


def outcome(path: Path, chance: random.Random) -> str:
    """Judge one file as relayd does, and say what came of it."""
    try:
        return judge(path, chance)
    except RelaydError as error:
        return next((f"refused: {word}" for word in WORDS if word in error.message), "refused")


def fuzz(seed: int, cases: int, folder: Path, every: Callable[[int], None] = lambda _: None) -> Result:
    """Run `cases` cases; the files of escapes stay in `folder`."""
    result, chance, path = Result(), random.Random(seed), folder / f"case-{seed}.gguf"
    signal.signal(signal.SIGVTALRM, _stop)
    for number, (name, data, size) in zip(range(cases), mutants(chance), strict=False):
        with path.open("wb") as file:
            file.write(data)
            file.truncate(min(max(size, len(data)), FILE_BYTES))
        started = time.process_time()
        signal.setitimer(signal.ITIMER_VIRTUAL, CASE_SECONDS)
        try:
            kind = outcome(path, chance)
        except (Exception, _TooLong) as error:  # noqa: BLE001 - what escapes is what is looked for
            kind = f"ESCAPE {type(error).__name__}"
            _keep(result, path, f"{number} {name}", error)
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        seconds = time.process_time() - started
        result.outcomes[kind] += 1
        if seconds > result.slowest_seconds:
            result.slowest_seconds, result.slowest = seconds, f"case {number}: {name}, {kind}"
        every(number)
    path.unlink(missing_ok=True)
    return result


def mutants(chance: random.Random) -> Iterator[tuple[str, bytearray, int]]:
    """Yield damaged files without end: what was damaged, their bytes, and their whole size."""
    whole = originals()
    while True:
        one = chance.choice(whole)
        other = chance.choice(whole)
        name, made = one.architecture, one.copy()
        for _ in range(chance.choice((0, 1, 1, 1, 2, 2, 3, 5))):
            mutate = chance.choice(MUTATIONS)
            mutate(chance, made, other)
            name += f" {mutate.__name__}"
        data, size = made.written()
        if chance.randrange(6) == 0:
            spoil = chance.choice(SPOILS)
            name += f" {spoil.__name__}"
            data, size = spoil(chance, data, size)
        yield name, data, size


def extreme(chance: random.Random, made: Original, _: Original) -> None:
    key = chance.choice(made.keys)
    made.values[key] = chance.choice(EXTREMES)


def nudge(chance: random.Random, made: Original, _: Original) -> None:
    key = chance.choice(made.keys)
    value = made.values[key]
    if isinstance(value, int):
        made.values[key] = max(
            0, chance.choice((value + 1, value - 1, value * 2, value // 2, -value, value * 1000))
        )


def relist(chance: random.Random, made: Original, _: Original) -> None:
    key = chance.choice(made.keys)
    value = made.values[key]
    items = list(value) if isinstance(value, tuple) else [value]
    count = chance.choice((0, 1, 2, len(items) - 1, len(items) + 1, 40, 600))
    made.values[key] = tuple((items or [1])[n % max(1, len(items))] for n in range(max(0, count)))


def drop_key(chance: random.Random, made: Original, _: Original) -> None:
    del made.values[chance.choice(made.keys)]


def rename_key(chance: random.Random, made: Original, _: Original) -> None:
    key = chance.choice(made.keys)
    made.values[key[:-1] + "x"] = made.values.pop(key)


def borrow_key(chance: random.Random, made: Original, other: Original) -> None:
    key = chance.choice(other.keys)
    own = key.replace(f"{other.architecture}.", f"{made.architecture}.", 1)
    made.values[own] = other.values[key]


def recurrent_keys(chance: random.Random, made: Original, _: Original) -> None:
    for key in chance.sample(RECURRENT_KEYS, 3):
        made.values[f"{made.architecture}.{key}"] = chance.choice((0, 1, 2, 4, 64, 2**31))


def architecture(chance: random.Random, made: Original, _: Original) -> None:
    made.rename(chance.choice(ARCHITECTURES))


def drop_tensors(chance: random.Random, made: Original, _: Original) -> None:
    if made.tensors:
        which = chance.choice(made.tensors).name
        part = chance.choice(
            (which, which.rpartition(".")[2], ".".join(which.split(".")[:2]), which.split(".")[-2:][0])
        )
        made.tensors = [one for one in made.tensors if part not in one.name]


def keep_few(chance: random.Random, made: Original, _: Original) -> None:
    made.tensors = chance.sample(made.tensors, chance.randrange(len(made.tensors) + 1))


def rename_tensor(chance: random.Random, made: Original, other: Original) -> None:
    if made.tensors and other.tensors:
        number = chance.randrange(len(made.tensors))
        name = chance.choice(
            (chance.choice(other.tensors).name, "blk.99999999999.attn_q.weight", "v.x", "blk.-1.a", "x")
        )
        made.tensors[number] = made.tensors[number].named(name)


def reshape(chance: random.Random, made: Original, _: Original) -> None:
    if made.tensors:
        number = chance.randrange(len(made.tensors))
        one = made.tensors[number]
        shapes = (
            (),
            one.shape[:1],
            one.shape[::-1],
            (*one.shape, 1),
            (*one.shape, 7),
            (0, 0),
            (256, 0),
            (256, 2**40),
            (1,),
        )
        made.tensors[number] = one.shaped(chance.choice(shapes)[:4], chance.choice((one.type_id, 0, 0, 12)))


def borrow_tensors(chance: random.Random, made: Original, other: Original) -> None:
    if other.tensors:
        part = chance.choice(other.tensors).name.rpartition(".")[0]
        known = {one.name for one in made.tensors}
        made.tensors += [one for one in other.tensors if part in one.name and one.name not in known]


def flip(chance: random.Random, data: bytearray, size: int) -> tuple[bytearray, int]:
    for _ in range(chance.choice((1, 1, 4, 32))):
        data[chance.randrange(min(len(data), 4096))] ^= 1 << chance.randrange(8)
    return data, size


def truncate(chance: random.Random, data: bytearray, size: int) -> tuple[bytearray, int]:
    length = chance.choice((chance.randrange(size + 1), chance.randrange(len(data) + 1)))
    return data[:length], length


def zeros(chance: random.Random, data: bytearray, size: int) -> tuple[bytearray, int]:
    begin = chance.choice((0, chance.randrange(len(data))))
    return data[:begin] + bytes(len(data) - begin), size


def version(chance: random.Random, data: bytearray, size: int) -> tuple[bytearray, int]:
    data[4:8] = chance.choice((b"\0\0\0\3", b"\1\0\0\0", b"\4\0\0\0", b"\xff\xff\xff\xff", bytes(4)))
    return data, size


EXTREMES = (
    *(0, 1, 2, 3, 255, 256, 257, 511, 512, 513, 4096, 65_536, 2**20, 2**31, 2**32 - 1, 2**40, 2**63),
    *(-1, -2, -(2**31), -(2**63), True, False, 0.0, 0.5, -1.5, float("nan"), float("inf"), 1e300),
    *("", "x", "llama", "\x00", "7", (), (0,), (1, 0), (True, False), (0.5, 1.5), (2**40, -1), ("a", "b")),
)  # fmt: skip
"""Values where ranges and types end."""

RECURRENT_KEYS = (
    "ssm.conv_kernel", "ssm.inner_size", "ssm.state_size", "ssm.group_count", "ssm.time_step_rank",
    "shortconv.l_cache", "wkv.head_size", "kda.head_dim", "full_attention_interval", "num_loops",
    "nextn_predict_layers", "expert_count", "expert_used_count", "attention.key_length_mla",
    "attention.shared_kv_layers", "attention.sliding_window", "attention.sliding_window_pattern",
)  # fmt: skip

ARCHITECTURES = (
    "llama", "falcon", "gpt2", "mamba", "mamba2", "jamba", "falcon-h1", "qwen35", "qwen3next", "lfm2",
    "gemma3n", "gemma4", "deepseek2", "graniteswitch", "minimax-01", "kimi-linear", "nemotron_h", "plamo2",
    "rwkv7", "bert", "llama4", "deepseek4", "glm5-next", "qwen4exp", "clip", "flux", "t5", "eagle3",
    "unheard-of", "hy_v4",
)  # fmt: skip

MUTATIONS = (
    extreme, extreme, extreme, nudge, relist, drop_key, rename_key, borrow_key, recurrent_keys, architecture,
    drop_tensors, keep_few, rename_tensor, reshape, reshape, borrow_tensors,
)  # fmt: skip

SPOILS = (flip, flip, truncate, zeros, version)


def _keep(result: Result, path: Path, name: str, error: BaseException) -> None:
    """Note an escape once for each place it comes from, and keep its file."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    signature = f"{type(error).__name__} {place}"
    if signature not in result.escapes:
        kept = path.with_name(f"escape-{len(result.escapes)}-{path.name}")
        path.rename(kept)
        result.escapes[signature] = f"case {name}: {error}: {kept}"


def main() -> None:
    """Fuzz, and print cases, outcomes, time and memory; exit status 1 after an escape."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz.models", description="Fuzz the judgement of models."
    )
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same cases")
    parser.add_argument("--cases", type=int, default=100_000)
    options = parser.parse_args()
    started = time.monotonic()

    def every(number: int) -> None:
        if number and number % 5_000 == 0:
            say(f"{number} cases, {time.monotonic() - started:.0f} s, peak {peak_mib():.0f} MiB")

    folder = Path(tempfile.mkdtemp(prefix="fuzz-models-"))
    say(f"seed {options.seed}; files of escapes stay in {folder}")
    result = fuzz(options.seed, options.cases, folder, every)
    for kind, count in result.outcomes.most_common():
        say(f"{count:8} {kind}")
    for signature, where in result.escapes.items():
        say(f"ESCAPE {signature}: {where}")
    say(f"{options.cases} cases in {time.monotonic() - started:.1f} s, {len(result.escapes)} kinds of escape")
    say(f"slowest {result.slowest_seconds * 1000:.0f} ms ({result.slowest}), peak {peak_mib():.0f} MiB")
    if not result.escapes:
        folder.rmdir()
    sys.exit(bool(result.escapes))


if __name__ == "__main__":
    main()
