"""Peculiarities of architectures that neither keys nor weights of the header show.

Read in `src/models/*.cpp`, `llama-hparams.cpp` and `create_memory` of llama.cpp b11434.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """Which layers slide over a limited window, where the file does not list them.

    Attributes:
        period: One layer in so many sees the whole context.
        dense_first: Whether it is the first of them rather than the last.
        tokens: The window where the file gives none.
    """

    period: int
    dense_first: bool = False
    tokens: int = 0


WINDOWS: Mapping[str, Window] = {
    "afmoe": Window(4),
    "cohere2": Window(4),
    "cohere2moe": Window(4, dense_first=True),
    "exaone-moe": Window(4, tokens=128),
    "exaone4": Window(4, tokens=4096),
    "gemma-embedding": Window(6),
    "gemma2": Window(2, tokens=4096),
    "gemma3": Window(6),
    "gemma3n": Window(5),
    "gpt-oss": Window(2),
    "laguna": Window(4, dense_first=True),
    "llama4": Window(4, tokens=8192),
    "mellum": Window(4),
    "modern-bert": Window(3, dense_first=True),
    "muse-glimmer": Window(4),
    "olmo2": Window(4),
    "plamo3": Window(8),
    "smallthinker": Window(4, dense_first=True, tokens=4096),
}
"""`load_swa_pattern` of each architecture; a file's own `sliding_window_pattern` goes before it."""

LISTED_WINDOWS = frozenset({
    "dots3note", "gemma4", "granite_swa", "maple", "mimo2", "spark2_5", "step35",
})  # fmt: skip
"""Architectures whose files must list the sliding layers one by one."""

CACHELESS = frozenset({
    "bert", "clef", "dream", "eurobert", "gemma-embedding", "jina-bert-v2", "jina-bert-v3", "llada",
    "llada-moe", "modern-bert", "neo-bert", "nomic-bert", "nomic-bert-moe", "rnd1", "wavtokenizer-dec",
})  # fmt: skip
"""Encoders and diffusion models: `create_memory` gives them no cache."""

NON_CAUSAL = frozenset({"dream", "gemma-embedding", "llada", "llada-moe", "rnd1"})
"""Architectures whose tokens see later ones too; others where their file has `attention.causal` false."""

HEADLESS = frozenset({
    "bert", "eurobert", "gemma-embedding", "jina-bert-v2", "jina-bert-v3", "modern-bert", "neo-bert",
    "nomic-bert", "nomic-bert-moe",
})  # fmt: skip
"""Encoders whose graph ends in embeddings (`t_embd`): no head multiplies them with the vocabulary."""

RECURRENT = frozenset({"arwkv7", "mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7"})
"""Architectures without attention (`llm_arch_is_recurrent`)."""

STATE_WITHOUT_HEADS = frozenset({
    "bailingmoe3", "glm5-next", "granitehybrid", "jamba", "kimi-k3", "kimi-linear", "lfm2", "lfm2moe",
    "plamo2",
})  # fmt: skip
"""Hybrids in which a layer without KV heads is a recurrent one."""

STATE_BY_INTERVAL: Mapping[str, int] = {
    "minimax-01": 8, "qwen35": 4, "qwen35moe": 4, "qwen3next": 4, "qwen4exp": 4,
}  # fmt: skip
"""Hybrids with attention in one layer of so many, where the file does not say otherwise."""

INDEXED = frozenset({"deepseek32", "dots3note", "glm-dsa", "glm5-next", "hy_v4", "minimax-m3", "qwen4exp"})
"""Sparse attention with a second cache of one key a token, for the indexer."""

LATENT_INDEXED = frozenset({"deepseek32", "dots3note", "glm-dsa", "hy_v4"})
"""Of those, the ones whose indexer chooses cells of compressed keys (MLA)."""

INDEXER_PLAIN = frozenset({"hy_v4"})
"""Of those, the ones whose indexer's keys are not turned by a Hadamard matrix."""

GATE_COPIED = frozenset({"bailingmoe3"})
"""Architectures that copy the result of latent attention behind its gate."""

INDEXER_SHARED = frozenset({"dots3note", "glm-dsa", "glm5-next", "hy_v4"})
"""Of those, the ones in which some layers use the indexer of another."""

SECTIONED = frozenset({
    "paddleocr", "qwen2vl", "qwen35", "qwen35moe", "qwen3tts", "qwen3vl", "qwen3vlmoe",
})  # fmt: skip
MAYBE_SECTIONED = frozenset({"bailingmoe3", "glm4", "glm4moe", "hunyuan_vl"})
"""Architectures that rotate by four parts of a position: always, or where the file has sections."""

UNKNOWN_CACHE: Mapping[str, str] = {
    "deepseek4": "its compressed caches depend on the block ratios of every layer",
    "gemma4-assistant": "its cache belongs to the model it drafts for",
}
"""Architecture -> why its cache has no closed form here."""


PRE_FEED = ("ffn_norm", "post_attention_norm", "attn_output_norm")
"""What the norm before the feed-forward part is called, in order of preference."""

PARALLEL = frozenset({"cohere2", "cohere2moe", "command-r", "falcon", "gptneox", "phi2", "plamo", "stablelm"})
"""Architectures whose attention and feed-forward part read the same stream."""

STREAM_FIRST = frozenset({"cohere2", "cohere2moe", "command-r"})
"""Of those, the ones that add the stream before attention's result."""

STREAM_AHEAD = frozenset({"jamba", "lfm2", "lfm2moe"})
"""Architectures that write a layer's result over the stream rather than the stream over the result."""

ROUTED_EARLY = frozenset({"smallthinker"})
"""Architectures that choose a layer's experts from the stream before the layer."""

NORM_FIRST = frozenset({"kimi-k3", "kimi-linear", "qwen35", "qwen35moe", "qwen3next"})
"""Architectures that compute a layer's first norm before they load its state."""

WINDOW_ROTATED = frozenset({"cohere2", "cohere2moe"})
"""Architectures that rotate by position in sliding layers only."""

ROTATED_BUT_EVERY: Mapping[str, int] = {"smollm3": 4}
"""Architectures that do not rotate by position in one layer of so many, the last of them."""

TURNLESS_WITH_WINDOW = frozenset({"lfm2", "lfm2moe"})
"""Architectures whose sliding layers keep quantized keys as they are, not turned by a Hadamard matrix."""

UNROTATED = frozenset({
    "baichuan", "bloom", "glm5-next", "gpt2", "jais", "jamba", "kimi-k3", "kimi-linear", "mpt", "nemotron_h",
    "nemotron_h_moe", "refact", "starcoder",
})  # fmt: skip
"""Architectures whose positions are a bias, an embedding or nothing, and no rotation."""

CLAMPED = frozenset({"bailingmoe3"})
"""Architectures that clamp gated projections by operations of their own, where their files ask for it."""

DENSE_ONLY = frozenset({"refact"})
"""Architectures whose graph leaves experts out, though a file may have them."""

LATE = frozenset({"bailingmoe3", "cohere2moe"})
"""Architectures that keep the rows of tokens without an output until after the last norm."""

WITHOUT_FLASH = frozenset({"grok"})
"""Architectures for which the engine switches flash attention off by itself."""

REPLAYED = frozenset({
    "afmoe", "arcee", "arctic", "baichuan", "bailingmoe", "bailingmoe2", "bailingmoe3", "bert", "bloom",
    "chatglm", "codeshell", "cohere2", "cohere2moe", "command-r", "dbrx", "deci", "deepseek", "deepseek2",
    "deepseek32", "dots1", "dots3note", "dream", "ernie4_5", "ernie4_5-moe", "exaone", "exaone-moe",
    "exaone4", "falcon", "falcon-h1", "gemma", "gemma-embedding", "gemma2", "gemma3", "gemma3n", "gemma4",
    "glm-dsa", "glm4", "glm4moe", "gpt-oss", "gpt2", "gptneox", "granite", "granite_swa", "granitehybrid",
    "granitemoe", "grok", "grovemoe", "hunyuan-dense", "hunyuan-moe", "hunyuan_vl", "hy_v3", "hy_v4",
    "internlm2", "jais", "jais2", "jamba", "kimi-k3", "kimi-linear", "laguna", "lfm2", "lfm2moe", "llada",
    "llada-moe", "llama", "llama4", "maincoder", "mamba", "mamba2", "maple", "mellum", "mimo2", "minicpm",
    "minicpm3", "minimax-m2", "minimax-m3", "mistral3", "mistral4", "mpt", "muse-glimmer", "nanbeige",
    "nemotron", "nemotron_h", "nemotron_h_moe", "nomic-bert", "olmo", "olmo2", "olmoe", "openelm", "orion",
    "paddleocr", "pangu-embedded", "phi2", "phi3", "phimoe", "plamo", "plamo3", "pockettts", "qwen", "qwen2",
    "qwen2moe", "qwen2vl", "qwen3", "qwen35", "qwen35moe", "qwen3moe", "qwen3next", "qwen3tts", "qwen3vl",
    "qwen3vlmoe", "refact", "rnd1", "seed_oss", "smallthinker", "smollm3", "spark2_5", "stablelm",
    "starcoder", "starcoder2", "talkie", "xverse",
})  # fmt: skip
"""Architectures whose replayed graph was compared with the engine's own compute buffer."""
