"""Which published runs can a model of one device and one sequence be held against?

A row is left out by what it says of itself, never by what it measured, with one exception: nobody reads
weights faster than the memory delivers them, so rows above the roofline are hidden speculation, several
sequences added up, or another model than the one named.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median_low
from typing import Any

from relayd.planner.processor import AMD, APPLE, CPU, INTEGRATED, NVIDIA, NVIDIA_OLD, DeviceClass
from relayd.planner.speed import Workload, roofline_tokens_per_second
from tests.oracle.speed_shapes import BITS, CACHE_BYTES, Asked, asked, find

STORED = Path(__file__).resolve().parents[1] / "data" / "speed_rows.json"

RADEON_780M, M1_MAX = "Radeon 780M", "M1 Max"

DEVICES: Mapping[str, tuple[DeviceClass, float, float]] = {
    "RTX 3060": (NVIDIA, 360, 12),
    "RTX 3090": (NVIDIA, 936, 24),
    "RTX 3090 Ti": (NVIDIA, 1008, 24),
    "RTX 4070": (NVIDIA, 504, 12),
    "RTX 4090": (NVIDIA, 1008, 24),
    "RTX 5070": (NVIDIA, 672, 12),
    "RTX 5080": (NVIDIA, 960, 16),
    "RTX 5090": (NVIDIA, 1792, 32),
    "GB10": (NVIDIA, 273, 120),
    "GTX 1050 Ti": (NVIDIA_OLD, 112, 4),
    "GTX 1070": (NVIDIA_OLD, 256, 8),
    "RX 7900 XTX": (AMD, 960, 24),
    "RX 9070 XT": (AMD, 645, 16),
    RADEON_780M: (INTEGRATED, 89.6, 32),
    M1_MAX: (APPLE, 400, 64),
    "M3 Pro": (APPLE, 150, 36),
    "M4 Pro": (APPLE, 273, 48),
    "M4 Max": (APPLE, 546, 64),
    "M5 Pro": (APPLE, 307, 64),
    "M5 Max": (APPLE, 614, 128),
    "Ryzen 7 7840HS": (CPU, 89.6, 32),
    "Core Ultra 7 155H": (CPU, 89.6, 32),
}
"""Device -> class, GB/s by its maker, memory in GB; the two laptops are taken to have DDR5-5600."""

SPELLINGS = {
    "AMD Ryzen 7 8745H w/ Radeon 780M": RADEON_780M,
    "AMD Ryzen 7 8745H w/ Radeon 780M Graphics": RADEON_780M,
    "AMD Ryzen 7 7840HS": "Ryzen 7 7840HS",
    "Intel R Core TM Ultra 7 155H": "Core Ultra 7 155H",
}

VULKANFORGE = "github.com/maeddesg/vulkanforge/wiki/Benchmarks, llama.cpp b9174 on Vulkan, 2026-06"

ELSEWHERE = (
    ("RX 9070 XT", "qwen3-8b", "Q4_K_M", 114.9, 4472.0),
    ("RX 9070 XT", "llama-3.1-8b", "Q4_K_M", 119.6, 4802.0),
    ("RX 9070 XT", "mistral-7b", "Q4_K_M", 127.5, 4826.0),
    ("RX 9070 XT", "gemma-4-26b", "Q4_0", 132.7, 4140.0),
)
"""Rows of the page above: device, model, quantization, decoding and prefill at 512 tokens, cache f16."""

NOT_ALONE = {2, 4, 8, 24, 64}
"""Values of `batch` that mean sequences at once; the others are `--batch-size`."""


@dataclass(frozen=True, slots=True)
class Row:
    """One published run: `asked` as in `Asked`, speeds in tokens a second, 0 where none was published."""

    device: str
    model: str
    quant: str
    depth: int
    asked: Asked
    decode: float
    prefill: float
    source: str

    @property
    def kind(self) -> DeviceClass:
        return DEVICES[self.device][0]

    @property
    def bandwidth(self) -> float:
        return DEVICES[self.device][1]

    @property
    def workload(self) -> Workload:
        return Workload(
            **{name: value for name, value in self.asked._asdict().items() if name != "file_bytes"}
        )


@dataclass(frozen=True, slots=True)
class Claim:
    """What a row says, in one spelling for both collections."""

    device: str
    name: str
    quant: str
    cache: str | None
    depth: float
    prompt: float
    decode: float
    prefill: float
    source: str


def from_facts(facts: Mapping[str, Any]) -> tuple[list[Row], Counter[str]]:
    """Return the rows to hold a model against, and how many were left out for which reason."""
    left_out: Counter[str] = Counter()
    families = {family["id"]: family for family in facts["families"]}
    groups: dict[tuple[str, str, str, int], list[Row]] = {}
    for claim in claims(facts, left_out):
        shape = find(claim.name, families)
        if shape is None:
            left_out["shape of the model not known"] += 1
            continue
        wanted = asked(shape, claim.quant, claim.cache, claim.depth, claim.prompt)
        row = Row(
            claim.device, shape["id"], claim.quant, round(claim.depth), wanted, claim.decode, claim.prefill,
            claim.source,
        )  # fmt: skip
        if wanted.file_bytes + wanted.kv_bytes > 0.97e9 * DEVICES[claim.device][2]:
            left_out["larger than the device's memory"] += 1
        elif row.decode > roofline_tokens_per_second(row.workload, row.bandwidth):
            left_out["above the roofline"] += 1
        else:
            key = (row.device, row.model, row.quant, round(row.depth / 256))
            left_out["repeats (the median is kept)"] += key in groups
            groups.setdefault(key, []).append(row)
    return [middle(rows) for rows in groups.values()], left_out


def middle(rows: Sequence[Row]) -> Row:
    wanted = median_low(row.decode for row in rows)
    return next(row for row in rows if row.decode == wanted)


def claims(facts: Mapping[str, Any], left_out: Counter[str]) -> Iterator[Claim]:
    for row in facts["benchmarks_localmaxxing_llamacpp"]:
        if reason := localmaxxing_reason(row):
            left_out[reason] += 1
        else:
            yield localmaxxing(row)
    for row in facts["benchmarks_llmfit_community"]:
        quant = community_quant(row)
        if reason := community_reason(row, quant):
            left_out[reason] += 1
        else:
            yield community(row, quant)
    for device, name, quant, decode, prefill in ELSEWHERE:
        yield Claim(device, name, quant, None, 512, 512, decode, prefill, VULKANFORGE)


def spelled(hardware: str) -> str:
    return SPELLINGS.get(hardware, re.sub(r"^(NVIDIA|Apple) (GeForce )?", "", hardware))


def localmaxxing_reason(row: Mapping[str, Any]) -> str:
    device = spelled(row["hw"])
    if device not in DEVICES:
        return "device of too few rows or several devices"
    if row["batch"] in NOT_ALONE:
        return "several sequences at once"
    if not row["prompt"] or not row["out"]:
        return "prompt and output not stated"
    if row.get("backend") == "cpu" and DEVICES[device][0] is not CPU:
        return "ran on another device than stated"
    if "MTP" in row["model"] and device != "RTX 3090":
        return "speculative decoding or another engine"
    if row["quant"] not in BITS or row.get("kv") not in CACHE_BYTES:
        return "quantization not known"
    return ""


def localmaxxing(row: Mapping[str, Any]) -> Claim:
    device = spelled(row["hw"])
    # The submitter of the RTX 4070 measured at the end of the context: at the same prompt of 512 tokens,
    # speed and prefill fall steadily with it.
    at_the_end = device == "RTX 4070" and row["batch"] > 1
    depth = row["ctx"] if at_the_end else row["prompt"] + row["out"] / 2
    return Claim(
        device=device, name=row["model"], quant=row["quant"], cache=row.get("kv"), depth=depth,
        prompt=2 * depth if at_the_end else row["prompt"], decode=row["tok_s"],
        prefill=row.get("prefill_tok_s") or 0.0 if row["prompt"] >= 256 else 0.0, source=row["id"],
    )  # fmt: skip


def community_quant(row: Mapping[str, Any]) -> str:
    found = re.search(r"UD-Q4_K_XL|Q\d_K_[MS]|Q\d_0|IQ4_NL|MXFP4", row["model"])
    if found:
        return found[0]
    if row["provider"] != "ollama":
        return ""
    if "qat" in row["model"]:
        return "Q4_0"
    return "Q8_0" if "q8_0" in row["model"] else "Q4_K_M"


def community_reason(row: Mapping[str, Any], quant: str) -> str:
    if spelled(row["hw"]) not in DEVICES or row["gpus"] != 1:
        return "device of too few rows or several devices"
    if row["provider"] == "vllm" or re.search(r"mlx|mtp|fp4|fp8", row["model"].lower().replace("mxfp4.", "")):
        return "speculative decoding or another engine"
    if row["max_tps"] > 1.5 * row["min_tps"]:
        return "repeats differ by half"
    return "" if quant in BITS else "quantization not known"


def community(row: Mapping[str, Any], quant: str) -> Claim:
    return Claim(
        device=spelled(row["hw"]), name=row["model"], quant=quant, cache=None, depth=row["avg_out"] / 2 + 30,
        prompt=30, decode=row["avg_tps"], prefill=0.0, source=row["file"],
    )  # fmt: skip


def stored() -> list[Row]:
    """Return the rows kept in the repository, those of other sources included."""
    document = json.loads(STORED.read_text("utf-8"))
    return [Row(**{**row, "asked": Asked(*row["asked"])}) for row in document["rows"]]


def store(rows: Sequence[Row], attribution: Mapping[str, str]) -> None:
    """Write the rows, one a line, with where they are from."""
    lines = ",\n".join(json.dumps(asdict(row), separators=(",", ":")) for row in rows)
    head = json.dumps({"attribution": attribution, "asked": Asked._fields}, indent=1)
    STORED.write_text(f'{head[:-2]},\n "rows": [\n{lines}\n]}}\n', "utf-8")
