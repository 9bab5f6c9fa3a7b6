"""The order of a pull: what to fetch for a name, and where each file goes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from relayd.catalog.entry import CatalogEntry, ModelFile
from relayd.catalog.match import find_entry
from relayd.errors import FetchError, UsageError
from relayd.fetch import fetch_size
from relayd.gguf.companions import PART, part_names
from relayd.models.choice import base_name, choose, preferred_file, quant_of
from relayd.models.embedded import SUFFIXES
from relayd.models.hub import Hub, HubFile, Repository
from relayd.models.shelf import INCOMING, ModelRecord, ModelShelf, StoredFile
from relayd.models.source import AtUrl, InRepo, Named, parse_source, safe_file_name, safe_repo
from relayd.units import show_bytes

_SIZE_IS_NOT_TOLD = frozenset({405, 416, 501})
"""Statuses of hosts that give a file, but no part of it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One file to have.

    Attributes:
        url: Where it is.
        repo: The repository it is in; "" when it is in none.
        kept: What it will be.
        bytes: How much arrives; 0 while unknown.
        sha256: What that must hash to; "" when unknown.
        lock: Held while it is fetched.
    """

    url: str
    repo: str
    kept: StoredFile
    bytes: int
    sha256: str
    lock: Path

    @property
    def is_here(self) -> bool:
        """Whether nothing of it has to come."""
        return self.kept.arrival.exists() or Path(self.kept.data).exists()

    @property
    def missing_bytes(self) -> int:
        """What still has to come; 0 while unknown."""
        return 0 if self.is_here else max(0, self.bytes - self.kept.here_bytes)


@dataclass(frozen=True, slots=True)
class Order:
    """Everything a pull will do.

    Attributes:
        record: What will be kept, as far as it is known before.
        pieces: Every file, those of the model first.
        published: Files of the hub's cache that get their names in the end, by repository.
    """

    record: ModelRecord
    pieces: tuple[Piece, ...]
    published: tuple[tuple[Repository, tuple[str, ...]], ...] = ()

    @property
    def bytes(self) -> int:
        """Of all files, as far as their sizes are known."""
        return sum(piece.bytes for piece in self.pieces)

    @property
    def missing_bytes(self) -> int:
        """What still has to come."""
        return sum(piece.missing_bytes for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class ModelSources:
    """Where models come from; asks the hub, writes nothing.

    Attributes:
        hub: Where repositories are, and their cache.
        shelf: Where other files go.
        entries: The catalogue.
        say: Called with what a person should know.
        projectors: Whether projectors are wanted.
        drafts: Whether draft models are.
        verify: Whether files without a digest are refused.
    """

    hub: Hub
    shelf: ModelShelf
    entries: Sequence[CatalogEntry]
    say: Callable[[str], None]
    projectors: bool = True
    drafts: bool = False
    verify: bool = True

    def order(self, text: str) -> Order:
        """Return what has to be fetched for `NAME[:QUANT]`, `hf:REPO[/FILE][:QUANT]` or an address.

        Raises:
            UsageError: It is not clear what is meant, or there is no such thing.
            FetchError: The hub cannot be asked.
        """
        match parse_source(text, self.hub.host):
            case Named(name):
                return self._of_catalogue(name)
            case InRepo(repo, file, quant, revision):
                return self._of_repository(self.hub.look(repo, revision), file, quant)
            case AtUrl() as place:
                return self._of_address(place)

    def _of_catalogue(self, name: str) -> Order:
        match = find_entry(self.entries, name)
        file = match.file or (None if match.quant else preferred_file(match.entry))
        quant = match.quant or (file.quant if file else "")
        if file and file.url:
            order = self._of_address(AtUrl(file.url, safe_file_name(file.file or Path(file.url).name)))
        elif file and file.repo and file.file:
            order = self._of_repository(self.hub.look(safe_repo(file.repo)), file.file, "", file.mmproj)
            self._compare(file, order)
        else:
            order = self._searched(match.entry, quant)
        name = f"{match.entry.name}:{quant}" if quant else match.entry.name
        record = msgspec.structs.replace(order.record, name=name, model=match.entry.name, quant=quant)
        return replace(order, record=record)

    def _compare(self, file: ModelFile, order: Order) -> None:
        size = sum(kept.bytes for kept in order.record.parts)
        if file.exact and size not in {0, file.bytes}:
            self.say(f"{file.file} had {show_bytes(file.bytes)} for the catalogue, now {show_bytes(size)}.")

    def _searched(self, entry: CatalogEntry, quant: str) -> Order:
        """Return the order for the first repository of an entry that has a quantization."""
        problems = []
        for repo in entry.repos:
            try:
                return self._of_repository(self.hub.look(safe_repo(repo)), "", quant)
            except UsageError as error:
                problems.append(error.message)
        looked = "; ".join(problems) or "the catalogue knows no repository of it"
        unchecked = " or ".join(f"`relayd pull hf:{repo}`" for repo in entry.unchecked_repos)
        raise UsageError(
            f"{entry.name}:{quant} was not found: {looked}",
            remedy=f"Unchecked, but possible: {unchecked}."
            if unchecked
            else "Try `relayd pull hf:OWNER/NAME`.",
        )

    def _of_repository(self, repository: Repository, file: str, quant: str, mmproj: str = "") -> Order:
        """Return the order for a model of a repository.

        Args:
            repository: Its files.
            file: The one that is meant, or "".
            quant: The quantization that is meant, or "".
            mmproj: `OWNER/NAME/PATH` of the projector, where the catalogue knows it.
        """
        try:
            choice = choose({*repository.files, *repository.unchecked}, file=file, quant=quant)
        except UsageError as error:
            raise UsageError(f"{repository.name}: {error.message}", remedy=error.remedy) from error
        first = choice.parts[0]
        if missing := [path for path in choice.parts if path not in repository.files]:
            return self._unchecked(repository, choice.parts, missing[0])
        if first.endswith(SUFFIXES):
            return self._of_llamafile(repository, first)
        wanted = [(repository, path) for path in choice.parts]
        if self.projectors:
            wanted += self._projector(repository, choice.projector, mmproj)
        if self.drafts and choice.draft:
            wanted.append((repository, choice.draft))
        pieces = tuple(self._hub_piece(one, path) for one, path in wanted)
        count = len(choice.parts)
        record = ModelRecord(
            name=base_name(Path(first).name),
            source=f"hf:{repository.name}/{first}",
            kind="pulled",
            parts=tuple(piece.kept for piece in pieces[:count]),
            companions=tuple(piece.kept for piece in pieces[count:]),
            quant=choice.quant,
        )
        return Order(record, pieces, tuple((one, (path,)) for one, path in wanted))

    def _unchecked(self, repository: Repository, paths: Sequence[str], missing: str) -> Order:
        """Return the order for a model of a repository that lists no digest of it.

        The hub's cache names files by their digests, so it goes into our own folder, without a projector.
        """
        source = f"hf:{repository.name}/{paths[0]}"
        if self.verify:
            raise UsageError(
                f"{self.hub.host} lists no SHA-256 of {missing} in {repository.name}, so that what arrives "
                "cannot be checked",
                remedy=f"Use another mirror, or fetch it unchecked: `relayd pull --no-verify {source}`.",
            )
        self.say(f"{paths[0]} is not checked: {self.hub.host} lists no SHA-256 of it.")
        pieces = []
        for path in paths:
            file = repository.files.get(path) or HubFile(path, repository.unchecked[path], "")
            name = safe_file_name(Path(path).name)
            pieces.append(self._own_piece(self.hub.url(repository, path), name, repository.name, file))
        return self._into_our_folder(source, Path(paths[0]).name, tuple(pieces))

    def _projector(self, repository: Repository, path: str, mmproj: str) -> list[tuple[Repository, str]]:
        """Return the projector that the catalogue names, else the one found beside the model."""
        owner, _, rest = mmproj.partition("/")
        name, _, file = rest.partition("/")
        if file and f"{owner}/{name}" != repository.name and not path:
            other = self.hub.look(safe_repo(f"{owner}/{name}"))
            return [(other, file)] if file in other.files else []
        named = file if file in repository.files else path
        return [(repository, named)] if named else []

    def _hub_piece(self, repository: Repository, path: str) -> Piece:
        file = repository.files[path]
        blob, link = str(self.hub.blob(repository.name, file)), str(self.hub.link(repository, path))
        kept = StoredFile(
            path=link, data=blob, bytes=file.bytes, sha256=file.sha256, ours=self._is_ours(blob)
        )
        url, lock = self.hub.url(repository, path), self.hub.lock(repository.name, file)
        return Piece(url, repository.name, kept, file.bytes, file.sha256, lock)

    def _is_ours(self, blob: str) -> bool:
        """Return whether a file of the cache is relayd's: not there yet, or a record names it."""
        named = [kept for record in self.shelf.records() for kept in record.files if kept.data == blob]
        return any(kept.ours for kept in named) or not Path(blob).exists()

    def _of_address(self, place: AtUrl) -> Order:
        """Return the order for files at an address, which go into our own folder."""
        part = PART.fullmatch(place.name)
        if part and int(part["number"]) != 1:
            raise UsageError(f"{place.name} is not the first part of its model", remedy="Give the first one.")
        names = part_names(place.name, int(part["count"])) if part else (place.name,)
        pieces = tuple(_sized(self._own_piece(url, name)) for url, name in _part_urls(place.url, names))
        return self._into_our_folder(place.url, place.name, pieces)

    def _of_llamafile(self, repository: Repository, path: str) -> Order:
        """Return the order for a llamafile of a repository: only its model is kept, so it is not cached."""
        url, file = self.hub.url(repository, path), repository.files[path]
        name = safe_file_name(Path(path).name)
        piece = self._own_piece(url, name, repository.name, file)
        return self._into_our_folder(f"hf:{repository.name}/{path}", name, (piece,))

    def _into_our_folder(self, source: str, name: str, pieces: tuple[Piece, ...]) -> Order:
        self._check_names(source, pieces)
        record = ModelRecord(
            name=base_name(name),
            source=source,
            kind="extracted" if name.endswith(SUFFIXES) else "pulled",
            parts=tuple(piece.kept for piece in pieces),
            quant=quant_of(name),
        )
        return Order(record, pieces)

    def _check_names(self, source: str, pieces: Iterable[Piece]) -> None:
        """Refuse to overwrite what is from elsewhere."""
        paths = {piece.kept.path for piece in pieces}
        records = self.shelf.records()
        ours = {kept.path for one in records if one.source == source for kept in one.files}
        for path in sorted(paths - ours):
            if Path(path).exists():
                owner = next((one for one in records if path in {kept.path for kept in one.files}), None)
                remedy = (
                    f"Remove it first with `relayd models rm {owner.name}`."
                    if owner
                    else "Move it away first."
                )
                raise UsageError(f"{path} already exists and is from another source", remedy=remedy)

    def _own_piece(self, url: str, name: str, repo: str = "", file: HubFile | None = None) -> Piece:
        path = str(self.shelf.root / _kept_name(name))
        incoming = self.shelf.root / INCOMING
        kept = StoredFile(path=path, data=path, arrives=str(incoming / name))
        size, digest = (file.bytes, file.sha256) if file else (0, "")
        return Piece(url, repo, kept, size, digest, incoming / f".{name}.lock")


def _sized(piece: Piece) -> Piece:
    """Return a piece with the size that its host reports.

    Raises:
        FetchError: The host cannot be reached, or has no such file.
    """
    if piece.is_here:
        return piece
    try:
        return replace(piece, bytes=fetch_size(piece.url) or 0)
    except FetchError as error:
        if getattr(error, "status", 0) in _SIZE_IS_NOT_TOLD:
            return piece
        raise


def _part_urls(url: str, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Return where each part of a model is, given the address of the first."""
    head, mark, tail = url.rpartition("-00001-of-")
    for number, name in enumerate(names, start=1):
        yield (f"{head}-{number:05d}-of-{tail}" if mark else url), name


def _kept_name(name: str) -> str:
    """Return what a file is called in our folder: a llamafile leaves its model."""
    return f"{base_name(name.removesuffix('.exe'))}.gguf" if name.endswith(SUFFIXES) else name
