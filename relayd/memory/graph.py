"""The compute graph: tensors of one pass, and the memory they need at once (allocator).

llama.cpp reserves its compute buffer by walking the graph of the largest batch once and giving every
tensor the first place that fits (ggml-alloc.c of b11434). `Graph` records such a graph, sizes only, and
`allocate` walks it in the same way, so that its result is the engine's own number and no estimate.
"""

import math
from collections.abc import Sequence

from relayd.units import Bytes

ALIGNMENT = 32
"""Bytes; what the CPU backend asks for (ggml-backend.cpp `TENSOR_ALIGNMENT`), 128 on CUDA."""

_ENDLESS = 1 << 62


class GraphTensor:
    """The size of a tensor, what it is made of, and what of its memory is its own.

    Attributes:
        shape: Elements in each of four dimensions, rows first.
        item: Bytes an element takes.
        sources: Tensors it is computed from.
        origin: The tensor whose memory it shows, if it is a view.
        in_place: Whether its operation may write over one of its sources.
        dense: Whether its elements are contiguous.
        owned: Whether the graph allocates it; weights and caches have memory already.
    """

    __slots__ = (
        "children", "dense", "in_place", "item", "nbytes", "offset", "origin", "owned", "placed", "shape",
        "sources", "views", "visited",
    )  # fmt: skip

    def __init__(
        self,
        shape: Sequence[int],
        sources: tuple["GraphTensor", ...] = (),
        *,
        item: int = 4,
        origin: "GraphTensor | None" = None,
        in_place: bool = False,
        dense: bool = True,
        owned: bool = True,
    ) -> None:
        self.shape = (*shape, *(1,) * (4 - len(shape)))
        self.item = item
        self.sources = sources
        self.origin: GraphTensor | None = origin.origin or origin if origin is not None else None
        self.in_place = in_place
        self.dense = dense
        self.owned = owned
        self.nbytes = -(-math.prod(shape) * item // ALIGNMENT) * ALIGNMENT
        self.children = self.views = self.offset = 0
        self.placed = self.visited = False

    def fits_over(self, source: "GraphTensor") -> bool:
        """Return whether this tensor has the layout of `source` (ggml `ggml_are_same_layout`)."""
        return self.item == source.item and self.shape == source.shape and self.dense and source.dense


class Graph:
    """A graph in the order in which the engine would compute it."""

    def __init__(self) -> None:
        self.nodes: list[GraphTensor] = []
        self.leaves: list[GraphTensor] = []

    def input(self, *shape: int, item: int = 4) -> GraphTensor:
        """Return a tensor that the caller fills before every pass."""
        return GraphTensor(shape, item=item)

    def outside(self, *shape: int, item: int = 4) -> GraphTensor:
        """Return a tensor with memory of its own: a weight or a cache."""
        return GraphTensor(shape, item=item, owned=False)

    def make(self, shape: Sequence[int], *sources: GraphTensor, item: int = 4) -> GraphTensor:
        """Return a tensor with memory of its own, computed from `sources`."""
        return GraphTensor(shape, sources, item=item)

    def change(self, source: GraphTensor, *others: GraphTensor) -> GraphTensor:
        """Return a tensor of the layout of `source` that may be written over one of its sources."""
        return GraphTensor(source.shape, (source, *others), item=source.item, in_place=True)

    def matmul(self, rows: int, source: GraphTensor) -> GraphTensor:
        """Return `source` times a weight of `rows` rows."""
        return GraphTensor((rows, *source.shape[1:]), (source,))

    def view(self, source: GraphTensor, *shape: int, dense: bool = True) -> GraphTensor:
        """Return another look at the memory of `source`."""
        return GraphTensor(shape, (source,), item=source.item, origin=source, dense=dense)

    def store(self, cache: GraphTensor, *sources: GraphTensor) -> GraphTensor:
        """Return the operation that writes `sources` into `cache`."""
        return GraphTensor(cache.shape, (*sources, cache), item=cache.item, origin=cache)

    def update(self, target: GraphTensor, *others: GraphTensor) -> GraphTensor:
        """Return the operation that changes `target` where it is (`ggml_add_inplace`)."""
        return GraphTensor(target.shape, (target, *others), item=target.item, origin=target)

    def expand(self, tensor: GraphTensor) -> GraphTensor:
        """Append what `tensor` needs and itself, sources from left to right (ggml.c `ggml_visit_parents`).

        Without recursion: layers that ask for nothing in between are one chain of thousands.
        """
        if tensor.visited:
            return tensor
        tensor.visited = True
        open_ = [(tensor, iter(tensor.sources))]
        while open_:
            one, sources = open_[-1]
            for source in sources:
                if not source.visited:
                    source.visited = True
                    open_.append((source, iter(source.sources)))
                    break
            else:
                open_.pop()
                (self.nodes if one.sources else self.leaves).append(one)
        return tensor


class _Space:
    """Addresses in one buffer; the last free block has no end."""

    def __init__(self) -> None:
        self.free: list[tuple[int, int]] = [(0, _ENDLESS)]
        self.high = 0

    def take(self, size: int) -> int:
        """Return the offset of the tightest free block, the last one only where no other fits."""
        best = min(
            ((block[1], -index) for index, block in enumerate(self.free[:-1]) if block[1] >= size),
            default=None,
        )
        index = len(self.free) - 1 if best is None else -best[1]
        offset, room = self.free[index]
        if room == size:
            del self.free[index]
        else:
            self.free[index] = (offset + size, room - size)
        self.high = max(self.high, offset + size)
        return offset

    def give(self, offset: int, size: int) -> None:
        """Put a block back, joined with free neighbours."""
        blocks = sorted([*self.free, (offset, size)])
        joined = [blocks[0]]
        for start, length in blocks[1:]:
            last_start, last_length = joined[-1]
            if last_start + last_length == start:
                joined[-1] = (last_start, last_length + length)
            else:
                joined.append((start, length))
        self.free = joined


def allocate(graph: Graph) -> Bytes:
    """Return the size of the buffer that holds every tensor of `graph` while it is needed.

    Source: ggml-alloc.c `ggml_gallocr_alloc_graph_impl`, `ggml_gallocr_allocate_node` and
    `ggml_dyn_tallocr_alloc` of b11434, for one backend.
    """
    space = _Space()
    for leaf in graph.leaves:
        _place(space, leaf)
    for node in graph.nodes:
        if node.origin is not None:
            node.origin.views += 1
        for source in node.sources:
            source.children += 1
    for node in graph.nodes:
        _place(space, node)
        for source in node.sources:
            source.children -= 1
            if source.children == 0 and source.views == 0:
                _release(space, source)
    return Bytes(space.high)


def _place(space: _Space, tensor: GraphTensor) -> None:
    if tensor.placed or not tensor.owned or tensor.origin is not None:
        return
    tensor.placed = True
    for source in tensor.sources if tensor.in_place else ():
        # A view never counts as placed, so nothing is written over one.
        if source.placed and source.children == 1 and not source.views and tensor.fits_over(source):
            tensor.offset = source.offset
            source.placed = False
            return
    tensor.offset = space.take(tensor.nbytes)


def _release(space: _Space, tensor: GraphTensor) -> None:
    owner = tensor
    if tensor.origin is not None:
        owner = tensor.origin
        owner.views -= 1
        if owner.views or owner.children:
            return
    if owner.placed and owner.owned:
        space.give(owner.offset, owner.nbytes)
        owner.placed = False
