"""What a pull needs, in one folder: a hub, its cache, a folder of models."""

from pathlib import Path

from relayd.catalog.entry import CatalogEntry
from relayd.models.hub import Hub
from relayd.models.order import ModelSources, Order
from relayd.models.pull import Puller
from relayd.models.shelf import ModelRecord, ModelShelf
from relayd.models.stores import StoreFolders, scan
from relayd.secret import Secret
from tests.fakes.hub import FakeHub
from tests.fuzz.headers import UINT32, TensorLine, header

REPO = "maker/tiny-GGUF"


def model_file() -> bytes:
    """Return the bytes of a file that begins like a model."""
    return bytes(header([("llama.block_count", UINT32, 1)], [TensorLine()]).data) + bytes(64)


def split_part(number: int, count: int = 3) -> bytes:
    """Return the bytes of part `number` of a model, with a tensor of its own."""
    values = [
        ("split.no", UINT32, number - 1),
        ("split.count", UINT32, count),
        ("llama.block_count", UINT32, 1),
    ]
    return bytes(header(values, [TensorLine(f"t{number}")]).data) + bytes(64)


BLOB = model_file() + bytes(range(256)) * 40


class Fixed:
    """A clock that stands still."""

    def monotonic(self) -> float:
        return 0.0

    def wall(self) -> float:
        return 1000.0


class Silent:
    """A progress that remembers what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.last: dict[str, tuple[int, int | None]] = {}

    def say(self, text: str) -> None:
        self.said.append(text)

    def at(self, name: str, done: int, total: int | None) -> None:
        self.last[name] = (done, total)


class Desk:
    """Everything a pull needs, in one folder."""

    def __init__(self, fake: FakeHub, root: Path, entries: tuple[CatalogEntry, ...] = ()) -> None:
        self.fake, self.root = fake, root
        self.progress = Silent()
        self.shelf = ModelShelf(root / "models")
        self.cache = root / "hub"
        self.entries = entries
        self.token = Secret("")
        self.limit = 1 << 40

    @property
    def hub(self) -> Hub:
        return Hub(self.cache, self.fake.endpoint, self.token)

    def pull(
        self, text: str, *, force: bool = False, drafts: bool = False, verify: bool = True
    ) -> ModelRecord:
        return self.puller().pull(self.order(text, drafts=drafts, verify=verify), force=force)

    def order(self, text: str, *, drafts: bool = False, verify: bool = True) -> Order:
        sources = ModelSources(
            self.hub, self.shelf, self.entries, self.progress.say, drafts=drafts, verify=verify
        )
        return sources.order(text)

    def puller(self) -> Puller:
        return Puller(self.hub, self.shelf, Fixed(), self.progress, self.too_large, silence_seconds=5)

    def too_large(self, size: int) -> str:
        return f"{size} bytes are too many" if size > self.limit else ""

    def listed(self) -> list[str]:
        return [found.name for found in scan(StoreFolders(own=self.shelf.root, hubs=(self.cache,)))]

    def files(self) -> set[str]:
        return {path.name for path in self.root.rglob("*") if path.is_file() and ".lock" not in path.name}
