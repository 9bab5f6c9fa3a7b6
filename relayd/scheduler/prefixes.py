"""Which replicas have read how much of a prompt before (prefix index)?

A prompt is a chain of fingerprints, one for each block and for each end of a message. Every fingerprint
stands for all of the prompt up to its block, whose length in bytes is in its low bits; so two prompts have a
beginning in common as far as they share fingerprints. Who holds a block holds those before it, so a look-up
halves one chain, whatever is indexed.

What a replica holds is modelled as llama-server holds it: the last prompts, one in each slot, and earlier
ones in host memory up to a limit, each for itself even where they begin alike.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

import msgspec

from relayd.scheduler.capacity import Capacity

COVERED_BITS = 24
"""Low bits of a fingerprint that say how many bytes of the prompt it stands for."""

COVERED = (1 << COVERED_BITS) - 1

_MOST_BLOCKS = 32_768
"""Fingerprints that are kept for a replica, at most: 6.4 MiB of memory measured."""

_SHRINK, _GROW = 0.95, 1.1
"""How a replica's memory is resized after a prompt that it should have held and did not, and after one that
it did: so its real size is found, whatever a token of this model takes."""

_MOST_SETS = 256
"""Sets of replicas that are kept."""

_MOST_SAVED = 256
"""Replicas whose prompts on disk are remembered."""

_NOBODY: Mapping[Capacity, int] = {}

_KEPT_PROMPTS = 8
"""Earlier prompts for each slot that a replica is taken to hold where its host memory is not known."""


def covered(chain: Sequence[int]) -> int:
    """Return how many bytes of a prompt its chain stands for."""
    return chain[-1] & COVERED if chain else 0


class _Prompt(msgspec.Struct, eq=False):
    """A prompt that a replica holds."""

    chain: tuple[int, ...]
    tokens: float


class _HeldPrompts:
    """What one replica holds."""

    def __init__(self, bit: int, slots: int, kept_tokens: float | None) -> None:
        self.bit = bit
        self.prompts: dict[int, _Prompt] = {}  # by their last fingerprint, the newest last
        self.blocks: dict[int, int] = {}  # how many prompts share each
        self.tokens = 0.0  # of all prompts
        self.spent: dict[int, None] = {}  # those of lines that were answered, the newest last
        self._slots = slots
        self._kept_tokens = kept_tokens
        self._most_tokens = kept_tokens

    def resize(self, *, missed: bool) -> None:
        """Take the memory for earlier prompts for smaller, or for larger again."""
        if missed:
            earlier = self._earlier_tokens()
            kept = self._kept_tokens
            self._kept_tokens = _SHRINK * (earlier if kept is None else min(earlier, kept))
        elif self._kept_tokens is not None:
            grown = self._kept_tokens * _GROW + 1
            self._kept_tokens = grown if self._most_tokens is None else min(grown, self._most_tokens)

    def newest(self) -> Iterable[_Prompt]:
        """Return the newest prompts, which are in slots, the last one first."""
        return islice(reversed(self.prompts.values()), self._slots)

    def newest_tokens(self) -> float:
        """Return the tokens of those."""
        return sum(one.tokens for one in self.newest())

    def _earlier_tokens(self) -> float:
        return self.tokens - self.newest_tokens()

    def surplus(self) -> _Prompt | None:
        """Return a prompt that has no place any more: the oldest, the slots keep the newest ones."""
        earlier = len(self.prompts) - self._slots
        if earlier <= 0:
            return None
        if len(self.blocks) > _MOST_BLOCKS:
            return self._oldest()
        if (kept := self._kept_tokens) is None:
            return self._oldest() if earlier > _KEPT_PROMPTS * self._slots else None
        if self.tokens <= kept:  # then the earlier ones alone are no more either
            return None
        return self._oldest() if self._earlier_tokens() > kept else None

    def _oldest(self) -> _Prompt:
        return next(iter(self.prompts.values()))

    def put(self, prompt: _Prompt) -> None:
        """Hold a prompt."""
        self.prompts[prompt.chain[-1]] = prompt
        self.tokens += prompt.tokens

    def take(self, last: int) -> _Prompt | None:
        """Hold the prompt that ends with a fingerprint no more, and return it."""
        if (prompt := self.prompts.pop(last, None)) is not None:
            self.tokens -= prompt.tokens
        return prompt


class PrefixIndex:
    """The prompts of one model's replicas, with a bit for each replica at every fingerprint."""

    def __init__(self) -> None:
        self._held: dict[Capacity, _HeldPrompts] = {}
        self._holders: dict[int, int] = {}
        self._of_bit: dict[int, Capacity] = {}
        self._of_bits: dict[int, tuple[Capacity, ...]] = {}  # those of several bits, as they were found last
        self._every_bit = 0
        self._saved: dict[str, tuple[_Prompt, ...]] = {}  # by the replica's name, newest first

    def __repr__(self) -> str:
        prompts = sum(len(one.prompts) for one in self._held.values())
        return f"<PrefixIndex {len(self._holders)} blocks, {prompts} prompts, {len(self._held)} replicas>"

    def __len__(self) -> int:
        return len(self._holders)

    def find(self, chain: Sequence[int]) -> Mapping[Capacity, int]:
        """Return how many bytes of a prompt each replica has read, where it is any."""
        of, end = self._holders.get, len(chain)
        unknown = of(chain[0], 0) if end else 0  # who has not its first block has none of it
        if not unknown:
            return _NOBODY
        deepest = chain[-1]
        bits = of(deepest, 0)
        found = dict.fromkeys(self._of_bits.get(bits) or self._sort(bits), deepest & COVERED)
        unknown ^= bits & unknown
        end -= 1
        while end and unknown:
            low, high = 0, end  # how many blocks any of these replicas has for sure, and at most
            while low < high:
                middle = (low + high + 1) // 2
                if of(chain[middle - 1], 0) & unknown:
                    low = middle
                else:
                    high = middle - 1
            if not low:
                break
            deepest = chain[low - 1]
            bits = of(deepest, 0) & unknown
            unknown ^= bits
            found |= dict.fromkeys(self._of_bits.get(bits) or self._sort(bits), deepest & COVERED)
            end = low - 1
        return found

    def _sort(self, bits: int) -> tuple[Capacity, ...]:
        """Return the replicas of some bits; the few sets of them that prompts have in common are kept."""
        if len(self._of_bits) >= _MOST_SETS:
            self._of_bits.clear()
        found, left = list[Capacity](), bits
        while left:
            bit = left & -left
            found.append(self._of_bit[bit])
            left ^= bit
        return self._of_bits.setdefault(bits, tuple(found))

    def depth(self, capacity: Capacity, chain: Sequence[int]) -> int:
        """Return how many bytes of a prompt one replica has read."""
        held = self._held.get(capacity)
        if held is None:
            return 0
        blocks, low, high = held.blocks, 0, len(chain)
        while low < high:
            middle = (low + high + 1) // 2
            if chain[middle - 1] in blocks:
                low = middle
            else:
                high = middle - 1
        return chain[low - 1] & COVERED if low else 0

    def learn(self, capacity: Capacity, chain: tuple[int, ...], tokens: float) -> bool:
        """Take note that a replica reads a prompt, and return whether it continues one that is held whole.

        That one is part of it now.

        Args:
            capacity: Which replica.
            chain: The prompt.
            tokens: What it takes in the replica's memory, with its answer.
        """
        held, continues = self._held.get(capacity) or self._enter(capacity), True
        if (again := held.prompts.pop(chain[-1], None)) is not None:
            held.prompts[chain[-1]] = again
            grown = tokens - again.tokens
            held.tokens += grown
            again.tokens = tokens
            if grown <= 0:
                return True
        else:
            continues = self._add(held, chain, tokens)
        while (oldest := held.surplus()) is not None:
            self._drop(held, oldest)
        return continues

    def _add(self, held: _HeldPrompts, chain: tuple[int, ...], tokens: float) -> bool:
        known = self._continued(held, chain)
        for block in chain[known:]:
            count = held.blocks[block] = held.blocks.get(block, 0) + 1
            if count == 1:
                self._holders[block] = self._holders.get(block, 0) | held.bit
        held.put(_Prompt(chain, tokens))
        return known > 0

    def correct(self, capacity: Capacity, chain: tuple[int, ...], found_bytes: int) -> None:
        """Drop what a replica turned out not to hold: other prompts that share more than was found.

        Args:
            capacity: Which replica.
            chain: The prompt that it has read now.
            found_bytes: How much of it the replica had.
        """
        held = self._held.get(capacity)
        beyond = next((block for block in chain if block & COVERED > found_bytes), None)
        if held is None or beyond is None or held.blocks.get(beyond, 0) < 2:
            return
        for prompt in [one for one in held.prompts.values() if beyond in one.chain]:
            if prompt.chain[-1] != chain[-1]:
                self._drop(held, prompt)

    def spend(self, capacity: Capacity, chain: tuple[int, ...]) -> None:
        """Take note that a line of a batch was answered: nothing continues its prompt.

        A line takes the slot of one that began alike, and the engine keeps no copy of what a slot loses by
        that. So a replica holds as many of them as it has slots, and they push out no conversation.
        """
        if held := self._held.get(capacity):
            held.spent[chain[-1]] = None
            while len(held.spent) > capacity.slots:
                last = next(iter(held.spent))
                del held.spent[last]
                if (prompt := held.prompts.get(last)) is not None:
                    self._drop(held, prompt)

    def judge(self, capacity: Capacity, *, missed: bool) -> None:
        """Take note of whether a replica held a prompt that it was expected to hold."""
        if held := self._held.get(capacity):
            held.resize(missed=missed)
            while (oldest := held.surplus()) is not None:
                self._drop(held, oldest)

    def measure(self, capacity: Capacity, chain: tuple[int, ...], tokens: float) -> None:
        """Take note of what a prompt really takes in a replica's memory (tokens)."""
        held = self._held.get(capacity)
        if held and (prompt := held.prompts.get(chain[-1])):
            held.tokens += tokens - prompt.tokens
            prompt.tokens = tokens

    def newest_tokens(self, capacity: Capacity) -> float:
        """Return the tokens of the prompts that a replica holds in its slots."""
        held = self._held.get(capacity)
        return held.newest_tokens() if held else 0.0

    def save(self, capacity: Capacity) -> None:
        """Take note that the prompts in a replica's slots are on disk, whatever becomes of the replica."""
        name = capacity.endpoint.replica
        self._saved.pop(name, None)
        if held := self._held.get(capacity):
            self._saved[name] = tuple(held.newest())
            if len(self._saved) > _MOST_SAVED:
                del self._saved[next(iter(self._saved))]

    def restore(self, capacity: Capacity) -> None:
        """Take note that a new incarnation of a replica has read its prompts back from disk."""
        for prompt in reversed(self._saved.get(capacity.endpoint.replica, ())):
            self.learn(capacity, prompt.chain, prompt.tokens)

    def keep(self, capacities: set[Capacity]) -> None:
        """Forget the replicas that are not among these: their caches are gone."""
        for capacity in [one for one in self._held if one not in capacities]:
            held = self._held.pop(capacity)
            self._of_bits.clear()
            del self._of_bit[held.bit]
            self._every_bit &= ~held.bit
            for block in held.blocks:
                self._clear(block, held.bit)

    def _enter(self, capacity: Capacity) -> _HeldPrompts:
        bit = next(1 << number for number in range(len(self._of_bit) + 1) if 1 << number not in self._of_bit)
        self._of_bit[bit] = capacity
        self._every_bit |= bit
        held = self._held[capacity] = _HeldPrompts(bit, capacity.slots, capacity.kept_tokens)
        return held

    @staticmethod
    def _continued(held: _HeldPrompts, chain: tuple[int, ...]) -> int:
        """Take out the prompt that another one continues, and return how many blocks it had."""
        prompts, blocks = held.prompts, held.blocks
        low, high = 0, len(chain)  # how many blocks it shares for sure, and at most
        if chain[-1] in prompts:
            low = high
        while low < high:
            middle = (low + high + 1) // 2
            if chain[middle - 1] in blocks:
                low = middle
            else:
                high = middle - 1
        for at in range(low, 0, -1):
            if chain[at - 1] in prompts:
                held.take(chain[at - 1])
                return at
        return 0

    def _drop(self, held: _HeldPrompts, prompt: _Prompt) -> None:
        held.take(prompt.chain[-1])
        for block in prompt.chain:
            count = held.blocks.pop(block, 1) - 1
            if count:
                held.blocks[block] = count
            else:
                self._clear(block, held.bit)

    def _clear(self, block: int, bit: int) -> None:
        if left := self._holders.pop(block, 0) & ~bit:
            self._holders[block] = left
