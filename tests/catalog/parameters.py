"""How many weights does a model of these dimensions have?

An account of what the catalogue says, independent of it: the tensors of each architecture, added up. Vision
towers, layers of multi-token prediction and tables that are not learned (rotary factors) do not count.
"""

from relayd.catalog.entry import Dimensions, Experts, LatentAttention, Recurrent

RECURRENT_ALONE = {"nemotron_h", "nemotron_h_moe"}
"""Architectures whose layers do one thing each: attention, state or feed-forward."""


def count_parameters(shape: Dimensions) -> int:
    """Return the weights of the text model."""
    embedding = (shape.n_vocab * (1 if shape.tied else 2) + shape.n_position) * shape.n_embd
    layers = sum(count_layer(shape, layer) for layer in range(shape.n_layer))
    rest = count_encoder_biases(shape) if shape.architecture == "bert" else count_per_layer_embedding(shape)
    return embedding + shape.n_embd + layers + rest


def count_encoder_biases(shape: Dimensions) -> int:
    """Return what BERT has beside its matrices: biases of norms and networks, token types, the pooler."""
    assert isinstance(shape.n_ff, int)
    layer = shape.n_norm * shape.n_embd + shape.n_ff + shape.n_embd
    return shape.n_layer * layer + 2 * shape.n_embd + shape.n_embd * (shape.n_embd + 1)


def count_per_layer_embedding(shape: Dimensions) -> int:
    width = shape.n_embd_per_layer
    table = (shape.n_vocab + shape.n_embd) * width * shape.n_layer
    gates = (2 * width + 1) * shape.n_embd * shape.n_layer
    altup = 6 * shape.n_embd**2 + 131 * shape.n_embd * shape.n_layer if shape.architecture == "gemma3n" else 0
    return table + gates + altup if width else 0


def count_active(shape: Dimensions) -> int:
    """Return the weights that work on a token: all, without the experts that sleep."""
    experts = shape.experts
    if experts is None:
        return count_parameters(shape)
    asleep = (experts.n_expert - experts.n_used) * one_expert(shape, experts)
    return count_parameters(shape) - asleep * expert_layers(shape, experts)


def count_layer(shape: Dimensions, layer: int) -> int:
    if shape.architecture in RECURRENT_ALONE:
        return count_single_purpose(shape, layer)
    mixer = count_recurrent(shape) if is_recurrent(shape, layer) else count_attention(shape, layer)
    return shape.n_norm * shape.n_embd + mixer + count_network(shape, layer)


def is_recurrent(shape: Dimensions, layer: int) -> bool:
    recurrent = shape.recurrent
    if recurrent is None:
        return False
    if recurrent.full_every:
        return (layer + 1) % recurrent.full_every != 0
    return layer < recurrent.n_layer


def count_attention(shape: Dimensions, layer: int) -> int:
    if shape.latent_attention is not None:
        return count_latent(shape, shape.latent_attention)
    heads, keys, k_width, v_width = shape.n_head, shape.n_head_kv, shape.head_dim_k, shape.head_dim_v
    k_is_v = False
    if isinstance(keys, tuple):
        keys = keys[layer]
    if shape.global_attention is not None and is_global(shape, layer):
        keys, k_is_v = shape.global_attention.n_head_kv, shape.global_attention.k_is_v
        k_width = v_width = shape.global_attention.head_dim
    q, k, v = heads * k_width, keys * k_width, keys * v_width
    weights = shape.n_embd * (q * (2 if shape.gated_q else 1) + k + (0 if k_is_v else v) + heads * v_width)
    biases = {"none": 0, "qkv": q + k + v, "all": q + k + v + shape.n_embd}[shape.bias]
    norms = {"none": 0, "head": 2 * k_width, "full": q + k}[shape.qk_norm]
    sinks = heads if shape.architecture == "gpt-oss" else 0
    return weights + biases + norms + sinks


def is_global(shape: Dimensions, layer: int) -> bool:
    window = shape.sliding_window
    return window is None or (layer + 1) % window.full_every == 0


def count_latent(shape: Dimensions, latent: LatentAttention) -> int:
    q = shape.n_head * (latent.nope + latent.rope)
    query = shape.n_embd * q if not latent.q_lora else latent.q_lora * (shape.n_embd + q + 1)
    joint = shape.n_embd * (latent.kv_lora + latent.rope) + latent.kv_lora
    expand = latent.kv_lora * shape.n_head * (latent.nope + latent.v)
    return query + joint + expand + shape.n_head * latent.v * shape.n_embd


def count_recurrent(shape: Dimensions) -> int:
    recurrent = shape.recurrent
    assert recurrent is not None
    return {
        "gated_delta_net": count_delta_net,
        "mamba2": count_mamba2,
        "shortconv": count_short_convolution,
        "kda": count_kda,
    }[recurrent.kind](shape.n_embd, recurrent)


def count_delta_net(n_embd: int, net: Recurrent) -> int:
    mixed = net.d_inner + 2 * net.n_group * net.d_state
    projections = n_embd * (mixed + net.d_inner + 2 * net.n_head) + net.d_inner * n_embd
    return projections + net.d_conv * mixed + 2 * net.n_head + net.d_inner // net.n_head


def count_mamba2(n_embd: int, net: Recurrent) -> int:
    mixed = net.d_inner + 2 * net.n_group * net.d_state
    projections = n_embd * (mixed + net.d_inner + net.n_head) + net.d_inner * n_embd
    return projections + (net.d_conv + 1) * mixed + 3 * net.n_head + net.d_inner


def count_short_convolution(n_embd: int, net: Recurrent) -> int:
    return 4 * n_embd * n_embd + net.d_conv * n_embd


def count_kda(n_embd: int, net: Recurrent) -> int:
    inner = net.n_head * net.head_dim
    projections = 4 * n_embd * inner + 3 * net.d_conv * inner
    low_rank = 2 * (n_embd * net.head_dim + net.head_dim * inner)
    return projections + low_rank + n_embd * net.n_head + inner + net.n_head + net.head_dim


def count_network(shape: Dimensions, layer: int) -> int:
    experts = shape.experts
    width = shape.n_ff[layer] if isinstance(shape.n_ff, tuple) else shape.n_ff
    dense = shape.n_embd * width * (3 if shape.gated_ffn else 2)
    if experts is None or layer < experts.dense_lead:
        return dense
    return count_experts(shape, experts) + (dense if experts.beside_dense else 0)


def count_experts(shape: Dimensions, experts: Experts) -> int:
    router = shape.n_embd * experts.n_expert + (experts.n_expert if experts.bias else 0)
    gate = shape.n_embd if shape.architecture in {"qwen3next", "qwen35moe"} else 0
    shared = shape.n_embd * experts.n_ff_shared * (3 if experts.gated else 2)
    return router + gate + shared + experts.n_expert * one_expert(shape, experts)


def one_expert(shape: Dimensions, experts: Experts) -> int:
    matrices = 3 if experts.gated else 2
    biases = 2 * experts.n_ff + shape.n_embd if experts.bias else 0
    return matrices * shape.n_embd * experts.n_ff + biases


def expert_layers(shape: Dimensions, experts: Experts) -> int:
    return experts.n_layer or shape.n_layer - experts.dense_lead


def count_single_purpose(shape: Dimensions, layer: int) -> int:
    assert shape.recurrent is not None
    recurrent, attention = shape.recurrent.n_layer, shape.n_attention_layer
    if layer < recurrent:
        return shape.n_embd + count_mamba2(shape.n_embd, shape.recurrent)
    if layer < recurrent + attention:
        return shape.n_embd + count_attention(shape, layer)
    if shape.experts is not None:
        return shape.n_embd + count_experts(shape, shape.experts)
    return shape.n_embd + count_network(shape, layer)
