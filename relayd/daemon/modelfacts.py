"""What do the files of the configured models state? Read aside, once, when it is first asked for."""

import asyncio
import math
from collections.abc import Callable
from pathlib import Path

from relayd.api import FileFacts
from relayd.errors import ModelFileError
from relayd.gguf import FILE_TYPES, ModelMetadata, read_metadata

_UNKNOWN = FileFacts()


class KnownFacts:
    """What each model file states, read in a thread."""

    def __init__(self) -> None:
        self._on_known: Callable[[], None] = lambda: None
        self._known: dict[str, FileFacts] = {}
        self._reading: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<KnownFacts known={len(self._known)} reading={len(self._reading)}>"

    def on_known(self, changed: Callable[[], None]) -> None:
        """Call `changed` when those of another file are known."""
        self._on_known = changed

    def of(self, file: str) -> FileFacts:
        """Return what a file states; nothing until that is known, and where it cannot be."""
        if file and file not in self._known:
            self._known[file] = _UNKNOWN
            task = asyncio.get_running_loop().create_task(self._read(file))
            self._reading.add(task)
            task.add_done_callback(self._reading.discard)
        return self._known.get(file, _UNKNOWN)

    def forget(self) -> None:
        """Read the files again: they may have been replaced."""
        self._known.clear()

    async def _read(self, file: str) -> None:
        found = await asyncio.to_thread(_stated, Path(file))
        if file in self._known and found != _UNKNOWN:
            self._known[file] = found
            self._on_known()


def _stated(file: Path) -> FileFacts:
    try:
        return facts_of(read_metadata(file))
    except ModelFileError:
        return _UNKNOWN


def facts_of(metadata: ModelMetadata) -> FileFacts:
    """Return what a header states.

    Raises:
        ModelFileError: A value in it is not what it should be.
    """
    values = metadata.values
    kind = values.get("general.file_type")
    return FileFacts(
        architecture=metadata.architecture,
        base_name=_text(metadata, "general.basename") or _text(metadata, "general.name"),
        quantization=FILE_TYPES.get(kind, "") if isinstance(kind, int) else "",
        size=metadata.file_bytes,
        parameters=sum(math.prod(tensor.shape) for tensor in metadata.tensors),
        trained_context=metadata.whole("context_length"),
        embedding_length=metadata.whole("embedding_length"),
        vocabulary=metadata.n_vocab,
        longest_token=metadata.longest_token,
        template=_text(metadata, "tokenizer.chat_template"),
        takes_images=values.get("clip.has_vision_encoder") is True,
        takes_audio=values.get("clip.has_audio_encoder") is True,
    )


def _text(metadata: ModelMetadata, key: str) -> str:
    value = metadata.values.get(key)
    return value if isinstance(value, str) else ""
