"""Which shape does a model of a benchmark row have, and how many bytes does its quantization read?"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

FAMILIES = {
    "gemma-4-26b-a4b-it": r"gemma-4-26b|gemopus-4-26b",
    "gemma-4-e2b-it": r"gemma-?4-e2b",
    "gemma-4-e4b-it": r"gemma-?4[-:]e4b",
    "gemma-4-12b-it": r"gemma-4-12b|grug-12b",
    "gemma-4-31b-it": r"gemma-?4-31b|equinox-31b",
    "gemma-3-1b-it": r"gemma-?3-1b",
    "gemma-3-4b-it": r"gemma-?3-4b",
    "gemma-3-12b-it": r"gemma-?3-12b",
    "gemma-3-270m-it": r"gemma-3-270m|functiongemma",
    "gemma-2-2b-it": r"gemma-2-2b",
    "gemma-2-9b-it": r"gemma-2-9b",
    "qwen3.6-27b": r"qwen3.[56]-27b|qwen3.6:27b|carnice-v2-27b|tess-4-27b|fara1.5-27b",
    "qwen3.6-35b-a3b": r"(qwen3.[56]|tess-4|ornith-1.0|grug|spatialaxiom|agentworld)-35b|ornith:35b",
    "qwen3.5-122b-a10b": r"qwen3.5-122b",
    "qwen3.5-9b": r"(qwen3.5|qwythos|ornith-1.0|fara1.5|tess-4|omnicoder)-9b|ornith:9b|qwen3.5:9b",
    "qwen3.5-4b": r"(qwen3.5|fara1.5|agents-a1)-4b",
    "qwen3.5-2b": r"qwen3.5-2b",
    "qwen3.5-0.8b": r"qwen3.5-0.8b",
    "qwen3-coder-next": r"qwen3-coder-next",
    "qwen3-30b-a3b-instruct-2507": r"qwen3-(coder-|omni-)?30b",
    "qwen3-0.6b": r"qwen3-0.6b",
    "qwen3-1.7b": r"qwen3-1.7b",
    "qwen3-vl-2b-instruct": r"qwen3vl-2b",
    "qwen3-4b": r"qwen3-4b|jan-code-4b|jan-v3-4b|eva-4b",
    "qwen3-8b": r"qwen3-8b|qwen3:8b|sera-8b",
    "qwen3-14b": r"qwen3-14b|nouscoder-14b",
    "qwen2.5-0.5b-instruct": r"qwen2.5-0.5b",
    "qwen2.5-1.5b-instruct": r"qwen2.5-(coder-)?1.5b|distill-qwen-1.5b",
    "qwen2.5-3b-instruct": r"qwen2.5-(coder-)?3b",
    "qwen2.5-7b-instruct": r"qwen2.5-(coder-)?7b|distill-qwen-7b",
    "qwen2.5-14b-instruct": r"qwen2.5-(coder[-:])?14b|distill-qwen-14b",
    "llama-3.2-1b-instruct": r"llama-?3.2[-:]1b",
    "llama-3.2-3b-instruct": r"llama-?3.2[-:]3b",
    "llama-3.1-8b-instruct": r"llama-3(.1)?-8b|llama3.1:8b|distill-llama-8b|pepe_8b",
    "llama-3.3-70b-instruct": r"pepe_70b",
    "ministral-3-3b-instruct-2512": r"ministral-3[-:]3b",
    "ministral-3-8b-instruct-2512": r"ministral-3:8b",
    "ministral-3-14b-instruct-2512": r"ministral-3:14b",
    "mistral-7b-instruct-v0.3": r"mistral-7b",
    "mistral-nemo-instruct-2407": r"mistral-nemo",
    "mistral-small-3.2-24b-instruct-2506": r"mistral-small-(24b|3.2)|magistry-24b|devstral:24b",
    "phi-4-mini-instruct": r"phi-4-mini",
    "phi-4": r"phi-4-q|microsoft/phi-4$",
    "gpt-oss-20b": r"gpt-oss[-:]20b",
    "deepseek-coder-v2-lite-instruct": r"deepseek-coder-v2-lite",
    "glm-4.7-flash": r"glm-4.7-flash",
    "granite-4.1-30b": r"granite-?4.1[-:]30b",
    "granite-4.1-3b": r"granite-?4.1[-:]3b",
    "granite-4.1-8b": r"granite-?4.1[-:]8b",
    "lfm2-2.6b": r"lfm2(.5)?-2.6b",
    "lfm2-8b-a1b": r"lfm2(.5)?[-:]8b|cybersec-8b-a1b",
    "lfm2-24b-a2b": r"lfm2-24b|lfm2:latest",
    "lfm2-1.2b": r"lfm2(.5)?-1.2b",
    "smollm2-135m-instruct": r"smollm2-135m",
    "smollm2-1.7b-instruct": r"smollm2-1.7b",
    "smollm3-3b": r"smollm3-3b",
    "falcon3-7b-instruct": r"falcon3-7b",
    "nemotron-3-nano-30b-a3b": r"nemotron-(3-nano|cascade-2)[-:]30b|nano-omni-30b",
}
"""Family of the facts -> names of it and of its fine-tunes, which keep its shape."""

OTHERS: Mapping[str, tuple[int, int, int, int, int, int, bool, int]] = {
    r"lfm2(.5)?-350m": (16, 1024, 8, 64, 65536, 354483968, True, 6),
    r"lfm2-700m": (16, 1536, 8, 64, 65536, 742489344, True, 6),
    r"nemotron-3-nano-4b": (42, 3136, 8, 128, 131072, 3973556900, False, 4),
    r"smollm2-360m": (32, 960, 5, 64, 49152, 361821120, True, 32),
    r"phi-3.5-mini": (32, 3072, 32, 96, 32064, 3821079552, False, 32),
    r"phi-3-medium": (40, 5120, 10, 128, 32064, 13960238080, False, 40),
    r"nemotron-mini-4b": (32, 3072, 8, 128, 256000, 4190000000, False, 32),
    r"olmo-2-0425-1b": (16, 2048, 16, 128, 100352, 1484916736, False, 16),
    r"olmo-2-1124-13b": (40, 5120, 40, 128, 100352, 13716198400, False, 40),
    r"h2o-danube3-500m": (16, 1536, 8, 96, 32000, 513590784, False, 16),
    r"tinyllama-1.1b": (22, 2048, 4, 64, 32000, 1100048384, False, 22),
    r"starcoder2-3b": (30, 3072, 2, 128, 49152, 3030371328, True, 30),
    r"yi-1.5-9b": (48, 4096, 4, 128, 64000, 8829407232, False, 48),
    r"internlm3-8b": (48, 4096, 2, 128, 128512, 8804000000, False, 48),
    r"bielik-11b": (50, 4096, 8, 128, 32128, 11168382976, False, 50),
    r"afm-4.5b": (36, 2560, 4, 128, 128004, 4619184640, False, 36),
    r"ernie-4.5-0.3b": (18, 1024, 2, 128, 103424, 360748032, True, 18),
    r"falcon3-1b": (18, 2048, 4, 256, 131072, 1669408768, False, 18),
    r"helium-1-2b": (28, 2048, 8, 128, 64000, 2023868416, False, 28),
    r"granite-3.3-2b": (40, 2048, 8, 64, 49159, 2533539840, True, 40),
    r"granite-3.1-8b": (40, 4096, 8, 128, 49155, 8170848256, True, 40),
    r"granite-4.0-micro": (40, 2560, 8, 64, 100352, 3402836480, True, 40),
    r"llama-2-7b": (32, 4096, 32, 128, 32000, 6738417664, False, 32),
    r"rnj-1": (32, 4096, 8, 128, 128256, 8312000000, True, 32),
}
"""Name -> layers, width, key heads, head size, vocabulary, weights, tied, layers with a cache.

From the publishers' config.json, as llmfit's hf_models.json @a3e0eb2 lists them.
"""

BITS = {
    "F16": (16, 16), "BF16": (16, 16), "Q8_0": (8.5, 8.5), "UD-Q8_K_XL": (9.6, 16),
    "UD-Q5_K_XL": (6.1, 8.5), "UD-Q6_K_XL": (7.2, 8.5), "UD-Q6_K": (6.8, 6.5625), "Q6_K": (6.5625, 6.5625),
    "Q5_K_M": (5.67, 6.5625), "UD-Q4_K_XL": (5.2, 6.5625), "Q4_K_XL": (5.2, 6.5625),
    "UD-Q4_K_XL-QAT": (4.6, 6.5625), "Q4_K_L": (4.85, 8.5), "Q4_K_M": (4.8, 6.5625),
    "Q4_K_S": (4.54, 6.5625), "IQ4_NL": (4.56, 6.5625), "Q4_0": (4.5, 6.5625), "IQ4_XS": (4.32, 6.5625),
    "Q3_K_XL": (4.3, 6.5625), "UD-Q3_K_XL": (4.3, 6.5625), "MXFP4": (4.25, 8.5), "UD-Q3_K_M": (4.0, 6.5625),
    "Q3_K_M": (3.85, 6.5625), "IQ3_XXS": (3.13, 5.5), "UD-IQ2_M": (3.0, 5.5), "Q2_K": (2.94, 6.5625),
    "Q2_K_S": (2.73, 6.5625), "UD-IQ2_XXS": (2.5, 5.5), "IQ2_XXS": (2.13, 5.5),
}  # fmt: skip
"""Quantization -> bits a weight of the layers, and of the output head.

llama.cpp tools/quantize/README.md gives Llama-3.1-8B as a whole; input and output tables are taken out.
"""

CACHE_BYTES = {None: 2.0, "f16": 2.0, "fp16": 2.0, "q8_0": 1.0625, "q4_0": 0.5625, "Q4_0": 0.5625}

ACTIVE = {"nemotron-3-nano-30b-a3b": 3_580_000_000, "lfm2-24b-a2b": 2_300_000_000}
"""Weights that work on a token, of models whose facts leave them out (publishers' model cards)."""

PER_LAYER_EMBEDDING = {"gemma-4-e2b-it", "gemma-4-e4b-it"}
"""Models with a table of 262144 rows of 256 weights a layer, which is looked up and not read."""


class Asked(NamedTuple):
    """What a token asks, in the units of `relayd.planner.speed.Workload`; `file_bytes` is the whole model."""

    n_layer: int
    n_moe_layer: int
    weight_bytes: float
    expert_bytes: float
    n_expert: int
    n_expert_used: int
    kv_bytes: float
    active_parameters: float
    head_parameters: float
    attention_flops: float
    file_bytes: float


def find(name: str, families: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the facts of a model's family by the name a row gives it, or None."""
    lower = name.lower()
    for family, pattern in FAMILIES.items():
        if re.search(pattern, lower) and family in families:
            return dict(families[family])
    for pattern, numbers in OTHERS.items():
        if re.search(pattern, lower):
            layers, width, heads, size, vocabulary, weights, tied, cached = numbers
            return {
                "id": pattern.replace("(.5)?", ""), "n_layer": layers, "n_embd": width,
                "n_head": width // size, "head_dim": size, "n_vocab": vocabulary, "tied_embeddings": tied,
                "params_from_dims": weights,
                "kv_f16_bytes_per_token_full_layers": cached * heads * size * 4, "n_layers_with_kv": cached,
            }  # fmt: skip
    return None


def asked(facts: Mapping[str, Any], quant: str, cache: str | None, depth: float, prompt: float) -> Asked:
    """Return what a token at `depth` asks of a model of these facts."""
    layers, family = facts["n_layer"], facts["id"]
    total = facts.get("params_from_dims") or facts["params_published"]
    active = ACTIVE.get(family) or facts.get("active_params_from_dims") or total
    table = facts["n_vocab"] * facts["n_embd"]
    looked_up = (0 if facts.get("tied_embeddings") else table) + (
        262144 * 256 * layers if family in PER_LAYER_EMBEDDING else 0
    )
    body, head = BITS[quant]
    experts = facts.get("moe") or {}
    share = experts["n_used"] / experts["n_expert"] if experts else 0.0
    expert_weights = (total - active) / (1 - share) if experts else 0.0
    if family == "gpt-oss-20b":
        body, head, expert_bits = 8.5, 8.5, 4.25
    else:
        expert_bits = body
    dense = active - looked_up - table - share * expert_weights
    weight_bytes, expert_bytes = (dense * body + table * head) / 8, expert_weights * expert_bits / 8
    attending = facts.get("n_layers_with_kv") or layers
    return Asked(
        n_layer=layers,
        n_moe_layer=(experts.get("n_moe_layers") or layers - experts.get("dense_lead", 0)) if experts else 0,
        weight_bytes=weight_bytes,
        expert_bytes=expert_bytes,
        n_expert=experts.get("n_expert", 0),
        n_expert_used=experts.get("n_used", 0),
        kv_bytes=_cache(facts, depth) * CACHE_BYTES[cache] / 2 + _state(facts),
        active_parameters=active - looked_up,
        head_parameters=table,
        attention_flops=2 * attending * facts.get("n_head", 0) * facts.get("head_dim", 0) * prompt,
        file_bytes=weight_bytes + expert_bytes + looked_up * body / 8,
    )


def _cache(facts: Mapping[str, Any], depth: float) -> float:
    window = (facts.get("swa") or {}).get("window", 0)
    full = facts.get("kv_f16_bytes_per_token_full_layers") or 0
    sliding = facts.get("kv_f16_bytes_per_cell_swa_layers") or 0
    return float(full * depth + sliding * min(depth, window))


def _state(facts: Mapping[str, Any]) -> float:
    """Return the bytes of recurrent state that a token reads and writes (F32)."""
    recurrent = facts.get("recurrent") or {}
    if not recurrent.get("d_inner") or not recurrent.get("state"):
        return 0.0
    layers = recurrent.get("n_recurrent") or facts["n_layer"] - (facts.get("n_layers_with_kv") or 0)
    return float(2 * 4 * recurrent["state"] * recurrent["d_inner"] * layers)
