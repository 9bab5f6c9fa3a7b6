"""Models made on the spot: random weights, right shape, real GGUF files."""

from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np


@dataclass(frozen=True, slots=True)
class Shape:
    """Dimensions of a llama model whose tokens are characters."""

    n_embd: int = 64
    n_layer: int = 2
    n_ff: int = 96
    n_head: int = 4
    n_context: int = 4096
    template: str = ""
    writes_bytes: bool = True
    """Whether it generates tokens that cannot be read from their text: bytes, and control tokens."""


_BYTES = slice(0, 259)
"""The tokens that stand for bytes, and the control tokens before them."""

TINY = Shape()
"""Loads in 10 ms and generates faster than anything can be measured."""

SLOW = Shape(n_embd=512, n_layer=14, n_ff=1536, n_head=8)
"""Takes about 4 ms a token: where queues, kills and routing matter, things overlap."""


def make_model(path: Path, shape: Shape) -> Path:
    """Write a model and return its path; the same bytes for the same shape."""
    random = np.random.default_rng(seed=0)
    writer = gguf.GGUFWriter(path, "llama")
    tokens, kinds = _vocabulary()
    head = shape.n_embd // shape.n_head
    writer.add_context_length(shape.n_context)
    writer.add_embedding_length(shape.n_embd)
    writer.add_block_count(shape.n_layer)
    writer.add_feed_forward_length(shape.n_ff)
    writer.add_head_count(shape.n_head)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(head)
    if shape.template:
        writer.add_chat_template(shape.template)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)

    def weights(name: str, *sizes: int) -> None:
        writer.add_tensor(name, (random.standard_normal(sizes) * 0.1).astype(np.float32))

    def ones(name: str) -> None:
        writer.add_tensor(name, np.ones(shape.n_embd, dtype=np.float32))

    weights("token_embd.weight", len(tokens), shape.n_embd)
    ones("output_norm.weight")
    if not shape.writes_bytes:
        output = (random.standard_normal((len(tokens), shape.n_embd)) * 0.1).astype(np.float32)
        output[_BYTES] = 0  # some other token has a value above zero
        writer.add_tensor("output.weight", output)
    for layer in (f"blk.{number}." for number in range(shape.n_layer)):
        ones(f"{layer}attn_norm.weight")
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            weights(f"{layer}{part}.weight", shape.n_embd, shape.n_embd)
        ones(f"{layer}ffn_norm.weight")
        weights(f"{layer}ffn_gate.weight", shape.n_ff, shape.n_embd)
        weights(f"{layer}ffn_up.weight", shape.n_ff, shape.n_embd)
        weights(f"{layer}ffn_down.weight", shape.n_embd, shape.n_ff)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _vocabulary() -> tuple[list[str], list[int]]:
    """Return tokens and their kinds: control, every byte, every printable character."""
    characters = ["\u2581", *map(chr, range(33, 127))]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *characters]
    return tokens, [2, 3, 3, *[6] * 256, *[1] * len(characters)]
