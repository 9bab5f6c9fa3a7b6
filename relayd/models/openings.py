"""What files in folders of models are, read from their beginnings, each once."""

from dataclasses import dataclass, field
from pathlib import Path

from relayd.errors import ModelFileError
from relayd.gguf.header import Opening, read_opening
from relayd.gguf.kinds import Kind, kind_of, refused
from relayd.gguf.pairing import Traits, traits_of
from relayd.gguf.reader import read_metadata


@dataclass(slots=True)
class Openings:
    """The beginnings of files that were looked at."""

    _read: dict[Path, Opening | ModelFileError] = field(default_factory=dict)
    _traits: dict[Path, Traits | None] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<Openings {len(self._read)} files>"

    def of(self, path: Path) -> Opening:
        """Return the beginning of a file.

        Raises:
            ModelFileError: It cannot be read, or is not a GGUF.
        """
        if path not in self._read:
            try:
                self._read[path] = read_opening(path)
            except ModelFileError as error:
                self._read[path] = error
        found = self._read[path]
        if isinstance(found, ModelFileError):
            raise found
        return found

    def traits(self, path: Path) -> Traits | None:
        """Return what decides with which files a file belongs together; None where it cannot be read."""
        if path not in self._traits:
            try:
                self._traits[path] = traits_of(path, self.of(path))
            except ModelFileError:
                self._traits[path] = None
        return self._traits[path]

    def kind(self, path: Path) -> Kind:
        """Return what a file is for.

        Raises:
            ModelFileError: It cannot be read, or is not a GGUF.
        """
        found = self.of(path)
        return kind_of(found.values, found.n_tensors)

    def demand_model(self, path: Path) -> None:
        """Make sure that a file is a model to serve.

        Raises:
            ModelFileError: It is none; the message states what it is.
        """
        opening = self.of(path)
        if error := refused(self.kind(path), path, opening.architecture):
            raise error
        if not opening.size(f"{opening.architecture}.block_count"):  # or its keys are in another order
            try:
                read_metadata(path).positive("block_count")
            except ModelFileError as error:
                named = error.message.startswith(str(path))
                raise error if named else ModelFileError(f"{path}: {error.message}") from error
