"""What one model needs of each device, however it is placed.

`predict` derives one setup with all its reasons in about 2 ms. A search asks for hundreds of setups of one
model: here its weights are added up once, layer by layer, and a setup takes 50 µs. The totals are the same.
"""

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import add

from relayd.errors import ModelFileError
from relayd.gguf.metadata import ModelMetadata
from relayd.memory.cache import cache_bytes, indexer_bytes, state_bytes
from relayd.memory.compute import compute_bytes, grown_bytes, margin_bytes, unknown_compute
from relayd.memory.predict import CUDA_OVERHEAD, beside
from relayd.memory.setup import Extent, Setup
from relayd.memory.shape import Layer, Shape, read_shape
from relayd.memory.weights import CPU, HEAD_FIRST, homes, layer_devices, repacks, stored
from relayd.planner.processor import Processor
from relayd.planner.speed import Part, Workload, step_ms
from relayd.planner.weightgroup import CUDA, WeightGroup, lump
from relayd.units import Bytes

Pass = tuple[Extent, str, str, bool]
"""What decides a compute buffer: tokens and cells, types of the cache, flash attention."""

SMALLEST = Setup(context=512, slots=1)
"""The setup in which a file is checked."""

HEAD = -1
"""The place after the last block: norm and output head."""


_Costs = tuple[int, tuple[int, ...], tuple[int, ...]]
"""Bytes of a device: in any case, for each block and the head, for the experts of each block."""


class Demand:
    """The weights of one model, added up.

    Args:
        model: Its header.
        file_bytes: The size of its file where `model` is only made like it: all weights are scaled to it.
        beside: What goes with it to its first device and is in no header here: a vision projector.
        computed: Compute buffers that are known; the quantizations of a model have the same.
        draft: The model that drafts for it, with a cache of its own as long as this one's.

    Raises:
        ModelFileError: The header lacks what its architecture needs.
    """

    def __init__(
        self,
        model: ModelMetadata,
        *,
        file_bytes: int = 0,
        beside: int = 0,
        computed: dict[Pass, Bytes] | None = None,
        draft: "Demand | None" = None,
    ) -> None:
        self.model = model
        self.draft = draft
        self.shape: Shape = read_shape(model)
        self.beside = beside
        self._looked_up = WeightGroup()
        self._blocks = [WeightGroup() for _ in range(self.shape.n_blocks)]
        self._experts = [WeightGroup() for _ in range(self.shape.n_blocks)]
        self._head = WeightGroup()
        self._everywhere = WeightGroup()
        total = self._add_up()
        tensors = {tensor.name: tensor for tensor in model.tensors}
        self._tied = None if "output.weight" in tensors else tensors.get("token_embd.weight")
        self.ratio = file_bytes / total if file_bytes and total else 1.0
        self._computed = {} if computed is None else computed
        self._n_expert = max(model.per_layer("expert_count", self.shape.n_blocks), default=0)
        self._n_used = max(model.per_layer("expert_used_count", self.shape.n_blocks), default=0)
        self._heads = model.per_layer("attention.head_count", self.shape.n_blocks)
        self._of_layers: dict[tuple[object, ...], _Costs] = {}
        self._times: dict[tuple[object, ...], tuple[tuple[float, ...], ...]] = {}
        self._placed: dict[tuple[object, ...], tuple[tuple[str, ...], dict[str, int]]] = {}

    def check(self) -> "Demand":
        """Return itself, after a look at whether its tensors are what the header promises.

        Raises:
            ModelFileError: A block has no tensors, or a tensor that its layer needs is missing.
        """
        repeats = self.model.whole("num_loops", 1) > 1  # the same blocks again
        for index in range(0 if repeats else self.shape.n_layers):
            if not self._blocks[index].elements + self._experts[index].elements:
                raise ModelFileError(
                    f"its header promises {self.shape.n_layers} blocks, and none is blk.{index}."
                )
        self.loaded(SMALLEST)
        return self

    @property
    def unknown(self) -> tuple[str, ...]:
        """What has no closed form and is roughly right only."""
        return tuple(filter(None, (self.shape.unknown, unknown_compute(self.shape))))

    @property
    def layers(self) -> int:
        """Layers that `--gpu-layers` counts: the blocks, and the head as one more."""
        return self.shape.n_blocks + 1

    @property
    def has_experts(self) -> bool:
        """Whether there are experts that can stay in RAM."""
        return any(one.elements for one in self._experts)

    @property
    def parameters(self) -> int:
        """Weights of the model."""
        every = (*self._blocks, *self._experts, self._head, self._looked_up)
        return sum(one.elements for one in every)

    def needs(self, setup: Setup, *, computes: bool = True) -> dict[str, Bytes]:
        """Return what each device has to hold in a setup: the totals of `predict`, weights scaled.

        Args:
            setup: How the model runs.
            computes: Whether compute buffers count; they take milliseconds where nothing alike was asked.
        """
        found = self.loaded(setup, computes=computes)
        for term in beside(self.shape, setup, self.shape.extent(setup)):
            found[term.device] = found.get(term.device, 0) + term.nbytes
        found[setup.gpus[0].key if setup.gpus else CPU] += self.beside
        if self.draft:
            theirs = self.draft.loaded(replace(setup, experts_on_cpu=0), computes=computes)
            for device, nbytes in theirs.items():
                found[device] = found.get(device, 0) + nbytes
        return {device: Bytes(nbytes) for device, nbytes in found.items() if nbytes}

    def loaded(self, setup: Setup, *, computes: bool = True) -> dict[str, int]:
        """Return weights, cache and buffers on each device: what the engine's own breakdown has."""
        asked = self.shape.extent(setup)
        devices, weights = self._weighed(setup)
        found = dict.fromkeys((*devices, CPU), 0)
        for device, nbytes in weights.items():
            found[device] += nbytes
        kept = {layer: self._kept(layer, setup, asked) for layer in set(self.shape.layers)}
        for (device, layer), count in Counter(zip(devices[:-1], self.shape.layers, strict=True)).items():
            found[device] += count * kept[layer]
        computed = self._compute(setup, asked) if computes else 0
        for device in dict.fromkeys(devices):
            found[device] += computed
        found[CPU] += 0 if CPU in devices else 4 * asked.tokens * self.shape.n_embd
        return found

    def _weighed(self, setup: Setup) -> tuple[tuple[str, ...], dict[str, int]]:
        """Return the device of each layer, and the bytes of weights on each device."""
        key = (setup.gpus, setup.gpu_layers, setup.experts_on_cpu, setup.repacked)
        if key not in self._placed:
            devices = tuple(layer_devices(self.shape, setup))
            self._placed[key] = (devices, self.weights(setup, devices))
        return self._placed[key]

    def weights(self, setup: Setup, devices: Sequence[str]) -> dict[str, int]:
        """Return the bytes of weights on each device.

        Args:
            setup: How the model runs.
            devices: The device of each block, and last that of the head.
        """
        found = dict.fromkeys((*devices, CPU), 0)
        found[CPU] += self._looked_up.plain
        for index, device in enumerate(devices[:-1]):
            found[device] += self._blocks[index].on(device)
            place = CPU if index < setup.experts_on_cpu else device
            found[place] += self._experts[index].on(place)
        for device in dict.fromkeys(devices[:-1]):
            found[device] += self._everywhere.on(device)
        found[devices[-1]] += self._head.on(devices[-1])
        if self._tied:
            again = self.shape.architecture in HEAD_FIRST or repacks(self._tied, setup.repacked)
            found[devices[-1]] += stored(self._tied, devices[-1]) if again or devices[-1] != CPU else 0
        return {device: int(nbytes * self.ratio) for device, nbytes in found.items()}

    def host_weights(self, setup: Setup) -> Bytes:
        """Return the bytes of weights in RAM: whole, whether the engine maps the file or not."""
        found = self.weights(setup, layer_devices(self.shape, setup))[CPU]
        found += 0 if setup.gpus else self.beside
        if self.draft:
            found += self.draft.weights(setup, layer_devices(self.draft.shape, setup))[CPU]
        return Bytes(found)

    def costs(self, setup: Setup, device: str) -> tuple[int, tuple[int, ...]]:
        """Return what `device` holds in any case, and what each block and the head adds to it.

        Args:
            setup: How the model runs; who takes which layer does not matter.
            device: A GPU.
        """
        fixed, blocks, experts = self._costs(setup, device)
        kept = setup.experts_on_cpu
        return fixed, (*blocks[:kept], *map(add, blocks[kept:-1], experts[kept:]), blocks[-1])

    def _costs(self, setup: Setup, device: str) -> "_Costs":
        """Return what `device` holds in any case, and what blocks and head add, experts apart."""
        asked = self.shape.extent(setup)
        key = (asked, setup.type_k, setup.type_v, setup.flash_attention, device.startswith(CUDA))
        if key in self._of_layers:
            return self._of_layers[key]
        fixed = self._compute(setup, asked) + self._everywhere.on(device)
        fixed += CUDA_OVERHEAD if device.startswith(CUDA) else 0
        kept = {layer: self._kept(layer, setup, asked) for layer in set(self.shape.layers)}
        blocks = [
            int(block.on(device) * self.ratio) + kept[layer] + 1
            for block, layer in zip(self._blocks, self.shape.layers, strict=True)
        ]
        blocks.append(int(self._head_lump().on(device) * self.ratio) + 1)
        experts = [int(one.on(device) * self.ratio) + bool(one.elements) for one in self._experts]
        found = self._of_layers[key] = (fixed, tuple(blocks), tuple(experts))
        return found

    def layer_ms(self, setup: Setup, key: str, processor: Processor, depth: int) -> tuple[float, ...]:
        """Return how long each block and the head take a token on a device, in milliseconds.

        Args:
            setup: How the model runs; experts that stay in RAM are left out.
            key: The device.
            processor: How fast it is.
            depth: Tokens in the cache.
        """
        asked = (setup.type_k, setup.type_v, depth, key.startswith(CUDA), processor)
        if asked not in self._times:
            times: dict[tuple[object, ...], tuple[float, float]] = {}
            for index, alike in enumerate(self._alike):
                if alike not in times:
                    times[alike] = (
                        self._block_ms(setup, key, processor, depth, index, routed=False),
                        self._block_ms(setup, key, processor, depth, index, routed=True),
                    )
            self._times[asked] = tuple(zip(*(times[alike] for alike in self._alike), strict=True))
        plain, whole = self._times[asked]
        return (*plain[: setup.experts_on_cpu], *whole[setup.experts_on_cpu :])

    @functools.cached_property
    def _alike(self) -> tuple[tuple[object, ...], ...]:
        """Return for each block and the head what layers that take the same time have in common."""
        counted = self.shape.n_layers
        blocks = (
            (block.plain, experts.plain, layer, index < counted)
            for index, (block, experts, layer) in enumerate(
                zip(self._blocks, self._experts, self.shape.layers, strict=True)
            )
        )
        return (*blocks, ("head",))

    def _block_ms(
        self, setup: Setup, key: str, processor: Processor, depth: int, index: int, *, routed: bool
    ) -> float:
        blocks = [index] if index < self.shape.n_layers else []
        experts = [one for one in blocks if routed and self._experts[one].elements]
        is_head = index == self.shape.n_blocks
        work = self._workload(setup, key, blocks, experts, depth, 1, is_head=is_head)
        return step_ms((Part(work, processor),))

    def parts(
        self, setup: Setup, processors: Mapping[str, Processor], depth: int, prompt: int
    ) -> tuple[Part, ...]:
        """Return the work of a token on each device, for the speed model.

        Args:
            setup: How the model runs.
            processors: The devices, by key.
            depth: Tokens in the cache when a token is generated.
            prompt: Length of a prompt that is read.
        """
        devices = layer_devices(self.shape, setup)
        works = [self._work(setup, devices, device, depth, prompt) for device in dict.fromkeys(devices)]
        if setup.experts_on_cpu and CPU not in devices:
            works.append(self._work(setup, devices, CPU, depth, prompt))
        return tuple(Part(work, processors[device]) for device, work in works)

    def _work(
        self, setup: Setup, devices: Sequence[str], device: str, depth: int, prompt: int
    ) -> tuple[str, Workload]:
        blocks = [index for index, one in enumerate(devices[:-1]) if one == device]
        blocks = [index for index in blocks if index < self.shape.n_layers]
        experts = [
            index
            for index, one in enumerate(devices[: self.shape.n_layers])
            if self._experts[index].elements and (CPU if index < setup.experts_on_cpu else one) == device
        ]
        is_head = devices[-1] == device
        return device, self._workload(setup, device, blocks, experts, depth, prompt, is_head=is_head)

    def _workload(
        self,
        setup: Setup,
        device: str,
        blocks: Sequence[int],
        experts: Sequence[int],
        depth: int,
        prompt: int,
        *,
        is_head: bool,
    ) -> Workload:
        """Return what some blocks, some layers' experts and perhaps the head ask of a device."""
        head = self._head_lump() if is_head else WeightGroup()
        dense = [*(self._blocks[index] for index in blocks), head]
        routed = sum(self._experts[index].elements for index in experts)
        share = self._n_used / self._n_expert if self._n_expert else 0.0
        layers = [self.shape.layers[index] for index in blocks]
        return Workload(
            n_layer=len(blocks),
            n_moe_layer=len(experts),
            weight_bytes=self.ratio * sum(one.on(device) for one in dense),
            kv_bytes=sum(self._read(layer, setup, depth) for layer in layers),
            expert_bytes=self.ratio * sum(self._experts[index].on(device) for index in experts),
            n_expert=self._n_expert,
            n_expert_used=self._n_used,
            active_parameters=sum(one.elements for one in dense) + share * routed,
            head_parameters=head.elements,
            attention_flops=sum(
                2.0 * self._heads[index] * max(self.shape.heads_k) * prompt
                for index in blocks
                if self.shape.layers[index].key
            ),
        )

    @property
    def token_bytes(self) -> Bytes:
        """What the caches of all layers hold for each token, as f16."""
        one = Extent(cells=1, window_cells=1, streams=1, sequences=1, tokens=1, outputs=1)
        kept = (
            cache_bytes(self.shape, layer, Setup(), one) + indexer_bytes(layer, Setup(), one)
            for layer in self.shape.layers
        )
        return Bytes(sum(kept))

    def _read(self, layer: Layer, setup: Setup, depth: int) -> int:
        """Return the bytes of a layer's cache that a token at `depth` reads, and of its state twice."""
        seen = min(depth, self.shape.window) if layer.window and self.shape.window else depth
        one = Extent(cells=seen, window_cells=seen, streams=1, sequences=1, tokens=1, outputs=1)
        cached = cache_bytes(self.shape, layer, setup, one) + indexer_bytes(layer, setup, one)
        return cached + 2 * 4 * layer.state

    def _kept(self, layer: Layer, setup: Setup, asked: Extent) -> int:
        return (
            cache_bytes(self.shape, layer, setup, asked)
            + indexer_bytes(layer, setup, asked)
            + state_bytes(layer, setup, asked)
        )

    def _compute(self, setup: Setup, asked: Extent) -> Bytes:
        key = (asked, setup.type_k, setup.type_v, setup.flash_attention)
        if key not in self._computed:
            parts = (compute_bytes, grown_bytes, margin_bytes)
            self._computed[key] = Bytes(sum(part(self.model, self.shape, setup, asked) for part in parts))
        return self._computed[key]

    def _head_lump(self) -> WeightGroup:
        head = WeightGroup()
        head.add(self._head)
        if self._tied:
            head.add(lump(self._tied))
        return head

    def _add_up(self) -> int:
        """Add every tensor to the place whose device it follows, and return the bytes of all."""
        places = (*map(str, range(self.shape.n_blocks)), str(HEAD))
        one, total = Setup(), 0
        sizes: dict[tuple[tuple[int, ...], int], WeightGroup] = {}
        for tensor in self.model.tensors:
            size = sizes.get((tensor.shape, tensor.type_id))
            if size is None:
                size = sizes[tensor.shape, tensor.type_id] = lump(tensor)
            total += size.plain
            if tensor.name.startswith("rope_f"):
                self._everywhere.add(size)
                continue
            for kind, place in homes(tensor, self.shape, one, places):
                self._place(kind, place).add(size)
        return total

    def _place(self, kind: str, place: str) -> WeightGroup:
        if place == CPU:
            return self._looked_up
        if place == str(HEAD):
            return self._head
        return (self._experts if kind.startswith("expert") else self._blocks)[int(place)]
