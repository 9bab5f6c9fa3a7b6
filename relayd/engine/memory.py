"""The memory that llama-server itself computes for a model (`--fit` breakdown).

Before it loads anything, a llama-server fits its flags to the machine: it reads the header, reserves the
graphs without allocating them, and with `--log-jsonl` prints one `fit_memory_breakdown` record
(common/fit.cpp of b11434). No weight is read, so a header with nothing after it will do.
"""

import contextlib
import hashlib
import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from relayd.engine.environment import probe_environment
from relayd.engine.find import Engine
from relayd.errors import EngineError, StateError
from relayd.files import private_folder, scratch_folder, write_atomic
from relayd.gguf.metadata import ModelMetadata
from relayd.gguf.writer import write_sparse
from relayd.memory.setup import EVERY_LAYER, Setup

TIMEOUT_SECONDS = 30.0
"""How long an engine may take to answer; on one CPU it takes 10 to 300 ms."""

NEEDED_FLAGS = ("--log-jsonl", "--fit")
"""Without these the engine prints nothing."""


class Row(msgspec.Struct, frozen=True):
    """What the engine will hold in one place, whole MiB rounded down.

    Attributes:
        kind: `device`, `host`, or `buffer_type` for host memory that is none of the usual: CPU_REPACK.
        name: `Host`, `CUDA0`, `CPU_REPACK`.
        model: Weights.
        context: KV cache and recurrent state.
        compute: Compute buffer.
    """

    kind: str
    name: str
    model: int
    context: int
    compute: int


class _Data(msgspec.Struct):
    rows: tuple[Row, ...]


class _LogRecord(msgspec.Struct):
    type: str = ""
    data: _Data | None = None
    msg: str = ""
    level: str = ""


class _RememberedRows(msgspec.Struct, frozen=True):
    key: str
    rows: tuple[Row, ...]


class MemoryProbe:
    """Asks one engine, and keeps its answers in `cache`."""

    def __init__(self, engine: Engine, cache: Path, parent: Mapping[str, str]) -> None:
        self._engine = engine
        self._cache = cache
        self._parent = parent

    def ask(self, file: Path, model: ModelMetadata, setup: Setup) -> tuple[Row, ...]:
        """Return what the engine takes for `setup`, asking it only the first time.

        Args:
            file: The model; only its header is read.
            model: That header, which identifies the answer whatever the file is called.
            setup: How it shall run.

        Raises:
            EngineError: The engine refuses the model or the flags, or knows no such record.
        """
        features = self._engine.features
        lacking = [flag for flag in NEEDED_FLAGS if flag not in features.flags]
        if lacking:
            raise EngineError(
                f"llama-server {features.version} cannot report its memory: it has no {lacking[0]}",
                remedy="Install a newer one with `relayd engine install`.",
            )
        flags = probe_flags(setup)
        key = self._key(model, flags)
        remembered = self._cache / f"memory-{key[:32]}.json"
        with contextlib.suppress(OSError, msgspec.DecodeError):
            found = msgspec.json.decode(remembered.read_bytes(), type=_RememberedRows)
            if found.key == key:
                return found.rows
        rows = breakdown(self._engine.path, file, flags, self._parent)
        with contextlib.suppress(StateError):
            private_folder(self._cache)
            write_atomic(remembered, msgspec.json.encode(_RememberedRows(key, rows)))
        return rows

    def ask_header(self, model: ModelMetadata, setup: Setup) -> tuple[Row, ...]:
        """Return what `ask` does for a model whose file is not here: of a header with a hole behind it.

        Raises:
            EngineError: As `ask` does, or no temporary file can be written.
            ModelFileError: The file system keeps no files with holes.
        """
        try:
            with scratch_folder(self._cache) as folder:
                write_sparse(folder / "header.gguf", model)
                return self.ask(folder / "header.gguf", model, setup)
        except StateError as error:
            raise EngineError(
                f"the engine cannot be asked: {error.message}", remedy="Set TMPDIR to a folder of yours."
            ) from error

    def _key(self, model: ModelMetadata, flags: Sequence[str]) -> str:
        found = self._engine.path.stat()
        identity = (str(self._engine.path), found.st_size, found.st_mtime_ns, self._engine.build)
        return hashlib.sha256(repr((digest(model), identity, tuple(flags))).encode()).hexdigest()


def digest(model: ModelMetadata) -> str:
    """Return a hash of the shapes and types in a header; equal headers take equal memory."""
    values = sorted(model.values.items())
    tensors = [(tensor.name, tensor.shape, tensor.type_id) for tensor in model.tensors]
    return hashlib.sha256(repr((model.architecture, values, tensors)).encode()).hexdigest()


def probe_flags(setup: Setup) -> tuple[str, ...]:
    """Return the flags of llama-server for `setup`; whatever changes memory is given."""
    flags = [
        "--ctx-size", str(setup.context),
        "--cache-type-k", setup.type_k, "--cache-type-v", setup.type_v,
        "--batch-size", str(setup.batch), "--ubatch-size", str(setup.micro_batch),
        "--flash-attn", "on" if setup.flash_attention else "off",
    ]  # fmt: skip
    if setup.slots:
        flags += ["--parallel", str(setup.slots)]
        flags += ["--kv-unified"] if setup.unified else []
    if setup.window_full:
        flags.append("--swa-full")
    if setup.embeddings:
        flags.append("--embeddings")
    if not setup.repacked:
        flags.append("--no-repack")
    if setup.gpus:
        flags += ["--gpu-layers", "all" if setup.gpu_layers >= EVERY_LAYER else str(setup.gpu_layers)]
        flags += ["--tensor-split", ",".join(f"{gpu.share:g}" for gpu in setup.gpus)]
    else:
        flags += ["--device", "none"]
    if setup.experts_on_cpu:
        flags += ["--n-cpu-moe", str(setup.experts_on_cpu)]
    return tuple(flags)


def breakdown(
    binary: Path,
    file: Path,
    flags: Sequence[str],
    parent: Mapping[str, str],
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> tuple[Row, ...]:
    """Start `binary` on `file`, return its first breakdown, and kill it.

    Raises:
        EngineError: It ended, or stayed silent, without a breakdown.
    """
    command = [
        str(binary), "--model", str(file), *flags, "--port", "0", "--fit", "on", "--log-jsonl", "-lv", "4",
    ]  # fmt: skip
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=probe_environment(parent),
        )
    except OSError as error:
        raise EngineError(
            f"{binary} cannot be run: {os.strerror(error.errno or 0)}",
            remedy="Install one for this machine with `relayd engine install`.",
        ) from error
    watchdog = threading.Timer(timeout_seconds, process.kill)
    watchdog.start()
    try:
        return _read(process, file)
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _read(process: "subprocess.Popen[bytes]", file: Path) -> tuple[Row, ...]:
    """Return the first breakdown among the records a process prints."""
    complaint = ""
    for line in process.stdout or ():
        with contextlib.suppress(msgspec.DecodeError):
            record = msgspec.json.decode(line, type=_LogRecord)
            if record.type == "fit_memory_breakdown" and record.data is not None:
                return record.data.rows
            if record.level == "error" and not complaint:
                complaint = record.msg.strip()
            continue
        complaint = complaint or line.decode(errors="replace").strip()
    raise EngineError(f"llama-server did not report what {file.name} takes: {complaint or 'no output'}")
