"""What the name of a model means: one on this disk, of the catalogue, of a repository, or at an address."""

from collections.abc import Sequence
from dataclasses import dataclass

from relayd.catalog.entry import CatalogEntry, ModelFile
from relayd.catalog.match import Match, find_entries
from relayd.catalog.spelling import Spelling, spelling_of
from relayd.errors import UsageError
from relayd.models.choice import preferred_file, same_quant
from relayd.models.ondisk import STORES, Found
from relayd.models.source import AtUrl, InRepo, Named, parse_source
from relayd.units import show_bytes

Meant = Found | Match | InRepo | AtUrl

EASILY = 0.5
"""Share of the room up to which a file leaves place for long contexts and for other programs."""

MOST = 0.85
"""Share of the room that a file may take: its cache and buffers need the rest."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One of several models that a name may mean.

    Attributes:
        name: What to type for it, its quantization included.
        bytes: What would be fetched; 0 where it is on this disk, or not known.
        why: Why it is among the best, or what is against it.
    """

    name: str
    bytes: int
    why: str

    def __str__(self) -> str:
        """Return it as one line for people."""
        size = f"{show_bytes(self.bytes)}, " if self.bytes else ""
        return f"{self.name}  {size}{self.why}"


def meanings(
    text: str, found: Sequence[Found], entries: Sequence[CatalogEntry], hub_host: str = ""
) -> tuple[Meant, ...]:
    """Return what a name may mean, at least one: on this disk rather than elsewhere.

    Args:
        text: As it was typed; no file on this disk.
        found: The models on this disk.
        entries: The catalogue.
        hub_host: Host of the hub, beside Hugging Face's own.

    Raises:
        UsageError: It means nothing, or a quantization that does not exist; with names like it.
    """
    text = text.strip()
    if here := _called(text, found):
        return _each_once(here)
    if "/" in text:
        source = parse_source(text, hub_host)
        if not isinstance(source, Named):
            return _each_once(_of_repository(source, found)) or (source,)
    try:
        listed = find_entries(entries, text)
    except UsageError as error:
        if here := _like(spelling_of(text), found):
            return _each_once(here)
        raise _with_names_on_disk(error, text, found) from error
    return _each_once(_of_catalogue(listed, found)) or listed


def best_two(meant: Sequence[Meant], room_bytes: int) -> tuple[Suggestion, ...]:
    """Return the two models to choose from: the largest that fits easily, then the largest that runs well.

    Args:
        meant: What a name may mean.
        room_bytes: Memory in which models run well: `room_of`.
    """
    sized = sorted(((_bytes(one), one) for one in meant), key=lambda pair: -pair[0])
    easy = [pair for pair in sized if 0 < pair[0] <= EASILY * room_bytes]
    fitting = [pair for pair in sized if 0 < pair[0] <= MOST * room_bytes]
    best = [*easy[:1], *fitting[:1], *easy[1:2], *fitting[1:2]] or sized[-2:]
    chosen = {name_of(one): (size, one) for size, one in best}
    return tuple(
        Suggestion(name, 0 if isinstance(one, Found) else size, _why(one, size, room_bytes))
        for name, (size, one) in [*chosen.items()][:2]
    )


def room_of(ram_bytes: int, device_bytes: int) -> int:
    """Return the memory in which models run well: that of devices, or half of the RAM where there is none.

    A model that fills the RAM writes a word or two a second: every word reads all of it.
    """
    return device_bytes or ram_bytes // 2


def ambiguous(text: str, meant: Sequence[Meant], room_bytes: int, command: str) -> UsageError:
    """Return the error for a name that means several models: the best two, and why.

    Args:
        text: As it was typed.
        meant: What it may mean.
        room_bytes: Memory in which models run well: `room_of`.
        command: What stands before a name, as `relayd pull`.
    """
    lines = [f"{command} {choice}" for choice in best_two(meant, room_bytes)]
    others = [name_of(one) for one in meant]
    every = f"All of them: {', '.join(others)}." if len(others) > len(lines) else ""
    return UsageError(
        f"{text!r} could be {len(meant)} models", remedy="\n".join(filter(None, [*lines, every]))
    )


def name_of(meant: Meant) -> str:
    """Return what to type for exactly this one."""
    match meant:
        case Found():
            return meant.name
        case Match(entry):
            file = file_of(meant)
            return f"{entry.name}:{file.quant}" if file else entry.name
        case InRepo(repo, path, quant):
            return f"{repo}{f'/{path}' if path else ''}{f':{quant}' if quant else ''}"
        case AtUrl(url):
            return url


def file_of(match: Match) -> ModelFile | None:
    """Return the file of the catalogue that would be fetched; None where none is known."""
    return match.file if match.quant else preferred_file(match.entry)


def _bytes(meant: Meant) -> int:
    """Return the size of a model; 0 where it is not known."""
    if isinstance(meant, Found):
        return meant.bytes
    file = file_of(meant) if isinstance(meant, Match) else None
    return file.bytes if file else 0


def _why(meant: Meant, size: int, room_bytes: int) -> str:
    here = "on this disk, " if isinstance(meant, Found) else ""
    if size > MOST * room_bytes:
        return f"{here}too large to run well here"
    return f"{here}{'fits easily' if size <= EASILY * room_bytes else 'the largest that runs well here'}"


def _called(text: str, found: Sequence[Found]) -> list[Found]:
    """Return the models on disk with exactly this name, else with this alias."""
    wanted = text.casefold()
    named = [one for one in found if wanted == one.name.casefold()]
    return named or [one for one in found if wanted in map(str.casefold, one.aliases)]


def _of_catalogue(listed: Sequence[Match], found: Sequence[Found]) -> list[Found]:
    """Return the models on disk that are one of these."""
    wanted = {match.entry.name: match.quant for match in listed}
    return [
        one
        for one in found
        if one.model in wanted and (not (quant := wanted[one.model]) or same_quant(quant, one.quant))
    ]


def _of_repository(source: InRepo | AtUrl, found: Sequence[Found]) -> list[Found]:
    """Return the models on disk that came from there."""
    if isinstance(source, AtUrl):
        return [one for one in found if one.source == source.url]
    return [
        one
        for one in found
        if one.repo.casefold() == source.repo.casefold()
        and (not source.file or any(str(path).endswith(f"/{source.file}") for path in one.files))
        and (not source.quant or same_quant(source.quant, one.quant))
    ]


def _like(typed: Spelling, found: Sequence[Found]) -> list[Found]:
    """Return the models on disk, not of the catalogue, whose names begin with the same words."""
    count = len(typed.words)
    return [
        one
        for one in found
        if count
        and any(spelling_of(name).words[:count] == typed.words for name in one.names)
        and (not typed.quant or same_quant(typed.quant, one.quant))
    ]


def _each_once(found: Sequence[Found]) -> tuple[Found, ...]:
    """Return models, of copies in several stores the first by the order of the stores."""
    order = list(STORES)
    kept = dict[tuple[str, int], Found]()
    for one in sorted(found, key=lambda one: order.index(one.store)):
        kept.setdefault((one.name.casefold(), one.bytes), one)
    return tuple(kept.values())


def _with_names_on_disk(error: UsageError, text: str, found: Sequence[Found]) -> UsageError:
    wanted = text.casefold()
    alike = [one.name for one in found if wanted and any(wanted in name.casefold() for name in one.names)]
    here = [f"On this disk: {', '.join(dict.fromkeys(alike))}."] if alike else []
    return UsageError(error.message, remedy="\n".join([*here, error.remedy]))
