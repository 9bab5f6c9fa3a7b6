"""A model whose every answer is known, and which computes as much as any other of its shape.

After a printable character comes the next one, whatever came before; after anything else, the
first. The layers are there and take their time, but add next to nothing: no order in which sums
are made, no batch and no cache can turn a token.
"""

from pathlib import Path

import gguf
import numpy as np

from tests.ggufs import Shape

_CYCLE = [chr(code) for code in range(33, 127)]
_BYTES = 256
_FIRST = 3 + _BYTES
"""Token of the first character: control tokens and bytes come before it."""


def answer(last: str, tokens: int) -> str:
    """Return what follows a character."""
    begin = _CYCLE.index(last) + 1 if last in _CYCLE else 0
    return "".join(_CYCLE[(begin + step) % len(_CYCLE)] for step in range(tokens))


def make_certain_model(path: Path, shape: Shape) -> None:
    """Write the model."""
    random = np.random.default_rng(seed=0)
    writer = gguf.GGUFWriter(path, "llama")
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(_BYTES)), *_CYCLE, "\u2581"]
    writer.add_context_length(shape.n_context)
    writer.add_embedding_length(shape.n_embd)
    writer.add_block_count(shape.n_layer)
    writer.add_feed_forward_length(shape.n_ff)
    writer.add_head_count(shape.n_head)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(shape.n_embd // shape.n_head)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types([2, 3, 3, *[6] * _BYTES, *[1] * (len(tokens) - _FIRST)])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)

    def add(name: str, rows: int, columns: int, scale: float) -> None:
        writer.add_tensor(name, (random.standard_normal((rows, columns)) * scale).astype(np.float32))

    embedding = (random.standard_normal((len(tokens), shape.n_embd)) * 0.1).astype(np.float32)
    cycle = slice(_FIRST, _FIRST + len(_CYCLE))
    last = embedding[cycle][-1].copy()
    embedding[:_FIRST] = embedding[-1] = last
    output = np.zeros_like(embedding)
    output[cycle] = np.roll(embedding[cycle], 1, axis=0)
    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output.weight", output)
    writer.add_tensor("output_norm.weight", np.ones(shape.n_embd, dtype=np.float32))
    for layer in (f"blk.{number}." for number in range(shape.n_layer)):
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"{layer}{norm}.weight", np.ones(shape.n_embd, dtype=np.float32))
        for part, scale in (("attn_q", 0.1), ("attn_k", 0.1), ("attn_v", 0.1), ("attn_output", 1e-5)):
            add(f"{layer}{part}.weight", shape.n_embd, shape.n_embd, scale)
        add(f"{layer}ffn_gate.weight", shape.n_ff, shape.n_embd, 0.1)
        add(f"{layer}ffn_up.weight", shape.n_ff, shape.n_embd, 0.1)
        add(f"{layer}ffn_down.weight", shape.n_embd, shape.n_ff, 1e-5)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
