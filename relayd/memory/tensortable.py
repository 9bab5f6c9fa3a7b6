"""The tensors of a model of given dimensions.

The names and shapes that llama.cpp b11434 asks of each architecture (`load_arch_tensors` in
`src/models/*.cpp`).
"""

from collections.abc import Iterator

from relayd.catalog.entry import Dimensions, Experts, LatentAttention, Recurrent

Sized = tuple[str, tuple[int, ...]]
"""The name of a tensor without its block, and its shape."""

ENCODERS = frozenset({"bert", "nomic-bert"})
"""Architectures with norms after the sums, with biases."""

POST_NORMS = frozenset({"afmoe", "gemma-embedding", "gemma2", "gemma3", "gemma3n", "gemma4", "glm4"})
"""Architectures with a norm before and after both halves of a layer."""

LATER_NORM = frozenset({"glm4moe", "gpt-oss", "qwen35", "qwen35moe", "qwen3next", "seed_oss"})
"""Architectures that call the norm before the feed-forward part `post_attention_norm`."""

ONLY_AFTER = frozenset({"exaone4", "olmo2"})
"""Architectures with norms after the halves of a layer only."""

ONE_HALF = frozenset({"nemotron_h", "nemotron_h_moe"})
"""Architectures whose layers are attention, a recurrent layer or a feed-forward part, one of them each."""

ONE_NORM = frozenset({"cohere2", *ONE_HALF})
"""Architectures with one norm a layer."""

FUSED_QUERIES = frozenset({"bailingmoe2", "phi3"})
FUSED_GATE = frozenset({"glm4", "phi3"})
"""Architectures that keep gate and up projection in one matrix."""

ROUTER_BIAS = frozenset({
    "afmoe", "bailingmoe2", "deepseek2", "dots1", "ernie4_5-moe", "glm4moe", "kimi-linear", "lfm2moe",
    "mimo2", "minimax-m2", "nemotron_h_moe", "step35",
})  # fmt: skip
"""Architectures whose router has a bias that takes part in the choice alone."""


def outside(dims: Dimensions) -> Iterator[Sized]:
    """Yield the tensors that belong to no layer."""
    width, name = dims.n_embd, dims.architecture
    yield "token_embd.weight", (width, dims.n_vocab)
    if dims.n_position:
        yield "position_embd.weight", (width, dims.n_position)
    if name in ENCODERS:
        yield "token_embd_norm.weight", (width,)
        yield "token_embd_norm.bias", (width,)
        yield "token_types.weight", (width, 2)
        return
    if name != "olmo":
        yield "token_embd_norm.weight" if name in {"lfm2", "lfm2moe"} else "output_norm.weight", (width,)
    if not dims.tied:
        yield "output.weight", (width, dims.n_vocab)
    if dims.n_embd_per_layer:
        layered = dims.n_embd_per_layer * dims.n_layer
        yield "per_layer_token_embd.weight", (layered, dims.n_vocab)
        yield "per_layer_model_proj.weight", (width, layered)
        yield "per_layer_proj_norm.weight", (dims.n_embd_per_layer,)
    if name == "gemma4":
        yield "rope_freqs.weight", (full_head(dims) // 2,)
    if name == "gemma3n":
        yield from (("altup_proj.weight", (width, width, 3)), ("altup_unembd_proj.weight", (width, width, 3)))


def full_head(dims: Dimensions) -> int:
    """Return the size of a head in layers that see everything."""
    return dims.global_attention.head_dim if dims.global_attention else dims.head_dim_k


def slides(dims: Dimensions, index: int) -> bool:
    """Return whether layer `index` has a window."""
    window = dims.sliding_window
    return window is not None and index % window.full_every < window.full_every - 1


def mixer(dims: Dimensions, index: int) -> str:
    """Return what layer `index` is: `attention`, `state`, `both`, or `feed` for a feed-forward part alone."""
    found = dims.recurrent
    if found is None:
        return "attention"
    if found.every_layer:
        return "both"
    if found.full_every:
        return "state" if (index + 1) % found.full_every else "attention"
    if isinstance(dims.n_head_kv, tuple):
        if dims.n_head_kv[index]:
            return "attention"
        alone = isinstance(dims.n_ff, tuple) and dims.n_ff[index] and dims.architecture in ONE_HALF
        return "feed" if alone else "state"
    return spread(dims, found)[index]


def spread(dims: Dimensions, found: Recurrent) -> list[str]:
    """Return what each layer is where only the numbers are known: every kind evenly over the model."""
    attention = dims.n_attention_layer or dims.n_layer - found.n_layer
    counts = {
        "attention": attention,
        "state": found.n_layer,
        "feed": dims.n_layer - attention - found.n_layer,
    }
    if dims.architecture not in ONE_HALF:
        counts = {"attention": attention, "state": dims.n_layer - attention}
    places = [((2 * place + 1) / count, kind) for kind, count in counts.items() for place in range(count)]
    return [kind for _, kind in sorted(places)]


def kv_heads(dims: Dimensions, index: int) -> int:
    """Return the KV heads of layer `index`."""
    if dims.recurrent and not dims.recurrent.full_every and mixer(dims, index) in {"state", "feed"}:
        return 0
    if dims.latent_attention:
        return 1
    if dims.global_attention and not slides(dims, index):
        return dims.global_attention.n_head_kv
    return dims.n_head_kv[index] if isinstance(dims.n_head_kv, tuple) else dims.n_head_kv


def feed(dims: Dimensions, index: int) -> int:
    """Return the width of the dense feed-forward part of layer `index`."""
    if dims.architecture in ONE_HALF and mixer(dims, index) != "feed":
        return 0
    return dims.n_ff[index] if isinstance(dims.n_ff, tuple) else dims.n_ff


def _routes(dims: Dimensions, index: int) -> bool:
    experts = dims.experts
    if experts is None:
        return False
    if dims.architecture in ONE_HALF:
        return mixer(dims, index) == "feed"
    last = experts.dense_lead + experts.n_layer if experts.n_layer else dims.n_layer
    if dims.architecture == "llama4" and experts.n_layer and experts.n_layer * 2 == dims.n_layer:
        return index % 2 == 1
    return experts.dense_lead <= index < last


def block(dims: Dimensions, index: int) -> Iterator[Sized]:
    """Yield the tensors of one layer."""
    kind = mixer(dims, index)
    yield from _norms(dims)
    if kind in {"state", "both"} and dims.recurrent:
        yield from _recurrent(dims, dims.recurrent)
    if kind in {"attention", "both"}:
        yield from _latent(dims, dims.latent_attention) if dims.latent_attention else _attention(dims, index)
    if kind == "feed" or dims.architecture not in ONE_HALF:
        yield from _feed_forward(dims, index)


def _norms(dims: Dimensions) -> Iterator[Sized]:
    for name in norm_names(dims.architecture):
        yield f"{name}.weight", (dims.n_embd,)
        if dims.architecture in ENCODERS:
            yield f"{name}.bias", (dims.n_embd,)


def norm_names(architecture: str) -> tuple[str, ...]:
    """Return the norms of a layer that are as wide as the residual stream."""
    if architecture in ENCODERS:
        return "attn_output_norm", "layer_output_norm"
    if architecture == "olmo":
        return ()
    if architecture in ONLY_AFTER:
        return "post_attention_norm", "post_ffw_norm"
    if architecture in ONE_NORM:
        return ("attn_norm",)
    if architecture in LATER_NORM:
        return "attn_norm", "post_attention_norm"
    if architecture in POST_NORMS:
        return "attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"
    return "attn_norm", "ffn_norm"


def _attention(dims: Dimensions, index: int) -> Iterator[Sized]:
    width, shared = dims.n_embd, kv_heads(dims, index)
    full = dims.global_attention is not None and not slides(dims, index)
    key = full_head(dims) if full else dims.head_dim_k
    value = full_head(dims) if full else dims.head_dim_v
    query = dims.n_head * key
    if dims.architecture in FUSED_QUERIES or dims.architecture == "nomic-bert":
        yield "attn_qkv.weight", (width, query + shared * (key + value))
    else:
        gated = dims.gated_q and dims.architecture != "afmoe"  # which has a matrix of its own for it
        yield "attn_q.weight", (width, query * (2 if gated else 1))
        yield "attn_k.weight", (width, shared * key)
        if not (full and dims.global_attention and dims.global_attention.k_is_v):
            yield "attn_v.weight", (width, shared * value)
        if dims.bias != "none":
            yield from (
                ("attn_q.bias", (query,)),
                ("attn_k.bias", (shared * key,)),
                ("attn_v.bias", (shared * value,)),
            )
    yield "attn_output.weight", (dims.n_head * value, width)
    if dims.bias == "all":
        yield "attn_output.bias", (width,)
    if dims.qk_norm != "none" or dims.architecture == "afmoe":
        whole = dims.qk_norm == "full" or dims.architecture in {"minimax-m2", "olmoe"}
        yield "attn_q_norm.weight", (query if whole else key,)
        yield "attn_k_norm.weight", (shared * key if whole else key,)
    if dims.architecture in {"gpt-oss", "mimo2"}:
        yield "attn_sinks.weight", (dims.n_head,)
    if dims.architecture == "afmoe":
        yield "attn_gate.weight", (width, query)


def _latent(dims: Dimensions, latent: LatentAttention) -> Iterator[Sized]:
    width, heads, query = dims.n_embd, dims.n_head, dims.n_head * (latent.nope + latent.rope)
    if latent.q_lora:
        yield "attn_q_a.weight", (width, latent.q_lora)
        yield "attn_q_a_norm.weight", (latent.q_lora,)
        yield "attn_q_b.weight", (latent.q_lora, query)
    else:
        yield "attn_q.weight", (width, query)
    yield "attn_kv_a_mqa.weight", (width, latent.kv_lora + latent.rope)
    yield "attn_kv_a_norm.weight", (latent.kv_lora,)
    yield "attn_k_b.weight", (latent.nope, latent.kv_lora, heads)
    yield "attn_v_b.weight", (latent.kv_lora, latent.v, heads)
    yield "attn_output.weight", (heads * latent.v, width)


def _feed_forward(dims: Dimensions, index: int) -> Iterator[Sized]:
    routes, inner = _routes(dims, index), feed(dims, index)
    if routes and dims.experts:
        yield from _experts(dims, dims.experts)
    if routes and not (dims.experts and dims.experts.beside_dense):
        return
    width, name = dims.n_embd, dims.architecture
    fused = name in FUSED_GATE
    if dims.gated_ffn and not fused:
        yield "ffn_gate.weight", (width, inner)
    yield "ffn_up.weight", (width, inner * (2 if fused else 1))
    yield "ffn_down.weight", (inner, width)
    if dims.n_embd_per_layer:
        yield "inp_gate.weight", (width, dims.n_embd_per_layer)
        yield "proj.weight", (dims.n_embd_per_layer, width)
        yield "post_norm.weight", (width,)
    if name == "gemma3n":
        yield from _altup(width)


def _altup(width: int) -> Iterator[Sized]:
    """Yield what Gemma 3n adds to a layer: four streams, and a low-rank path beside attention."""
    yield from (("altup_correct_coef.weight", (4, 4)), ("altup_correct_scale.weight", (width,)))
    yield from (("altup_predict_coef.weight", (4, 16)), ("altup_router.weight", (width, 4)))
    yield from (("altup_router_norm.weight", (width,)), ("laurel_l.weight", (width, 64)))
    yield from (("laurel_r.weight", (64, width)), ("laurel_post_norm.weight", (width,)))


def _experts(dims: Dimensions, experts: Experts) -> Iterator[Sized]:
    width, count, inner, name = dims.n_embd, experts.n_expert, experts.n_ff, dims.architecture
    yield "ffn_gate_inp.weight", (width, count)
    if name == "gemma4":
        yield from (("ffn_gate_inp.scale", (width,)), ("pre_ffw_norm_2.weight", (width,)))
        yield from (("post_ffw_norm_1.weight", (width,)), ("post_ffw_norm_2.weight", (width,)))
        yield "ffn_gate_up_exps.weight", (width, 2 * inner, count)
    else:
        if experts.gated:
            yield "ffn_gate_exps.weight", (width, inner, count)
        yield "ffn_up_exps.weight", (width, inner, count)
    yield "ffn_down_exps.weight", (inner, width, count)
    if experts.bias:
        yield from (("ffn_gate_inp.bias", (count,)), ("ffn_gate_exps.bias", (inner, count)))
        yield from (("ffn_up_exps.bias", (inner, count)), ("ffn_down_exps.bias", (width, count)))
    if name in ROUTER_BIAS:
        yield "exp_probs_b.bias", (count,)
    if experts.n_ff_shared:
        if name in {"qwen2moe", "qwen3next", "qwen35moe"}:
            yield "ffn_gate_inp_shexp.weight", (width,)
        if experts.gated:
            yield "ffn_gate_shexp.weight", (width, experts.n_ff_shared)
        yield "ffn_up_shexp.weight", (width, experts.n_ff_shared)
        yield "ffn_down_shexp.weight", (experts.n_ff_shared, width)


def _recurrent(dims: Dimensions, found: Recurrent) -> Iterator[Sized]:
    width = dims.n_embd
    channels = found.d_inner + 2 * found.n_group * found.d_state
    if found.kind == "shortconv":
        yield "shortconv.in_proj.weight", (width, 3 * width)
        yield "shortconv.conv.weight", (found.d_conv, width)
        yield "shortconv.out_proj.weight", (width, width)
    elif found.kind == "gated_delta_net":
        yield "attn_qkv.weight", (width, channels)
        yield "attn_gate.weight", (width, found.d_inner)
        yield "ssm_conv1d.weight", (found.d_conv, channels)
        yield from (("ssm_dt.bias", (found.n_head,)), ("ssm_a", (found.n_head,)))
        if dims.architecture == "qwen3next":
            yield "ssm_ba.weight", (width, 2 * found.n_head)
        else:
            yield "ssm_alpha.weight", (width, found.n_head)
            yield "ssm_beta.weight", (width, found.n_head)
        yield "ssm_norm.weight", (found.d_inner // found.n_head,)
        yield "ssm_out.weight", (found.d_inner, width)
    elif found.kind == "kda":
        yield from _kimi_delta(width, found)
    elif found.kind == "mamba2":
        yield "ssm_in.weight", (width, channels + found.d_inner + found.n_head)
        yield "ssm_conv1d.weight", (found.d_conv, channels)
        yield from (("ssm_conv1d.bias", (channels,)), ("ssm_dt.bias", (found.n_head,)))
        yield from (("ssm_a", (1, found.n_head)), ("ssm_d", (1, found.n_head)))
        if dims.architecture != "falcon-h1":
            yield "ssm_norm.weight", (found.d_inner // found.n_group, found.n_group)
        yield "ssm_out.weight", (found.d_inner, width)


def _kimi_delta(width: int, found: Recurrent) -> Iterator[Sized]:
    inner = found.n_head * found.head_dim
    for part in "qkv":
        yield f"attn_{part}.weight", (width, inner)
        yield f"ssm_conv1d_{part}.weight", (found.d_conv, 1, inner)
    for part in "fg":
        yield f"ssm_{part}_a.weight", (width, found.head_dim)
        yield f"ssm_{part}_b.weight", (found.head_dim, inner)
    yield from (("ssm_beta.weight", (width, found.n_head)), ("ssm_a", (1, found.n_head)))
    yield from (("ssm_dt.bias", (inner,)), ("ssm_norm.weight", (found.head_dim,)))
    yield "attn_output.weight", (inner, width)
