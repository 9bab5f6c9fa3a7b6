"""Which upstreams are watched (the set of all that are configured)?"""

import asyncio
from collections.abc import Callable, Iterable, Iterator

from relayd.remote.capacity import Remotes
from relayd.remote.source import UpstreamSource
from relayd.remote.upstream import FetchAnswer, UpstreamWatch


class Upstreams:
    """Watches every upstream that is configured.

    Args:
        remotes: Takes what they offer.
        fetch: Asks them.
        running: Returns how many requests relayd has at a replica.

    Attributes:
        fetch: Asks them, and whatever else is reached like them.
    """

    def __init__(
        self, remotes: Remotes, fetch: FetchAnswer, running: Callable[[str], int] = lambda _: 0
    ) -> None:
        self._remotes = remotes
        self.fetch = fetch
        self._running = running
        self._watched: dict[str, tuple[UpstreamWatch, asyncio.Task[None]]] = {}

    def __repr__(self) -> str:
        return f"<Upstreams: {', '.join(self._watched) or 'none'}>"

    def __iter__(self) -> Iterator[UpstreamWatch]:
        return (watch for watch, _ in tuple(self._watched.values()))

    def follow(self, sources: Iterable[UpstreamSource]) -> None:
        """Watch these from now on. What runs at one that is not among them goes on to its end."""
        wanted = {one.name: one for one in sources}
        for name, (watch, task) in tuple(self._watched.items()):
            if wanted.get(name) == watch.source:
                continue
            task.cancel()
            del self._watched[name]
            if name not in wanted:
                self._remotes.withdraw_all(name, "it is not configured any more")
        for name, source in wanted.items():
            if name not in self._watched:
                watch = UpstreamWatch(source, self._remotes, self.fetch, self._running)
                self._watched[name] = watch, asyncio.create_task(watch.run())

    async def settled(self, most_seconds: float) -> None:
        """Return once each has answered for the first time, or when time is up."""
        if looks := [asyncio.create_task(watch.looked.wait()) for watch in self]:
            _, late = await asyncio.wait(looks, timeout=most_seconds)
            for one in late:
                one.cancel()

    def close(self) -> None:
        """Watch none any more; what they have offered stays."""
        for _, task in self._watched.values():
            task.cancel()
        self._watched.clear()
