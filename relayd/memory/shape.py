"""The shape of a model: what of its header decides its memory.

llama.cpp reads some of this from the file and some from its own code for each architecture
(`src/models/*.cpp`, `llama-hparams.cpp` and `create_memory` in `llama-model.cpp`); so does this module,
for build b11434.
"""

from dataclasses import dataclass

from relayd.errors import ModelFileError
from relayd.gguf.metadata import ModelMetadata
from relayd.memory.architectures import (
    CACHELESS,
    INDEXED,
    INDEXER_SHARED,
    LISTED_WINDOWS,
    MAYBE_SECTIONED,
    NON_CAUSAL,
    RECURRENT,
    SECTIONED,
    STATE_BY_INTERVAL,
    STATE_WITHOUT_HEADS,
    TURNLESS_WITH_WINDOW,
    UNKNOWN_CACHE,
    WINDOWS,
    WITHOUT_FLASH,
)
from relayd.memory.setup import Extent, Setup, extent

Sizes = tuple[int, ...]

BLOCKS = 512
"""Most blocks of a model (llama-hparams.h `LLAMA_MAX_LAYERS`)."""


@dataclass(frozen=True, slots=True)
class Layer:
    """What one layer keeps for every token, and for every sequence.

    Attributes:
        key: Elements of K a token, in all KV heads; 0 for a layer that caches nothing.
        value: Elements of V a token; 0 where the values are part of the keys.
        indexer: Elements a token in the indexer's cache.
        indexer_value: Elements of V a token in it.
        window: Whether its cache slides over a window.
        state: Elements of recurrent state a sequence, always F32.
    """

    key: int = 0
    value: int = 0
    indexer: int = 0
    indexer_value: int = 0
    window: bool = False
    state: int = 0


@dataclass(frozen=True, slots=True)
class Shape:
    """The dimensions of a model that decide its memory.

    Attributes:
        architecture: As the file spells it.
        context_trained: Tokens it was trained on.
        n_embd: Width of the residual stream.
        n_vocab: Tokens in its vocabulary.
        n_blocks: Blocks in the tensor table, draft layers included.
        n_layers: Layers of the main pass.
        layers: What each block keeps, in order.
        window: Tokens that sliding layers see; 0 without any.
        widest_value: Elements of V a token in the widest layer, cached or not.
        heads_k: Size of a key head in full and in sliding layers; 0 where the cached ones differ.
        heads_v: Size of a value head, likewise.
        key_heads: Every size of a key head in the main pass.
        value_heads: Every size of a value head there.
        sections: Whether positions have four parts (text, time, height, width).
        keeps_drafts: Whether the main pass uses the blocks after its layers (a router of adapters).
        cached: Whether it has a cache or a state at all.
        causal: Whether a token sees only earlier ones.
        latent: Whether keys and values are one compressed row (MLA).
        unknown: Why the cache cannot be derived; empty if it can.
    """

    architecture: str
    context_trained: int
    n_embd: int
    n_vocab: int
    n_blocks: int
    n_layers: int
    layers: tuple[Layer, ...]
    window: int
    widest_value: int
    heads_k: tuple[int, int]
    heads_v: tuple[int, int]
    key_heads: frozenset[int]
    value_heads: frozenset[int]
    sections: bool
    keeps_drafts: bool
    cached: bool
    causal: bool
    latent: bool
    unknown: str = ""

    @property
    def same_cache_types(self) -> bool:
        """Whether keys and values have to be of one type: the values are a part of the keys."""
        return self.latent or self.architecture == "deepseek4"

    @property
    def without_flash(self) -> bool:
        """Whether the engine switches flash attention off by itself."""
        return self.architecture in WITHOUT_FLASH

    def extent(self, setup: Setup) -> Extent:
        """Return how many tokens and cells a setup asks of the model."""
        return extent(setup, self.context_trained, self.window, causal=self.causal)


def read_shape(model: ModelMetadata) -> Shape:
    """Return the shape of a model.

    Raises:
        ModelFileError: The header lacks a key that its architecture needs.
    """
    return _LayerValues(model).shape()


class _LayerValues:
    """Collects per-layer values of one header."""

    def __init__(self, model: ModelMetadata) -> None:
        self.model = model
        self.architecture = model.architecture
        listed = model.positive("block_count")
        self.loops = max(1, model.whole("num_loops", 1))
        self.router = self.architecture == "graniteswitch"
        self.blocks = listed * self.loops + self.router
        if self.blocks > BLOCKS:
            raise ModelFileError(f"its header promises {self.blocks} blocks: expected at most {BLOCKS}")
        self.drafts = model.whole("nextn_predict_layers")
        self.layers = self.blocks - self.drafts - self.router
        if self.layers < 0:
            raise ModelFileError(
                f"its header promises {self.blocks} blocks, {self.drafts} of them for drafts"
            )
        self.embd = model.positive("embedding_length")
        self.heads = self._each("attention.head_count", 0)
        self.kv_heads = self._each("attention.head_count_kv", None)
        if self.router:
            self.heads, self.kv_heads = (*self.heads[:-1], 1), (*self.kv_heads[:-1], 1)
        self.feed = self._each("feed_forward_length", 0)
        first = self.heads[0]
        default = self.embd // first if first else 0
        self.key = model.whole("attention.key_length", default) if first else 0
        self.value = model.whole("attention.value_length", default) if first else 0
        self.window_tokens, self.sliding = self._window()
        self.recurrent = self._recurrent()

    def _each(self, suffix: str, default: int | None) -> Sizes:
        listed = self.blocks // self.loops
        if default is None:
            default_sizes = self.heads[:listed]
            if not self.model.has(suffix):
                return self.heads
            default = default_sizes[0]
        value = self.model.listed(suffix)
        if value and len(value) < listed:
            listed = len(value)
        sizes = self.model.per_layer(suffix, listed, default) * self.loops
        return (*sizes, *(sizes[-1:] * (self.blocks - len(sizes))))

    def _window(self) -> tuple[int, tuple[bool, ...]]:
        """Return the window in tokens and which layers have it."""
        none = (False,) * self.blocks
        rule, tokens = WINDOWS.get(self.architecture), self.model.whole("attention.sliding_window")
        if self.architecture == "lfm2" and tokens:
            return tokens, tuple(heads > 0 for heads in self.kv_heads)
        if rule is None and self.architecture not in LISTED_WINDOWS:
            return 0, none
        if rule is not None:
            if self.architecture == "exaone4" and self.layers != 64:
                return 0, none
            if self.architecture == "llama4":
                listed = self.model.has("attention.sliding_window")
                tokens = 0 if listed and not tokens else rule.tokens
            elif self.architecture == "smallthinker":
                tokens = rule.tokens if tokens else 0
            else:
                tokens = tokens or rule.tokens
        if not tokens:
            return 0, none
        pattern = self.model.values.get(f"{self.architecture}.attention.sliding_window_pattern")
        if isinstance(pattern, tuple):
            flags = tuple(bool(flag) for flag in pattern[: self.blocks])
            return tokens, (*flags, *none[len(flags) :])
        period = pattern if isinstance(pattern, int) else rule.period if rule else 1
        first = rule is not None and rule.dense_first
        flags = tuple(_slides(index, period, dense_first=first) for index in range(self.layers))
        return tokens, (*flags, *none[self.layers :])

    def _recurrent(self) -> tuple[bool, ...]:
        name = self.architecture
        if name in RECURRENT or name == "falcon-h1":
            return (True,) * self.blocks
        if name in STATE_WITHOUT_HEADS:
            return tuple(heads == 0 for heads in self.kv_heads[: self.layers]) + (False,) * self.drafts
        if name in {"nemotron_h", "nemotron_h_moe"}:
            pairs = zip(self.kv_heads, self.feed, strict=True)
            flags = tuple(heads == 0 and feed == 0 for heads, feed in pairs)
            return (*flags[: self.layers], *(False,) * self.drafts)
        if name in STATE_BY_INTERVAL:
            if self.model.has("attention.recurrent_layers"):
                return tuple(bool(flag) for flag in self._each("attention.recurrent_layers", 0))
            interval = STATE_BY_INTERVAL[name]
            if self.model.has("full_attention_interval"):
                interval = self.model.positive("full_attention_interval")
            return tuple(index < self.layers and (index + 1) % interval != 0 for index in range(self.blocks))
        return (False,) * self.blocks

    def state(self) -> int:
        """Return the elements a recurrent layer keeps a sequence (`n_embd_r` + `n_embd_s`)."""
        whole = self.model.whole
        if head := whole("wkv.head_size"):
            return whole("token_shift_count", 2) * self.embd + self.embd * head
        kernel, inner, width = whole("ssm.conv_kernel"), whole("ssm.inner_size"), whole("ssm.state_size")
        if cache := whole("shortconv.l_cache"):
            return self.embd * (cache - 1) + width * inner
        heads = self.heads[0]
        if head := whole("kda.head_dim"):
            return 3 * (kernel - 1 if kernel else 3) * heads * head + head * head * heads
        convolved = max(0, kernel - 1) * (inner + 2 * whole("ssm.group_count") * width)
        if self.architecture == "minimax-01":
            return convolved + self.key * self.key * heads
        return convolved + width * inner

    def _engrams(self) -> tuple[object, ...]:
        return self.model.listed("ple.layers") or ()

    def _engram_state(self) -> int:
        """Return the history of the convolution over n-gram embeddings (`ple_conv_state`)."""
        whole = self.model.whole
        width = whole("hyper_connection.count") * self.embd
        return max(0, whole("ple.conv_kernel") - 1) * whole("ple.ngram_size") * width

    def attends(self, index: int) -> bool:
        """Return whether layer `index` owns keys in the main context (the filters of `create_memory`)."""
        name, model = self.architecture, self.model
        if name == "gemma3n":
            return index < 20
        if name == "gemma4":
            return index < self.blocks - model.whole("attention.shared_kv_layers")
        if name in {"nemotron_h", "nemotron_h_moe"}:
            return not self.recurrent[index] and self.feed[index] == 0
        if name == "falcon-h1":
            return True
        if name in STATE_WITHOUT_HEADS - {"glm5-next"}:
            return not self.recurrent[index]
        if self.recurrent[index]:
            return False
        return index < self.layers or self.router or self.layers == 0 or name in {"minimax-m3", "hy_v4"}

    def layer(self, index: int, state: int) -> Layer:
        """Return what block `index` keeps."""
        recurrent = self.recurrent[index] and index < self.layers
        if recurrent and index in self._engrams():
            state += self._engram_state()
        if not self.attends(index):
            return Layer(state=state if recurrent else 0)
        key, value = self.head_sizes(index)
        heads = self.kv_heads[index]
        indexer, indexer_value = self.indexer(index)
        return Layer(
            key=key * heads,
            value=0 if self.latent else value * heads,
            indexer=indexer,
            indexer_value=indexer_value,
            window=self.sliding[index],
            state=state if recurrent else 0,
        )

    @property
    def latent(self) -> bool:
        """Whether keys and values are one compressed row (MLA)."""
        return bool(self.model.whole("attention.key_length_mla"))

    def head_sizes(self, index: int) -> tuple[int, int]:
        """Return the size of a key head and of a value head of block `index`."""
        if not self.sliding[index]:
            return self.key, self.value
        whole = self.model.whole
        return (
            whole("attention.key_length_swa", self.key),
            whole("attention.value_length_swa", self.value),
        )

    def indexer(self, index: int) -> tuple[int, int]:
        """Return the elements of K and V a token in the cache of the sparse-attention indexer."""
        whole, name = self.model.whole, self.architecture
        width = whole("attention.indexer.key_length")
        if name not in INDEXED or not width or not whole("attention.indexer.top_k"):
            return 0, 0
        if name == "minimax-m3":
            leads = index < whole("leading_dense_block_count")
            return (0, 0) if leads else (width, self.value)
        if self.sliding[index] or index >= self.layers:
            return 0, 0
        if name in INDEXER_SHARED and self.model.has("attention.indexer.types"):
            types = self._each("attention.indexer.types", 1)
            if not types[index]:
                return 0, 0
        if name == "glm5-next":
            return width * 3, 0
        if name == "qwen4exp":
            ratios = self._each("attention.compress_ratios", 0)
            return width * (2 if any(ratios) else 1), 0
        return width, 0

    def sections(self) -> bool:
        """Return whether a position is four numbers (`n_pos_per_embd`)."""
        parts = self.model.listed("rope.dimension_sections")
        given = parts is not None and all(isinstance(part, int) and part > 0 for part in parts[:2])
        return self.architecture in SECTIONED or (self.architecture in MAYBE_SECTIONED and given)

    def agreed(self, layers: tuple[Layer, ...], which: int, *, sliding: bool) -> int:
        """Return the size of a key (0) or value (1) head, if all cached layers of a kind have the same."""
        if self.architecture in TURNLESS_WITH_WINDOW and self.window_tokens:
            return 0
        sizes = {
            self.head_sizes(index)[which]
            for index, layer in enumerate(layers)
            if layer.key and layer.window == sliding
        }
        return sizes.pop() if len(sizes) == 1 and not (which and self.latent) else 0

    def shape(self) -> Shape:
        """Return everything that was read."""
        state = self.state()
        cached = self.architecture not in CACHELESS
        layers = tuple(
            self.layer(index, state) if cached else Layer(window=self.sliding[index])
            for index in range(self.blocks)
        )
        if self.architecture in RECURRENT:
            layers = (Layer(state=state),) * self.blocks
        return Shape(
            architecture=self.architecture,
            context_trained=self.model.positive("context_length"),
            n_embd=self.embd,
            n_vocab=self.model.n_vocab,
            n_blocks=self.blocks,
            n_layers=self.layers,
            layers=layers,
            window=self.window_tokens,
            widest_value=max(
                self.head_sizes(index)[1] * self.kv_heads[index] for index in range(self.blocks)
            ),
            heads_k=(self.agreed(layers, 0, sliding=False), self.agreed(layers, 0, sliding=True)),
            heads_v=(self.agreed(layers, 1, sliding=False), self.agreed(layers, 1, sliding=True)),
            key_heads=frozenset(self.head_sizes(index)[0] for index in range(self.layers)),
            value_heads=frozenset(self.head_sizes(index)[1] for index in range(self.layers)),
            sections=self.sections(),
            keeps_drafts=self.router,
            cached=cached,
            causal=self.architecture not in NON_CAUSAL and self.model.whole("attention.causal", 1) > 0,
            latent=self.latent,
            unknown=UNKNOWN_CACHE.get(self.architecture, ""),
        )


def _slides(index: int, period: int, *, dense_first: bool) -> bool:
    """Return whether a layer has the window (llama-hparams.cpp `set_swa_pattern`)."""
    if period == 0:
        return True
    return index % period != 0 if dense_first else index % period < period - 1
