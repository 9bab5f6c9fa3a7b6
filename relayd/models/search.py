"""Finding models on the Hugging Face hub by words, with the file that would be downloaded."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from urllib.parse import urlencode

import msgspec

from relayd.errors import FetchError, RelaydError, UsageError
from relayd.fetch import fetch_json
from relayd.models.choice import choose
from relayd.models.hub import LISTING_BYTES, Hub
from relayd.models.source import safe_repo

AT_ONCE = 8
"""Repositories that are looked at at the same time."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A repository with GGUF files.

    Attributes:
        repo: `OWNER/NAME`.
        downloads: How often it was downloaded in the last 30 days, as the hub counts.
        likes: How many people like it.
        updated: The day of its last change, `2026-11-20`; "" where the hub has none.
        gated: Whether its licence has to be accepted first.
        quant: The quantization that `relayd pull REPO` takes; "" when that is not known.
        bytes: Its size; 0 when that is not known.
        problem: Why there is nothing to take, or "".
    """

    repo: str
    downloads: int
    likes: int
    updated: str
    gated: bool
    quant: str = ""
    bytes: int = 0
    problem: str = ""


class _HubEntry(msgspec.Struct, frozen=True):
    """A model of the hub's list; what else it has is not read."""

    id: str
    downloads: int = 0
    likes: int = 0
    lastModified: str = ""  # noqa: N815 - the hub's name
    gated: bool | str = False


def search(hub: Hub, words: str, limit: int, on_look: Callable[[str], None] = lambda _: None) -> list[Hit]:
    """Return the repositories with GGUF files that the hub finds for words, the most downloaded first.

    Args:
        hub: Where to look.
        words: Parts of a name, as on the hub's own page.
        limit: The most that are returned.
        on_look: Called with each repository whose files are looked at.

    Raises:
        FetchError: The hub cannot be asked, or answers in a way relayd does not know.
    """
    asked = {"search": words, "filter": "gguf", "sort": "downloads", "direction": -1, "limit": limit}
    url = f"{hub.endpoint}/api/models?{urlencode(asked)}"
    document = fetch_json(url, LISTING_BYTES, headers=hub.headers, timeout_seconds=hub.timeout_seconds)
    try:
        listed = msgspec.convert(document, list[_HubEntry])
    except msgspec.ValidationError as error:
        raise FetchError(f"{hub.host} lists models in a way relayd does not know: {error}") from error
    named = [one for one in listed[:limit] if _is_repo(one.id)]

    def look(one: _HubEntry) -> Hit:
        on_look(one.id)
        return _looked_at(hub, one)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(look, named))


def _is_repo(name: str) -> bool:
    try:
        return bool(safe_repo(name))
    except UsageError:
        return False


def _looked_at(hub: Hub, one: _HubEntry) -> Hit:
    """Return a repository with the file that would be taken; one that cannot be looked at has the reason."""
    found = Hit(one.id, max(0, one.downloads), max(0, one.likes), one.lastModified[:10], bool(one.gated))
    try:
        repository = hub.look(one.id)
        sizes = {path: file.bytes for path, file in repository.files.items()} | dict(repository.unchecked)
        choice = choose(sizes)
    except RelaydError as error:
        return replace(found, problem=error.message)
    return replace(found, quant=choice.quant, bytes=sum(sizes.get(path, 0) for path in choice.parts))
