"""A folder of files that are called like models and are none, each with words that say what it is."""

import os
from collections.abc import Mapping
from pathlib import Path

from tests.fuzz import headers
from tests.fuzz.headers import TensorLine, header

WEIGHT = [TensorLine("blk.0.attn_q.weight", (64, 64))]
DATA = bytes(64 * 64 * 4 + 64)

KINDS: Mapping[str, tuple[bytes | bytearray, str]] = {
    "flux1-Q2": (header(tensors=WEIGHT, architecture="flux").data + DATA, "images or video"),
    "eyes": (header(tensors=WEIGHT, architecture="clip").data + DATA, "projector for images or sound"),
    "style": (
        header([("general.type", headers.STRING, "adapter")], WEIGHT).data + DATA,
        "a LoRA adapter",
    ),
    "kind-of": (header(tensors=WEIGHT, architecture="controlvector").data + DATA, "control vector"),
    "heads-EAGLE3": (header(tensors=WEIGHT, architecture="eagle3").data + DATA, "draft model"),
    "block": (header(tensors=WEIGHT, architecture="dflash").data + DATA, "draft model"),
    "ggml-vocab-tiny": (
        header([("tokenizer.ggml.tokens", headers.ARRAY, (headers.STRING, ["a"] * 9))]).data,
        "vocabulary without weights",
    ),
    "matrix": (
        header([("general.type", headers.STRING, "imatrix")], WEIGHT, architecture="").data + DATA,
        "importance matrix",
    ),
    "unheard-of": (header(tensors=WEIGHT, architecture="unheard-of").data + DATA, "does not know"),
    "next-version": (header(tensors=WEIGHT, version=4).data + DATA, "version 4"),
    "big-endian": (b"GGUF\0\0\0\3" + bytes(64), "big-endian"),
    "zeros": (bytes(4096), "at its beginning"),
    "empty": (b"", "it has 0"),
    "page": (b"<!DOCTYPE html>", "at its beginning"),
    "rest-00002-of-00003": (header(tensors=WEIGHT).data + DATA, "rest-00001-of-00003.gguf is missing"),
    "none-00001-of-00000": (header(tensors=WEIGHT).data + DATA, "first of 0 parts"),
    "begun-00001-of-00002": (
        header([("split.count", headers.UINT32, 2)], WEIGHT).data + DATA,
        "missing: begun-00002-of-00002.gguf",
    ),
}
"""Stem -> bytes, and words that say what the file is, from its beginning alone."""

HEADERS: Mapping[str, tuple[bytes | bytearray, str]] = {
    "no-blocks": (header(tensors=WEIGHT).data + DATA, "has no llama.block_count"),
    "cut": (header([("llama.block_count", headers.UINT32, 1)], WEIGHT).data + bytes(9), "bytes of file"),
    "promises": (
        header(
            [
                ("llama.block_count", headers.UINT32, 9),
                ("llama.context_length", headers.UINT32, 512),
                ("llama.embedding_length", headers.UINT32, 64),
                ("llama.attention.head_count", headers.UINT32, 4),
            ],
            WEIGHT,
        ).data
        + DATA,
        "none is blk.1.",
    ),
    "huge": (
        header(
            [("llama.block_count", headers.UINT32, 2**32 - 1), ("llama.num_loops", headers.UINT32, 2**30)],
            WEIGHT,
        ).data
        + DATA,
        "at most 512",
    ),
}
"""The same for files that only their whole header shows to be none."""


def fill(folder: Path) -> Path:
    """Put all of them into a folder, with a pipe, a folder and a device that are called like models."""
    folder.mkdir(parents=True, exist_ok=True)
    for stem, (data, _) in {**KINDS, **HEADERS}.items():
        (folder / f"{stem}.gguf").write_bytes(data)
    os.mkfifo(folder / "pipe.gguf")
    (folder / "folder.gguf").mkdir(exist_ok=True)
    (folder / "gone.gguf").symlink_to(folder / "nowhere")
    (folder / "loop.gguf").symlink_to("loop.gguf")
    (folder / "null.gguf").symlink_to("/dev/null")
    return folder
