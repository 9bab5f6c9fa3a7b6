"""What a GGUF holds: a model to serve, or something that goes with one or that another program reads."""

from collections.abc import Mapping
from enum import StrEnum

from relayd.errors import ModelFileError
from relayd.gguf.metadata import Value

BUILD = 11434
"""The build of llama.cpp whose architectures are listed here."""


class Kind(StrEnum):
    """What a file is for. A value is how messages name it."""

    MODEL = "a model"
    PROJECTOR = "a projector for images or sound"
    ADAPTER = "a LoRA adapter"
    CONTROL_VECTOR = "a control vector"
    DRAFT = "a draft model for speculative decoding"
    DIFFUSION = "a model for images or video"
    VOCODER = "a part of a speech synthesis"
    IMATRIX = "an importance matrix"
    VOCABULARY = "a vocabulary without weights"
    UNKNOWN = "a model of an architecture that llama.cpp does not know"


USES: Mapping[Kind, str] = {
    Kind.PROJECTOR: "It serves beside its model: name it as `projector` of the model's line.",
    Kind.ADAPTER: "It changes a model: name it as `lora` of the line of the model that it was trained on.",
    Kind.CONTROL_VECTOR: 'It steers a model: add args = ["--control-vector", FILE] to the model\'s line.',
    Kind.DRAFT: 'It drafts tokens for a model: add args = ["--model-draft", FILE] to the model\'s line.',
    Kind.DIFFUSION: "Programs like stable-diffusion.cpp or ComfyUI run it; llama-server does not.",
    Kind.VOCODER: "llama-tts and programs like it run it; llama-server does not.",
    Kind.IMATRIX: "llama-quantize reads it to make smaller files of a model.",
    Kind.VOCABULARY: "Tests of tokenizers read it. Get a file with the weights: `relayd pull NAME`.",
    Kind.UNKNOWN: "A newer llama-server may know it: give it a line in relay.toml, and the engine decides.",
}
"""What a file that cannot be served can be used for."""

DRAFTS = frozenset({"dflash", "dspark", "eagle3", "gemma4-assistant"})
"""Architectures that draft for another model and cannot run alone (src/llama-arch.cpp)."""

VOCODERS = frozenset({"wavtokenizer-dec"})

DIFFUSION = frozenset({
    "aura", "auraflow", "bria", "chroma", "cosmos", "ernie_image", "flux", "flux2", "hidream",
    "hunyuan_video", "hyvid", "kandinsky5", "ltxv", "lumina2", "mochi", "omnigen", "omnigen2", "ovis",
    "pixart", "qwen_image", "sd1", "sd2", "sd3", "sdxl", "sdxl_refiner", "svd", "wan", "z_image",
})  # fmt: skip
"""Architectures that converters for stable-diffusion.cpp and ComfyUI write."""

KNOWN = frozenset({
    "afmoe", "apertus", "arcee", "arctic", "arwkv7", "baichuan", "bailingmoe", "bailingmoe2", "bailingmoe3",
    "bert", "bitnet", "bloom", "chameleon", "chatglm", "clef", "codeshell", "cogvlm", "cohere2",
    "cohere2moe", "command-r", "dbrx", "deci", "deepseek", "deepseek2", "deepseek2-ocr", "deepseek32",
    "deepseek4", "dots1", "dots3note", "dream", "ernie4_5", "ernie4_5-moe", "eurobert", "exaone",
    "exaone-moe", "exaone4", "falcon", "falcon-h1", "gemma", "gemma-embedding", "gemma2", "gemma3",
    "gemma3n", "gemma4", "glm-dsa", "glm4", "glm4moe", "glm5-next", "gpt-oss", "gpt2", "gptj", "gptneox",
    "granite", "granite_swa", "granitehybrid", "granitemoe", "graniteswitch", "grok", "grovemoe",
    "hrm_text", "hunyuan-dense", "hunyuan-moe", "hunyuan_vl", "hy_v3", "hy_v4", "internlm2", "jais",
    "jais2", "jamba", "jina-bert-v2", "jina-bert-v3", "kimi-k3", "kimi-linear", "laguna", "lfm2", "lfm2moe",
    "llada", "llada-moe", "llama", "llama-embed", "llama4", "maincoder", "mamba", "mamba2", "maple",
    "mellum", "mimo2", "minicpm", "minicpm3", "minimax-01", "minimax-m2", "minimax-m3", "mistral3",
    "mistral4", "modern-bert", "mpt", "muse-glimmer", "nanbeige", "nemotron", "nemotron_h",
    "nemotron_h_moe", "neo-bert", "nomic-bert", "nomic-bert-moe", "olmo", "olmo2", "olmoe", "openelm",
    "orion", "paddleocr", "pangu-embedded", "phi2", "phi3", "phimoe", "plamo", "plamo2", "plamo3", "plm",
    "pockettts", "qwen", "qwen2", "qwen2moe", "qwen2vl", "qwen3", "qwen35", "qwen35moe", "qwen3moe",
    "qwen3next", "qwen3tts", "qwen3vl", "qwen3vlmoe", "qwen4exp", "refact", "rnd1", "rwkv6", "rwkv6qwen2",
    "rwkv7", "seed_oss", "smallthinker", "smollm3", "spark2_5", "stablelm", "starcoder", "starcoder2",
    "step35", "t5", "t5encoder", "talkie", "xverse",
})  # fmt: skip
"""Architectures that llama.cpp runs by themselves (src/llama-arch.cpp `LLM_ARCH_NAMES` of `BUILD`)."""

ARCHITECTURE, TYPE = "general.architecture", "general.type"


def kind_of(values: Mapping[str, Value], n_tensors: int) -> Kind:
    """Return what a file is for, from the keys of its header and the number of its tensors."""
    architecture, declared = values.get(ARCHITECTURE), values.get(TYPE)
    if declared == "imatrix" or "imatrix.datasets" in values:
        return Kind.IMATRIX
    if architecture == "clip" or declared == "mmproj":
        return Kind.PROJECTOR
    if declared == "adapter" or "adapter.type" in values:
        return Kind.ADAPTER
    if architecture == "controlvector":
        return Kind.CONTROL_VECTOR
    for names, kind in ((DRAFTS, Kind.DRAFT), (DIFFUSION, Kind.DIFFUSION), (VOCODERS, Kind.VOCODER)):
        if architecture in names:
            return kind
    if not n_tensors:
        return Kind.VOCABULARY
    return Kind.MODEL if architecture in KNOWN else Kind.UNKNOWN


def refused(
    kind: Kind, file: object, architecture: object = "", build: int | None = None
) -> ModelFileError | None:
    """Return the error that states what a file is; None for a model, or one that a newer engine may know.

    Args:
        kind: What it is.
        file: How the error names it.
        architecture: What its header states.
        build: llama.cpp's build number of the engine; None while it is not known.
    """
    if kind is Kind.MODEL or (kind is Kind.UNKNOWN and (build or 0) > BUILD):
        return None
    named = f" ({architecture})" if architecture and kind not in {Kind.VOCABULARY, Kind.ADAPTER} else ""
    return ModelFileError(f"{file} is {kind}{named}, not a model to serve", remedy=USES[kind])
