"""Which replicas keep their slots on disk, and what they have to agree in to read them again."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from relayd.clock import Clock
from relayd.desired.away import files_of
from relayd.desired.state import DesiredState
from relayd.endpoint import Endpoint, TcpAddress
from relayd.engine import command
from relayd.errors import UpstreamError
from relayd.files import private_folder
from relayd.planner import ReplicaSpec
from relayd.router import Pools
from relayd.router.headers import Call
from relayd.scheduler import Event, SlotsKept, SlotsRestored
from relayd.store.slotfiles import SlotFiles, remove_slot_files
from relayd.supervisor.slots import SlotKeeper
from relayd.units import mib

_FLAG = "--slot-save-path"
_FOLDER = "slots"


def kept_slots(
    desired: DesiredState,
    pools: Pools,
    clock: Clock,
    may_keep: Callable[[], bool],
    post: Callable[[Event], None],
) -> SlotKeeper | None:
    """Return what keeps the slots of replicas; None, and nothing on disk any more, where nothing is kept.

    Args:
        desired: What is configured.
        pools: Connections to replicas.
        clock: Time.
        may_keep: Returns whether no key forbids that anything is kept.
        post: Posts which replicas were kept, and which have read what was.
    """
    folder = desired.paths.state / _FOLDER
    if not _keeps(desired):
        remove_slot_files(folder, clock)
        return None

    async def ask(endpoint: Endpoint, path: str, body: bytes | None, *, timeout_seconds: float) -> bytes:
        call = Call.get(path) if body is None else Call(path, body)
        try:
            answer = await pools.fetch(endpoint, call, timeout_seconds=timeout_seconds)
        except UpstreamError as error:
            raise ConnectionError(error.message) from error
        if answer.status != 200:
            raise ConnectionError(f"{path} was answered {answer.status}")
        return answer.body

    def identity(spec: ReplicaSpec) -> str:
        flags = command(spec, desired.engine.features, TcpAddress(1), Path("/key"))
        files = [_identity(path) for path in (desired.engine.path, *files_of(spec))]
        told = repr((spec.name, desired.engine.version, flags, files))
        return hashlib.blake2b(told.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()

    files = SlotFiles(folder, mib(desired.config.replicas.slots_on_disk_mib), clock)
    return SlotKeeper(
        files,
        ask,
        identity,
        may_keep,
        on_kept=lambda replica: post(SlotsKept(replica)),
        on_restored=lambda replica: post(SlotsRestored(replica)),
    )


def kept_flags(desired: DesiredState, spec: ReplicaSpec) -> tuple[str, ...]:
    """Return the flags of a replica whose slots are kept, and make the folder that they name. Blocks."""
    if not _keeps(desired) or spec.embeddings:
        return ()
    private_folder(folder := desired.paths.state / _FOLDER)
    return (_FLAG, str(folder))


def _keeps(desired: DesiredState) -> bool:
    replicas = desired.config.replicas
    knows = _FLAG in desired.engine.features.flags
    return bool(replicas.slots_on_disk_mib) and replicas.sandbox == "none" and knows


def _identity(path: Path) -> tuple[str, int, int, int, int]:
    found = path.stat()
    return str(path), found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
