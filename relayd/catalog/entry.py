"""Catalogue entries: a model's shape, files and licence, and where each fact is from.

The structs are the schema of `catalog/*.toml`: a key they do not name is an error. One TOML file holds one
family:

    family = "qwen3"               # the name of the file
    title = "Qwen3"
    publisher = "Qwen"
    [sources]                      # code = what it is; every fact below names such a code
    llmfit = "llmfit hf_models.json @a3e0eb2"
    [[models]]                     # one size; see `CatalogEntry`
    name = "qwen3-8b"
    dimensions = { ... }           # see `Dimensions`
    files = [ { ... }, ... ]       # see `ModelFile`
    sources = { dimensions = ["llmfit", "llamabarn"], ... }    # first: taken from; others: say the same
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from relayd.units import Bytes

Positive = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]

Name = Annotated[
    str,
    Meta(
        pattern=r"\A[a-z0-9][a-z0-9._-]*\Z",
        description="a name of lower-case letters, digits and . _ - that begins with a letter or digit",
    ),
]

Capability = Literal["chat", "code", "reasoning", "vision", "tools", "embedding", "rerank"]

Origin = Literal["shipped", "updated", "imported", "own"]
"""The source: relayd's own catalogue, `catalog update`, `catalog import`, or a file of the operator."""


class CatalogFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A table of the catalogue: unknown keys are errors, values never change."""


class SlidingWindow(CatalogFacts, frozen=True, kw_only=True):
    """Layers that attend to a window only.

    Attributes:
        kind: `window` looks back, `chunked` starts anew at its multiples, `symmetric` looks both ways.
        n_swa: Cells of the window.
        full_every: Each such layer attends to everything, the ones between do not.
    """

    kind: Literal["window", "chunked", "symmetric"]
    n_swa: Positive
    full_every: Positive


class GlobalAttention(CatalogFacts, frozen=True, kw_only=True):
    """How the full-attention layers differ from the sliding ones (gemma4).

    Attributes:
        n_head_kv: Key and value heads of a full layer.
        head_dim: Width of a key or value head of a full layer.
        k_is_v: Whether one projection makes both; the cache holds both all the same.
    """

    n_head_kv: Positive
    head_dim: Positive
    k_is_v: bool = False


class LatentAttention(CatalogFacts, frozen=True, kw_only=True):
    """Ranks and widths of multi-head latent attention; its cache is `kv_lora + rope` wide, without V.

    Attributes:
        q_lora: Rank of the query projection; 0 is full rank.
        kv_lora: Rank of the joint key and value projection.
        rope: Width of the rotated part of a head.
        nope: Width of the part that is not rotated.
        v: Width of a value head.
    """

    q_lora: Count = 0
    kv_lora: Positive
    rope: Positive
    nope: Positive
    v: Positive


class Recurrent(CatalogFacts, frozen=True, kw_only=True):
    """Layers that keep a state of fixed size instead of a cache.

    Attributes:
        kind: The layer: gated delta net, Mamba-2, short convolution or Kimi delta attention.
        n_layer: How many of them; 0 when `full_every` or `every_layer` gives it.
        full_every: Each such layer has attention instead.
        every_layer: Every layer has attention and a state.
        d_conv: Width of the convolution (for `shortconv`, the length of its cache plus one).
        d_state: Width of the state.
        d_inner: Width of the layer inside.
        n_group: Groups that share B and C (for the delta net, key heads).
        n_head: Heads (for Mamba-2 the rank of the time step, for the delta net value heads).
        head_dim: Width of a head (KDA).
    """

    kind: Literal["gated_delta_net", "mamba2", "shortconv", "kda"]
    n_layer: Count = 0
    full_every: Count = 0
    every_layer: bool = False
    d_conv: Count = 0
    d_state: Count = 0
    d_inner: Count = 0
    n_group: Count = 0
    n_head: Count = 0
    head_dim: Count = 0


class Experts(CatalogFacts, frozen=True, kw_only=True):
    """The mixture of experts.

    Attributes:
        n_expert: Experts of a layer.
        n_used: Experts that work on a token.
        n_ff: Width of one expert.
        n_shared: Experts that work on every token.
        n_ff_shared: Width of all shared experts together.
        dense_lead: Leading layers without experts.
        n_layer: Layers with experts; 0 is all after `dense_lead`.
        gated: Whether an expert has a gate projection.
        bias: Whether router and experts have biases.
        beside_dense: Whether each layer has a dense network too (gemma4).
    """

    n_expert: Positive
    n_used: Positive
    n_ff: Positive
    n_shared: Count = 0
    n_ff_shared: Count = 0
    dense_lead: Count = 0
    n_layer: Count = 0
    gated: bool = True
    bias: bool = False
    beside_dense: bool = False


class Dimensions(CatalogFacts, frozen=True, kw_only=True):
    """The shape of a model: what a GGUF header would say, as far as memory depends on it.

    Attributes:
        architecture: `general.architecture` of its GGUF.
        n_layer: Blocks, without those of multi-token prediction.
        n_embd: Width of the residual stream.
        n_head: Query heads of a layer.
        n_head_kv: Key and value heads; a tuple is one number a layer.
        head_dim_k: Width of a key head (with latent attention, `nope + rope`).
        head_dim_v: Width of a value head.
        n_ff: Width of the dense feed-forward network; a tuple is one number a layer, 0 is none.
        n_vocab: Rows of the embedding.
        tied: Whether the output head is the embedding.
        bias: Which attention projections have a bias.
        qk_norm: Whether queries and keys are normed, a head or the whole projection at a time.
        n_norm: Norms of a layer, without those of queries and keys.
        gated_q: Whether the query projection carries an output gate as well.
        gated_ffn: Whether the dense network has a gate projection.
        mtp_layers: Extra layers of multi-token prediction that files may hold.
        encoder: Whether it is a bidirectional encoder without a cache.
        n_position: Rows of a learned position embedding; 0 with rotary positions.
        n_attention_layer: Layers with attention, if not all or those of the other tables.
        shared_kv_layers: Trailing layers that use the cache of an earlier one.
        n_embd_per_layer: Width of the per-layer embedding; 0 is none.
        unknown: What is missing here and has to be read from the file's header; "" when nothing is.
    """

    architecture: str
    n_layer: Positive
    n_embd: Positive
    n_head: Positive
    n_head_kv: Positive | tuple[Count, ...]
    head_dim_k: Positive
    head_dim_v: Positive
    n_ff: Count | tuple[Count, ...] = 0
    n_vocab: Positive
    tied: bool
    bias: Literal["none", "qkv", "all"] = "none"
    qk_norm: Literal["none", "head", "full"] = "none"
    n_norm: Count = 2
    gated_q: bool = False
    gated_ffn: bool = True
    mtp_layers: Count = 0
    encoder: bool = False
    n_position: Count = 0
    n_attention_layer: Count = 0
    shared_kv_layers: Count = 0
    n_embd_per_layer: Count = 0
    sliding_window: SlidingWindow | None = None
    global_attention: GlobalAttention | None = None
    latent_attention: LatentAttention | None = None
    recurrent: Recurrent | None = None
    experts: Experts | None = None
    unknown: str = ""


class ModelFile(CatalogFacts, frozen=True, kw_only=True):
    """One quantization that can be had.

    Attributes:
        quant: The name uploaders give it: llama.cpp's file types, or `UD-` mixes.
        bytes: Size on disk, all parts together, without mmproj.
        exact: Whether `bytes` is the size of that very file, or an estimate from dimensions.
        repo: `OWNER/NAME` on Hugging Face; "" when only `url` is known.
        file: Path in the repository, of the first part if it is split; "" when the name is not known.
        parts: How many files it is split into.
        mmproj: `OWNER/NAME/PATH` of the vision projector that goes with it.
        url: Where it is, if not in a repository.
        source: Code of the source of `bytes` and names; the loader puts the source itself here.
    """

    quant: str
    bytes: Annotated[Bytes, Meta(ge=1)]
    exact: bool = False
    repo: str = ""
    file: str = ""
    parts: Positive = 1
    mmproj: str = ""
    url: str = ""
    source: str


class PublishedFigure(CatalogFacts, frozen=True, kw_only=True):
    """A published figure.

    Attributes:
        test: What was run; `planner/evidence.py` knows what each measures.
        score: The figure, as it is published.
        source: Code of its page, with the date; the loader puts the page itself here.
    """

    test: str
    score: Annotated[float, Meta(ge=0)]
    source: str


class FactSources(CatalogFacts, frozen=True, kw_only=True):
    """Where each group of facts is from: first its source, then others that agree."""

    dimensions: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    published_parameters: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    license: tuple[str, ...] = ()
    gated: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    min_engine_build: tuple[str, ...] = ()


class CatalogEntry(CatalogFacts, frozen=True, kw_only=True):
    """One model in one size.

    Attributes:
        name: What people type; unique, lower case.
        title: How the publisher writes it.
        released: Year and month.
        license: SPDX identifier, or the publisher's own name for it.
        gated: Whether the publisher's repository asks to accept the licence first.
        capabilities: What it can be used for.
        context: Tokens it was trained on; None when not known.
        parameters: Weights of the text model; None when not known.
        published_parameters: Weights the publisher's files hold, towers for vision and extra layers included.
        active_parameters: Weights that work on a token; None when all do.
        min_engine_build: First llama.cpp build that runs it, where known.
        aliases: Other names it answers to.
        quant_aliases: Names that mean one quantization of it.
        repos: Hugging Face repositories with GGUF files, best evidence first.
        unchecked_repos: Repositories that should be there by the habits of uploaders; unchecked.
        dimensions: Its shape, or None.
        benchmarks: Published figures, as far as a public page has them.
        files: Quantizations with sizes.
        sources: Where this is from.
        note: What else to know.
        family: Name of the family; set by the loader.
        publisher: Who made it; set by the loader.
        origin: Which catalogue it is from; set by the loader.
    """

    name: Name
    title: str
    released: str = ""
    license: Annotated[str, Meta(min_length=1)]
    gated: bool = False
    capabilities: Annotated[tuple[Capability, ...], Meta(min_length=1)]
    context: Positive | None = None
    parameters: Positive | None = None
    published_parameters: Positive | None = None
    active_parameters: Positive | None = None
    min_engine_build: Positive | None = None
    aliases: tuple[Name, ...] = ()
    quant_aliases: Mapping[Name, str] = {}
    repos: tuple[str, ...] = ()
    unchecked_repos: tuple[str, ...] = ()
    dimensions: Dimensions | None = None
    benchmarks: tuple[PublishedFigure, ...] = ()
    files: tuple[ModelFile, ...] = ()
    sources: FactSources = FactSources()
    note: str = ""
    family: str = ""
    publisher: str = ""
    origin: Origin = "shipped"

    @property
    def names(self) -> tuple[str, ...]:
        """Every name it answers to, its own first."""
        return (self.name, *self.aliases, *self.quant_aliases)

    @property
    def quants(self) -> tuple[str, ...]:
        """The quantizations listed, each once, smallest first."""
        by_size = sorted(self.files, key=lambda file: file.bytes)
        return tuple(dict.fromkeys(file.quant for file in by_size))

    def file(self, quant: str) -> ModelFile | None:
        """Return the file of a quantization, one of known size before an estimate, or None."""
        found = [file for file in self.files if file.quant.casefold() == quant.casefold()]
        return min(found, key=lambda file: not file.exact, default=None)


class Family(CatalogFacts, frozen=True, kw_only=True):
    """One file of the catalogue: the sizes of a model family."""

    family: Name
    title: str
    publisher: str
    sources: Mapping[str, str] = {}
    models: Annotated[tuple[CatalogEntry, ...], Meta(min_length=1)]
