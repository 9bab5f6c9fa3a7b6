"""The check that configured model files exist and are GGUFs."""

import stat
from collections.abc import Iterator
from pathlib import Path

from relayd.config.foreign import nearest
from relayd.config.schema import Config
from relayd.errors import ModelFileError

MAGIC = b"GGUF"
"""The first four bytes, in either byte order (ggml/docs/gguf.md)."""


def check_model_files(config: Config) -> None:
    """Open every model and adapter, and report every file that cannot be one.

    Raises:
        ModelFileError: A file is missing, unreadable, not a regular file, or does not begin like a GGUF.
    """
    problems = [
        f"model {name}: {problem}" for name, file in _files(config) if (problem := file_problem(Path(file)))
    ]
    if problems:
        raise ModelFileError("\n".join(problems))


def _files(config: Config) -> Iterator[tuple[str, str]]:
    for model in config.model:
        yield model.name, model.file
        if model.projector:
            yield model.name, model.projector
        yield from ((model.name, one.file) for one in model.lora)


def file_problem(file: Path, *, gguf: bool = True) -> str:
    """Return why a file cannot be given to the engine; "" where it can. Blocks.

    Args:
        file: The file.
        gguf: Whether it has to be a GGUF; else it only has to be readable.
    """
    try:
        # Asked before opening: to open a pipe is to wait for its writer.
        if not stat.S_ISREG(file.stat().st_mode):
            return f"{file} is not a regular file{_suggest(file) if gguf else ''}"
        with file.open("rb") as stream:
            begins = stream.read(len(MAGIC))
    except FileNotFoundError:
        return f"{file} does not exist{_suggest(file) if gguf else ''}"
    except OSError as error:
        return f"{file} cannot be read: {error.strerror}"
    except ValueError as error:  # a zero byte
        return f"{str(file)!r} is an invalid path: {error}"
    return f"{file} is not a GGUF file: it does not begin with GGUF" if gguf and begins != MAGIC else ""


def _suggest(file: Path) -> str:
    """Return the GGUF that was probably meant: in the folder given, or next to the missing file."""
    folder = file if file.is_dir() else file.parent
    try:
        names = sorted(one.name for one in folder.iterdir() if one.suffix == ".gguf" and one != file)
    except OSError:
        return f", nor does the folder {folder}" if not folder.exists() else ""
    if not names:
        return f", and {folder} holds no .gguf file"
    return f"; did you mean {folder / (nearest(file.name, names) or names[0])}?"
