"""Does anything but a ModelFileError come out of the GGUF reader, whatever the file holds?

`python -m tests.fuzz.gguf --seed 1 --cases 100000` from the root of the checkout. The same seed makes
the same cases; a case that fails is kept, and its path is told.
"""

import argparse
import random
import resource
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from relayd.errors import ModelFileError
from relayd.gguf import ArrayInfo, ModelMetadata, read_metadata
from relayd.units import MIB
from tests.fuzz import headers
from tests.fuzz.headers import Header, TensorLine, header

NUMBERS = (0, 1, 7, 255, 65_536, 2**20, 2**31, 2**32 - 1, 2**40, 2**60, 2**63 - 1, 2**63, 2**64 - 1)
"""Counts where limits and integer types end."""

SPARSE_ONE_IN = 20
"""Cases in a file of a terabyte of zeros: there counts meet the reader's limits, not the file's end."""

KINDS = {
    "of file, it has": "cut short",
    "cannot hold": "count beyond the file",
    "needs a header": "header too long",
    "expected at most": "over a limit",
    "twice": "there twice",
    "has offset": "wrong offset",
    "has type": "unknown type",
    "has shape": "wrong shape",
    "printable": "wrong name",
    "general.": "wrong value",
    "split.": "wrong split",
    "of arrays": "nested array",
    "version": "wrong version",
    "endian": "wrong version",
    "beginning": "wrong magic",
    "empty": "empty key",
}
"""Words in a message -> how the outcome is counted."""


@dataclass(slots=True)
class Result:
    """What came of the cases; seconds are of processor time."""

    outcomes: Counter[str] = field(default_factory=Counter)
    slowest_seconds: float = 0.0
    most_cost: str = ""


def seeds() -> list[Header]:
    """Return valid headers of several shapes."""
    plain = header([("llama.block_count", headers.UINT32, 2)], [TensorLine(), TensorLine("b", (8, 2), 0, 32)])
    vocabulary = header(
        [
            ("tokenizer.ggml.tokens", headers.ARRAY, (headers.STRING, [f"token{n}" for n in range(300)])),
            ("tokenizer.ggml.scores", headers.ARRAY, (headers.FLOAT32, [0.5] * 300)),
            ("tokenizer.chat_template", headers.STRING, "{% for message in messages %}" * 20),
        ]
    )
    layers = header(
        [
            ("general.alignment", headers.UINT32, 64),
            ("llama.attention.head_count_kv", headers.ARRAY, (headers.INT32, [8, 0, 8, 0])),
            ("llama.attention.swa", headers.ARRAY, (headers.BOOL, [True, False, True, False])),
            ("llama.rope.factors", headers.ARRAY, (headers.FLOAT64, [1.5] * 30)),
            ("llama.big", headers.UINT64, 2**40),
        ],
        [TensorLine(f"blk.{n}.weight", (256, 2, 1, 1), 12, n * 320) for n in range(20)],
        version=2,
    )
    split = header([("split.count", headers.UINT32, 1), ("split.no", headers.UINT32, 0)], [TensorLine()])
    return [plain, vocabulary, layers, split]


def flip(random: random.Random, data: bytearray, _seed: Header, _other: Header) -> None:
    for _ in range(random.choice((1, 1, 4, 32))):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def truncate(random: random.Random, data: bytearray, _seed: Header, _other: Header) -> None:
    del data[random.randrange(len(data)) :]


def inflate(random: random.Random, data: bytearray, seed: Header, _other: Header) -> None:
    place = random.choice(seed.lengths)
    (old,) = struct.unpack_from("<Q", seed.data, place)
    new = random.choice((*NUMBERS, old + 1, old * 2, old - 1, random.randrange(len(data))))
    data[place : place + 8] = struct.pack("<Q", new % 2**64)


def retype(random: random.Random, data: bytearray, seed: Header, _other: Header) -> None:
    place = random.choice(seed.kinds)
    data[place : place + 4] = struct.pack("<I", random.choice((*range(45), 2**31, 2**32 - 1, 3 << 24)))


def splice(random: random.Random, data: bytearray, _seed: Header, other: Header) -> None:
    begin, place = random.randrange(len(other.data)), random.randrange(len(data))
    piece = other.data[begin : begin + random.randrange(1, 200)]
    data[place : place + random.choice((0, len(piece)))] = piece


def cut_out(random: random.Random, data: bytearray, _seed: Header, _other: Header) -> None:
    begin = random.randrange(len(data))
    del data[begin : begin + random.randrange(1, 60)]


MUTATIONS: tuple[Callable[[random.Random, bytearray, Header, Header], None], ...] = (
    *(flip, truncate, splice, cut_out),
    *(inflate, retype) * 3,
)


def mutants(seed: int) -> Iterator[tuple[bytes, int]]:
    """Yield damaged files without end: their bytes, and the size to extend them to with zeros."""
    source = random.Random(seed)
    originals = seeds()
    while True:
        original, other = source.choice(originals), source.choice(originals)
        data = original.data + bytes(source.choice((0, 64, 8192)))
        for _ in range(source.choice((0, 1, 1, 1, 2, 3))):
            # Places refer to the original: after a cut they hit something else, which is as good.
            if data:
                source.choice(MUTATIONS)(source, data, original, other)
        yield bytes(data), 2**40 if source.randrange(SPARSE_ONE_IN) == 0 else len(data)


def outcome(path: Path) -> str:
    """Read one file as users of the reader do, and say what came of it."""
    try:
        use(read_metadata(path))
    except ModelFileError as error:
        return next((kind for words, kind in KINDS.items() if words in error.message), "other refusal")
    return "read"


def use(metadata: ModelMetadata) -> None:
    """Ask what planners ask; refusals are fine here too."""
    assert sum(tensor.nbytes for tensor in metadata.tensors) <= metadata.file_bytes
    assert all(not isinstance(value, ArrayInfo) or value.length >= 0 for value in metadata.values.values())
    assert metadata.n_vocab <= metadata.file_bytes or "vocab_size" in str(metadata.values)
    layers = metadata.whole("block_count")
    metadata.per_layer("attention.head_count_kv", min(layers, 512))


def fuzz(seed: int, cases: int, folder: Path, every: Callable[[int], None] = lambda _: None) -> Result:
    """Run `cases` cases; an error that is no ModelFileError leaves its file in `folder` and comes out."""
    result, path = Result(), folder / f"case-{seed}.gguf"
    for number, (data, size) in zip(range(cases), mutants(seed), strict=False):
        with path.open("wb") as file:
            file.write(data)
            file.truncate(size)
        started = time.process_time()
        kind = outcome(path)
        seconds = time.process_time() - started
        result.outcomes[kind] += 1
        if seconds > result.slowest_seconds:
            result.slowest_seconds, result.most_cost = seconds, f"case {number}: {kind}"
        every(number)
    path.unlink(missing_ok=True)
    return result


def say(line: str) -> None:
    """Print at once."""
    print(line, flush=True)


def peak_mib() -> float:
    """Return the most memory this process has held, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / MIB if sys.platform == "darwin" else peak / 1024


def main() -> None:
    """Fuzz, and tell cases, outcomes, time and memory."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.gguf", description="Fuzz the GGUF reader.")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same cases")
    parser.add_argument("--cases", type=int, default=100_000)
    options = parser.parse_args()
    started, before = time.monotonic(), peak_mib()

    def every(number: int) -> None:
        if number and number % 10_000 == 0:
            say(f"{number} cases, {time.monotonic() - started:.0f} s, peak {peak_mib():.0f} MiB")

    folder = Path(tempfile.mkdtemp(prefix="fuzz-gguf-"))
    say(f"seed {options.seed}; a case that fails stays in {folder}")
    result = fuzz(options.seed, options.cases, folder, every)
    folder.rmdir()
    for kind, count in result.outcomes.most_common():
        say(f"{count:8} {kind}")
    say(f"{options.cases} cases in {time.monotonic() - started:.1f} s")
    say(f"slowest {result.slowest_seconds * 1000:.0f} ms ({result.most_cost})")
    say(f"peak memory {peak_mib():.0f} MiB, {before:.0f} MiB of it before the first case")


if __name__ == "__main__":
    main()
