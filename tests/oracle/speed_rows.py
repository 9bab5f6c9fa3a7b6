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
from zlib import crc32

from relayd.hardware.arithmetic import core_tflops, peak_tflops
from relayd.planner.processor import AMD, APPLE, CPU, INTEGRATED, NVIDIA, NVIDIA_OLD, DeviceClass, Processor
from relayd.planner.speed import Workload, roofline_tokens_per_second
from tests.oracle.speed_shapes import BITS, CACHE_BYTES, Asked, asked, find

STORED = Path(__file__).resolve().parents[1] / "data" / "speed_rows.json"

RADEON_780M, M1_MAX = "Radeon 780M", "M1 Max"
RX_9070_XT, RX_7900_XTX, R9700 = "RX 9070 XT", "RX 7900 XTX", "Radeon AI PRO R9700"
RADEON_8060S, M3_ULTRA = "Radeon 8060S", "M3 Ultra"

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
    "RTX 2080": (NVIDIA, 448, 8),
    "RTX 3080": (NVIDIA, 760, 10),
    "RTX 3050 Ti Laptop GPU": (NVIDIA, 192, 4),
    RX_7900_XTX: (AMD, 960, 24),
    "AMD Radeon RX 7900 XT": (AMD, 800, 20),
    "AMD Radeon RX 6800": (AMD, 512, 16),
    RX_9070_XT: (AMD, 640, 16),
    R9700: (AMD, 640, 32),
    RADEON_8060S: (INTEGRATED, 256, 110),
    M3_ULTRA: (APPLE, 819, 400),
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
STRIX = "github.com/kyuz0/amd-strix-halo-toolboxes benchmark/results, llama.cpp b9187 on Vulkan RADV"
GEERLING = "github.com/geerlingguy/ai-benchmarks README"
RDNA3 = "github.com/ggml-org/llama.cpp pull request 26284, HIP, 2026"

ELSEWHERE = (
    (RX_9070_XT, "qwen3-8b", "Q4_K_M", 0, 512, 114.9, 4472.0, VULKANFORGE),
    (RX_9070_XT, "llama-3.1-8b", "Q4_K_M", 0, 512, 119.6, 4802.0, VULKANFORGE),
    (RX_9070_XT, "mistral-7b", "Q4_K_M", 0, 512, 127.5, 4826.0, VULKANFORGE),
    (RX_9070_XT, "gemma-4-26b", "Q4_0", 0, 512, 132.7, 4140.0, VULKANFORGE),
    (RX_7900_XTX, "llama-3.1-8b", "Q4_K_M", 0, 2048, 105.75, 3189.36, RDNA3),
    (RX_7900_XTX, "llama-3.1-8b", "Q4_K_M", 4096, 2048, 98.67, 2677.85, RDNA3),
    (R9700, "gpt-oss-20b", "MXFP4", 0, 512, 163.26, 0.0, GEERLING),
    (R9700, "llama-3.2-3b", "Q4_K_M", 0, 512, 195.91, 0.0, GEERLING),
    (R9700, "distill-qwen-14b", "Q4_K_M", 0, 512, 53.72, 0.0, GEERLING),
    (M3_ULTRA, "gpt-oss-20b", "MXFP4", 0, 512, 115.29, 0.0, GEERLING),
    (M3_ULTRA, "llama-3.2-3b", "Q4_K_M", 0, 512, 154.60, 0.0, GEERLING),
    (M3_ULTRA, "distill-qwen-14b", "Q4_K_M", 0, 512, 51.85, 0.0, GEERLING),
    (RADEON_8060S, "glm-4.7-flash", "UD-Q8_K_XL", 0, 512, 41.17, 1092.07, STRIX),
    (RADEON_8060S, "glm-4.7-flash", "UD-Q8_K_XL", 32768, 2048, 22.55, 0.0, STRIX),
    (RADEON_8060S, "qwen3.5-122b", "UD-Q5_K_XL", 0, 512, 22.3, 308.78, STRIX),
    (RADEON_8060S, "qwen3.5-122b", "UD-Q5_K_XL", 32768, 2048, 20.38, 224.82, STRIX),
    (RADEON_8060S, "qwen3.6-27b", "UD-Q8_K_XL", 0, 512, 6.3, 274.97, STRIX),
    (RADEON_8060S, "qwen3.6-27b", "UD-Q8_K_XL", 32768, 2048, 5.92, 123.12, STRIX),
    (RADEON_8060S, "qwen3.6-35b", "UD-Q4_K_XL", 0, 512, 60.43, 1113.64, STRIX),
    (RADEON_8060S, "qwen3.6-35b", "UD-Q4_K_XL", 32768, 2048, 49.21, 715.52, STRIX),
    (RADEON_8060S, "qwen3.6-35b", "UD-Q8_K_XL", 0, 512, 46.33, 1045.0, STRIX),
    (RADEON_8060S, "qwen3.6-35b", "UD-Q8_K_XL", 32768, 2048, 40.08, 682.8, STRIX),
    (RADEON_8060S, "gemma-4-26b", "UD-Q4_K_XL", 0, 512, 54.67, 1324.66, STRIX),
    (RADEON_8060S, "gemma-4-26b", "UD-Q4_K_XL", 32768, 2048, 42.4, 682.46, STRIX),
    (RADEON_8060S, "gemma-4-26b", "UD-Q8_K_XL", 0, 512, 45.48, 1291.45, STRIX),
    (RADEON_8060S, "gemma-4-26b", "UD-Q8_K_XL", 32768, 2048, 36.81, 672.93, STRIX),
    (RADEON_8060S, "gemma-4-31b", "UD-Q4_K_XL", 0, 512, 11.45, 301.53, STRIX),
    (RADEON_8060S, "gemma-4-31b", "UD-Q4_K_XL", 32768, 2048, 9.09, 146.08, STRIX),
    (RADEON_8060S, "gemma-4-31b", "UD-Q8_K_XL", 0, 512, 6.3, 272.1, STRIX),
    (RADEON_8060S, "gemma-4-31b", "UD-Q8_K_XL", 32768, 2048, 5.52, 141.06, STRIX),
    (RADEON_8060S, "gpt-oss-20b", "MXFP4", 0, 512, 79.78, 1692.49, STRIX),
    (RADEON_8060S, "gpt-oss-20b", "MXFP4", 32768, 2048, 61.12, 555.73, STRIX),
    (RADEON_8060S, "llama-2-7b", "Q4_0", 0, 512, 55.73, 1337.7, STRIX),
)  # fmt: skip
"""Rows of other pages: device, model, quantization, depth, prompt, decoding, prefill, page; cache f16."""

PEAK_NAMES = {RADEON_780M: "780M", RADEON_8060S: "8060S", R9700: "R9700"}
"""How the table of peaks calls a device, where that is not by its name with its maker's."""

NOT_ALONE = {2, 4, 8, 24, 64}
"""Values of `batch` that mean sequences at once; the others are `--batch-size`."""


CORES = {"Ryzen 7 7840HS": 8, "Core Ultra 7 155H": 16}


def peak_name(device: str, kind: DeviceClass) -> str:
    """Return the name by which the table of peaks knows a device."""
    return f"Apple {device}" if kind is APPLE else PEAK_NAMES.get(device, device)


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
    def processor(self) -> Processor:
        """The device as relayd would describe it."""
        if self.kind is CPU:
            return Processor(CPU, self.bandwidth, CORES[self.device] * core_tflops({"avx512_vnni"}))
        peak = peak_tflops(peak_name(self.device, self.kind))
        return Processor(self.kind, self.bandwidth, peak / self.kind.peak_factor if peak else None)

    @property
    def aside(self) -> bool:
        """Whether the row is kept from every fit: a third of the models of each device."""
        return crc32(f"{self.device}|{self.model}|{self.quant}".encode()) % 3 == 0

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
        elif row.prefill and _beyond_peak(row):
            left_out["prompts above the peak"] += 1
        elif row.decode > roofline_tokens_per_second(row.workload, row.bandwidth):
            left_out["above the roofline"] += 1
        else:
            key = (row.device, row.model, row.quant, round(row.depth / 256))
            left_out["repeats (the median is kept)"] += key in groups
            groups.setdefault(key, []).append(row)
    return [middle(rows) for rows in groups.values()], left_out


def _beyond_peak(row: Row) -> bool:
    peak = peak_tflops(peak_name(row.device, row.kind))
    flops = 2 * (row.asked.active_parameters - row.asked.head_parameters) + row.asked.attention_flops
    return peak is not None and flops * row.prefill > peak * 1e12


def middle(rows: Sequence[Row]) -> Row:
    wanted = median_low(row.decode for row in rows)
    return next(row for row in rows if row.decode == wanted)


def claims(facts: Mapping[str, Any], left_out: Counter[str]) -> Iterator[Claim]:
    for row in facts["benchmarks_localmaxxing_llamacpp"]:
        if reason := localmaxxing_reason(row):
            left_out[reason] += 1
        else:
            yield localmaxxing(row)
    for row in [*facts["benchmarks_llmfit_community"], *facts.get("community", ())]:
        quant = community_quant(row)
        if reason := community_reason(row, quant):
            left_out[reason] += 1
        else:
            yield community(row, quant)
    for device, name, quant, depth, prompt, decode, prefill, page in ELSEWHERE:
        yield Claim(device, name, quant, None, depth + 64, 2 * depth + prompt, decode, prefill, page)


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


def community_rows(folder: Path) -> list[dict[str, Any]]:
    """Return the submissions of a checkout of llmfit's `data/community`, spelled like those of the facts."""
    found = []
    for file in sorted(folder.glob("*/*.json")):
        document = json.loads(file.read_text("utf-8"))
        hardware = document["hardware"]
        found += [
            {
                "file": f"{file.parent.name}/{file.name}", "hw": hardware["hardwareName"],
                "gpus": hardware.get("gpuCount", 1), "model": one["model"], "provider": one["provider"],
                "avg_tps": one["avgTps"], "min_tps": one["minTps"] or one["avgTps"],
                "max_tps": one["maxTps"] or one["avgTps"], "avg_out": one["avgOutputTokens"] or 200,
            }
            for one in document["results"]
        ]  # fmt: skip
    return found


def store(rows: Sequence[Row], attribution: Mapping[str, str]) -> None:
    """Write the rows, one a line, with where they are from."""
    lines = ",\n".join(json.dumps(asdict(row), separators=(",", ":")) for row in rows)
    head = json.dumps({"attribution": attribution, "asked": Asked._fields}, indent=1)
    STORED.write_text(f'{head[:-2]},\n "rows": [\n{lines}\n]}}\n', "utf-8")
