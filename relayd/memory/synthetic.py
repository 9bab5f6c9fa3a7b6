"""The header of a model of which only the dimensions are known.

The catalogue knows the shape of models that are not downloaded. This writes that shape as a header: the
keys that llama.cpp b11434 asks of each architecture (`load_arch_hparams` in `src/models/*.cpp`). What the
catalogue does not know (rope factors, a vocabulary) takes a few MiB in a real file.
"""

from collections.abc import Iterator

from relayd.catalog.entry import Dimensions, Experts, Recurrent
from relayd.gguf.metadata import ModelMetadata, Tensor, Value
from relayd.gguf.quants import QUANTS
from relayd.memory.tensortable import ONE_HALF, block, feed, full_head, kv_heads, outside, slides
from relayd.units import Bytes

F16, F32, Q4_K, Q6_K, Q8_0, MXFP4 = 1, 0, 12, 14, 8, 39

HEADS = frozenset({"token_embd.weight", "output.weight", "per_layer_token_embd.weight"})
"""Tensors that quantizations keep more precise than the others."""

HALVES = ("altup_", "per_layer_model_proj")
"""Beginnings of the names of tensors that are never quantized further than F16."""

KEPT = (
    ".bias", "_norm.weight", "ssm_a", "ssm_d", "ssm_conv1d.weight", "shortconv.conv.weight",
    "position_embd.weight", "token_types.weight",
)  # fmt: skip
"""Ends of the names of tensors that stay F32."""

TOP_K_GATES = {"gpt-oss": 3, "deepseek2": 2, "glm4moe": 2, "kimi-linear": 2, "lfm2moe": 2, "mimo2": 2}
"""Architecture -> its `expert_gating_func`, where its loader needs one."""


def header(dims: Dimensions, context: int, *, weights: int = Q4_K, head: int = Q6_K) -> ModelMetadata:
    """Return the header of a model with these dimensions.

    Args:
        dims: Its shape.
        context: Tokens it was trained on.
        weights: Type of its matrices; where rows do not fill its blocks, Q8_0 or F16 take its place.
        head: Type of its embeddings and its head.
    """
    named = [*outside(dims)]
    for index in range(dims.n_layer):
        named += [(f"blk.{index}.{name}", shape) for name, shape in block(dims, index)]
    experts = MXFP4 if dims.architecture == "gpt-oss" else weights
    tensors = []
    for name, shape in named:
        wanted = head if name in HEADS else experts if name.endswith("_exps.weight") else weights
        tensors.append(Tensor(name, shape, stored_type(name, shape, wanted), 0))
    own: dict[str, Value] = {f"{dims.architecture}.{key}": value for key, value in _keys(dims, context)}
    if dims.encoder:
        own["tokenizer.ggml.token_type_count"] = 2
        own[f"{dims.architecture}.attention.causal"] = False
    nbytes = Bytes(sum(tensor.nbytes for tensor in tensors))
    return ModelMetadata(dims.architecture, own, tuple(tensors), nbytes)


def stored_type(name: str, shape: tuple[int, ...], wanted: int) -> int:
    """Return the type in which a tensor is stored when matrices are to be of the type `wanted`."""
    if len(shape) < 2 or shape[1] == 1 or name.endswith(KEPT) or "ffn_gate_inp" in name:
        return F32
    if name.startswith(HALVES):
        return F16
    return next(kind for kind in (wanted, Q8_0, F16) if shape[0] % QUANTS[kind].block == 0)


def _keys(dims: Dimensions, context: int) -> Iterator[tuple[str, Value]]:
    """Yield the keys of the architecture, without its prefix."""
    layers = range(dims.n_layer)
    yield from (("context_length", context), ("embedding_length", dims.n_embd), ("block_count", dims.n_layer))
    yield "vocab_size", dims.n_vocab
    only_experts = dims.experts.n_ff if dims.experts else 0
    alone = dims.architecture in ONE_HALF
    widths = tuple(feed(dims, index) for index in layers) if alone else dims.n_ff
    yield "feed_forward_length", widths or only_experts
    yield "attention.head_count", dims.n_head
    listed = dims.recurrent and not dims.recurrent.full_every and not dims.recurrent.every_layer
    if listed or dims.global_attention:
        yield "attention.head_count_kv", tuple(kv_heads(dims, index) for index in layers)
    else:
        yield "attention.head_count_kv", kv_heads(dims, 0)
    for key in ("layer_norm_rms_epsilon", "layer_norm_epsilon"):
        yield f"attention.{key}", 1e-5
    yield from _head_keys(dims)
    if dims.sliding_window:
        yield "attention.sliding_window", dims.sliding_window.n_swa
        if dims.architecture in {"gemma4", "mimo2", "step35"}:
            yield "attention.sliding_window_pattern", tuple(slides(dims, index) for index in layers)
    if dims.experts:
        yield from _expert_keys(dims, dims.experts)
    if dims.recurrent:
        yield from _recurrent_keys(dims.recurrent)
    yield from (
        ("logit_scale", 1.0),
        ("attention.scale", 1.0),
        ("residual_scale", 1.0),
        ("embedding_scale", 1.0),
    )
    if dims.n_embd_per_layer or dims.architecture == "gemma4":
        yield "embedding_length_per_layer_input", dims.n_embd_per_layer
        yield "attention.shared_kv_layers", dims.shared_kv_layers


def _head_keys(dims: Dimensions) -> Iterator[tuple[str, Value]]:
    latent = dims.latent_attention
    if latent:
        yield from (
            ("attention.key_length", latent.kv_lora + latent.rope),
            ("attention.value_length", latent.kv_lora),
        )
        yield from (
            ("attention.key_length_mla", latent.nope + latent.rope),
            ("attention.value_length_mla", latent.v),
        )
        yield from (("attention.kv_lora_rank", latent.kv_lora), ("rope.dimension_count", latent.rope))
        if latent.q_lora:
            yield "attention.q_lora_rank", latent.q_lora
        return
    key = full_head(dims)
    yield from (
        ("attention.key_length", key),
        ("attention.value_length", key if dims.global_attention else dims.head_dim_v),
    )
    yield "rope.dimension_count", key
    if dims.global_attention:
        yield from (
            ("attention.key_length_swa", dims.head_dim_k),
            ("attention.value_length_swa", dims.head_dim_v),
        )
        yield "rope.dimension_count_swa", dims.head_dim_k
    yield "rope.dimension_sections", (key // 4, key // 8, key // 8, 0)


def _expert_keys(dims: Dimensions, experts: Experts) -> Iterator[tuple[str, Value]]:
    yield from (("expert_count", experts.n_expert), ("expert_used_count", experts.n_used))
    yield from (
        ("expert_feed_forward_length", experts.n_ff),
        ("leading_dense_block_count", experts.dense_lead),
    )
    yield "expert_shared_count", experts.n_shared
    yield "expert_shared_feed_forward_length", experts.n_ff_shared
    yield "expert_weights_scale", 1.0
    yield "expert_gating_func", TOP_K_GATES.get(dims.architecture, 1)
    yield "interleave_moe_layer_step", 1 if not experts.n_layer else max(1, dims.n_layer // experts.n_layer)


def _recurrent_keys(found: Recurrent) -> Iterator[tuple[str, Value]]:
    if found.kind == "shortconv":
        yield "shortconv.l_cache", found.d_conv
        return
    yield from (("ssm.conv_kernel", found.d_conv), ("ssm.inner_size", found.d_inner))
    yield from (("ssm.state_size", found.d_state), ("ssm.time_step_rank", found.n_head))
    yield "ssm.group_count", found.n_group
    if found.full_every:
        yield "full_attention_interval", found.full_every
    if found.head_dim:
        yield "kda.head_dim", found.head_dim
