"""What of a replica's prompts outlives it (kept slots).

Before a replica that has finished its requests is ended, its slots are written to disk; when it is started
again, from the same files by the same engine with the same flags, they are read before it serves. So a swap,
a restart or a reboot does not cost the reading of every long prompt. What the engine reads back is compared
once for each of these, before any file of it counts: not every architecture can do it.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec

from relayd.endpoint import Endpoint
from relayd.errors import StateError
from relayd.journal import Journal
from relayd.planner import ReplicaSpec
from relayd.store.slotfiles import SlotFile, SlotFiles

LEAST_TOKENS = 512
"""Shorter prompts are read as fast as a file is."""

_RESTORE_SECONDS = 5.0
"""How long a start may wait for what was kept."""

_TRIED = {"prompt": "The quick brown fox jumps over the lazy dog. " * 3, "n_predict": 8, "temperature": 0}

_JOURNAL = Journal("supervisor")
_FAULTS = (OSError, StateError, msgspec.MsgspecError)


class SlotRequest(Protocol):
    """Sends a small request to a replica."""

    async def __call__(
        self, endpoint: Endpoint, path: str, body: bytes | None, *, timeout_seconds: float
    ) -> bytes:
        """Return the body of its answer.

        Raises:
            OSError: There was none in time, or it is an error.
        """
        ...


class _Slot(msgspec.Struct):
    id: int
    is_processing: bool = False


class _Saved(msgspec.Struct):
    n_saved: int = 0
    n_restored: int = 0


class _PromptTimings(msgspec.Struct):
    cache_n: int = 0
    prompt_n: int = 0


class _Completed(msgspec.Struct):
    content: str
    timings: _PromptTimings


class SlotKeeper:
    """Keeps the slots of replicas on disk.

    Args:
        files: Where.
        ask: Sends requests to replicas.
        identity: Returns what a spec has to agree in for a file to be read again, as one digest. Blocks.
        may_keep: Returns whether no key forbids that anything is kept.
        on_kept: Called with a replica whose slots were written.
        on_restored: Called with one that has read them, before it serves.
    """

    def __init__(
        self,
        files: SlotFiles,
        ask: SlotRequest,
        identity: Callable[[ReplicaSpec], str],
        may_keep: Callable[[], bool],
        on_kept: Callable[[str], None],
        on_restored: Callable[[str], None],
    ) -> None:
        self._files = files
        self._ask = ask
        self._identity = identity
        self._may_keep = may_keep
        self._on_kept = on_kept
        self._on_restored = on_restored
        self._changing = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<SlotKeeper {self._files!r}>"

    async def keep(self, spec: ReplicaSpec, endpoint: Endpoint, seconds: float) -> None:
        """Write the slots of a replica that is about to end, in `seconds` at most; what fails is reported.

        Without them a replica only has to read its prompts again.
        """
        try:
            async with asyncio.timeout(seconds), self._changing:
                if not self._may_keep():
                    await asyncio.to_thread(self._files.clear)
                elif not spec.embeddings:
                    await self._keep(spec, endpoint, seconds)
        except _FAULTS as fault:
            _JOURNAL.warning("slots.not_kept", replica=spec.name, message=repr(fault))

    async def restore(self, spec: ReplicaSpec, endpoint: Endpoint) -> None:
        """Have a replica that does not serve yet read what was kept of its predecessor."""
        try:
            async with asyncio.timeout(_RESTORE_SECONDS), self._changing:
                await self._restore(spec, endpoint)
        except _FAULTS as fault:
            _JOURNAL.warning("slots.not_restored", replica=spec.name, message=repr(fault))

    async def _keep(self, spec: ReplicaSpec, endpoint: Endpoint, seconds: float) -> None:
        key = await asyncio.to_thread(self._identity, spec)
        if await asyncio.to_thread(self._files.fits, key) is False:
            return

        async def ask(path: str, **members: object) -> bytes:
            body = msgspec.json.encode(members) if members else None
            return await self._ask(endpoint, path, body, timeout_seconds=seconds)

        try:
            parts, free = list[tuple[str, int]](), list[int]()
            for slot in msgspec.json.decode(await ask("/slots"), type=list[_Slot]):
                if slot.is_processing:
                    continue
                name = await asyncio.to_thread(self._files.part, key, slot.id)
                saved = _saved(await ask(f"/slots/{slot.id}?action=save", filename=name)).n_saved
                free.append(slot.id)
                if saved >= LEAST_TOKENS:
                    parts.append((name, saved))
            if parts and await self._is_fit(ask, key, free[0], spec):
                await asyncio.to_thread(self._files.put, key, parts)
                tokens = sum(one for _, one in parts)
                self._on_kept(spec.name)
                _JOURNAL.info("slots.kept", replica=spec.name, slots=len(parts), tokens=tokens)
        finally:
            self._files.clean(key)

    async def _is_fit(self, ask: "_BoundSlotRequest", key: str, slot: int, spec: ReplicaSpec) -> bool:
        """Return whether this engine goes on from what it reads back as from what it had; tried once."""
        if (known := await asyncio.to_thread(self._files.fits, key)) is not None:
            return known
        name = f"{key}-trial.part"

        async def completed() -> _Completed:
            raw = await ask("/completion", **_TRIED, cache_prompt=True, id_slot=slot)
            return msgspec.json.decode(raw, type=_Completed)

        await completed()
        before = await completed()  # all but one token come from the cache in this one, as in the next
        await ask(f"/slots/{slot}?action=save", filename=name)
        await ask(f"/slots/{slot}?action=erase", filename=name)
        await ask(f"/slots/{slot}?action=restore", filename=name)
        after = await completed()
        fit = before == after and before.timings.cache_n > before.timings.prompt_n
        await asyncio.to_thread(lambda: self._files.judge(key, fit=fit))
        if not fit:
            _JOURNAL.warning("slots.unfit", replica=spec.name)
        return fit

    async def _restore(self, spec: ReplicaSpec, endpoint: Endpoint) -> None:
        key = await asyncio.to_thread(self._identity, spec)
        read, lost = list[SlotFile](), list[SlotFile]()
        for file in (await asyncio.to_thread(self._files.find, key))[: spec.slots]:
            if not await asyncio.to_thread(self._files.is_sound, file):
                lost.append(file)
                continue
            path, body = f"/slots/{len(read)}?action=restore", msgspec.json.encode({"filename": file.name})
            answer = await self._ask(endpoint, path, body, timeout_seconds=_RESTORE_SECONDS)
            (read if _saved(answer).n_restored == file.tokens else lost).append(file)
        if not read and not lost:
            return
        await asyncio.to_thread(self._files.used, read, lost)
        if read:
            self._on_restored(spec.name)
        tokens = sum(one.tokens for one in read)
        _JOURNAL.info("slots.restored", replica=spec.name, slots=len(read), tokens=tokens, lost=len(lost))


class _BoundSlotRequest(Protocol):
    async def __call__(self, path: str, **members: object) -> bytes: ...


def _saved(raw: bytes) -> _Saved:
    return msgspec.json.decode(raw, type=_Saved)
