"""What does a model's file state that clients ask for: its size, its window, what it can do?"""

import math
from dataclasses import dataclass
from pathlib import Path

from relayd.errors import ModelFileError
from relayd.gguf.metadata import ModelMetadata
from relayd.gguf.quants import FILE_TYPES

THINKING_MARKS = ("enable_thinking", "<think>", "reasoning_content", "<|channel|>")
"""What templates of models that reason hold."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What the header of a model's file states; zeros and empty strings where it is not known.

    Attributes:
        architecture: As llama.cpp names it.
        base_name: What its maker calls the model.
        quantization: Of most of its weights, like `Q4_K_M`.
        size: Bytes of its files.
        parameters: How many weights it has.
        trained_context: Tokens that it was trained on.
        embedding_length: Numbers in one of its vectors.
        vocabulary: Tokens that it knows.
        longest_token: Bytes of the longest one.
        template: How it renders a conversation; empty when it takes none.
        takes_images: It is a projector of images.
        takes_audio: It is a projector of audio.
        fills_in: It names the tokens for filling in between two texts.
        token_bytes: What its caches hold for each token, in f16; 0 where that was not planned.
        changed_ns: When the file was last written, in ns since 1970.
    """

    architecture: str = ""
    base_name: str = ""
    quantization: str = ""
    size: int = 0
    parameters: int = 0
    trained_context: int = 0
    embedding_length: int = 0
    vocabulary: int = 0
    longest_token: int = 0
    template: str = ""
    takes_images: bool = False
    takes_audio: bool = False
    fills_in: bool = False
    token_bytes: int = 0
    changed_ns: int = 0

    @property
    def takes_tools(self) -> bool:
        """Whether its template shows it tools."""
        return "tools" in self.template

    @property
    def thinks(self) -> bool:
        """Whether its template has a place for reasoning."""
        return any(mark in self.template for mark in THINKING_MARKS)


UNKNOWN = FileFacts()
"""Of a file that was not read yet, or cannot be."""

_FILL_IN_TOKENS = (("fim_pre", "prefix"), ("fim_suf", "suffix"), ("fim_mid", "middle"))
"""Names of the tokens around what is filled in (llama-vocab.cpp), all of which `/infill` needs; where a file
has none, llama-server looks for one by its text, which is not read here."""

Identity = tuple[int, int, int]
"""Size, time and inode of a file."""

FileRecord = tuple[Identity, FileFacts]
"""What a file states, as long as it is that file."""


def identity_of(file: Path) -> Identity | None:
    """Return what changes when a file is replaced; None where there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino


def record_of(file: Path, metadata: ModelMetadata) -> FileRecord | None:
    """Return what the header of a file states that was read just now; None where a value in it is wrong."""
    identity = identity_of(file)
    try:
        return (identity, facts_of(metadata)) if identity else None
    except ModelFileError:
        return None


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
        fills_in=all(
            any(f"tokenizer.ggml.{name}_token_id" in values for name in names) for names in _FILL_IN_TOKENS
        ),
    )


def _text(metadata: ModelMetadata, key: str) -> str:
    value = metadata.values.get(key)
    return value if isinstance(value, str) else ""
