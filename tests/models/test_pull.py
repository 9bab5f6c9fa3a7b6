import contextlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from relayd.errors import (
    FetchError,
    HashMismatchError,
    NoSpaceError,
    RelaydError,
    UsageError,
)
from relayd.secret import Secret
from tests.fakes.hub import COMMIT, FakeHub, Fault, running_hub, sha256
from tests.models.desk import BLOB, REPO, Desk

pytestmark = pytest.mark.fake


@pytest.fixture
def fake() -> Iterator[FakeHub]:
    with running_hub() as fake:
        yield fake


@pytest.fixture
def desk(fake: FakeHub, tmp_path: Path) -> Desk:
    return Desk(fake, tmp_path)


def test_a_repository_is_pulled_into_the_cache_that_llama_cpp_shares(fake: FakeHub, desk: Desk) -> None:
    fake.add(REPO, **{"tiny-Q4_K_M": BLOB, "tiny-Q8_0": BLOB * 2})
    record = desk.pull(f"hf:{REPO}:Q8_0")
    path = desk.cache / "models--maker--tiny-GGUF" / "snapshots" / COMMIT / "tiny-Q8_0.gguf"
    assert str(path) == record.parts[0].path
    assert BLOB * 2 == path.read_bytes()
    assert ["tiny-Q8_0"] == desk.listed()
    assert ("tiny-Q8_0", "Q8_0", True, 1000.0) == (record.name, record.quant, record.finished, record.at)


def test_what_is_here_is_not_fetched_again(fake: FakeHub, desk: Desk) -> None:
    fake.add(REPO, **{"tiny-Q4_K_M": BLOB})
    first = desk.pull(f"hf:{REPO}")
    assert first == desk.pull(f"hf:{REPO}")
    assert 1 == len(fake.downloads())


def test_the_progress_of_a_file_ends_with_all_its_bytes(fake: FakeHub, desk: Desk) -> None:
    fake.add(REPO, **{"tiny-Q4_K_M": BLOB})
    desk.pull(f"hf:{REPO}")
    assert {"tiny-Q4_K_M.gguf": (len(BLOB), len(BLOB))} == desk.progress.last


@pytest.mark.parametrize("seed", range(8))
def test_a_connection_cut_at_random_points_brings_every_byte_once(
    fake: FakeHub, desk: Desk, seed: int
) -> None:
    chance = random.Random(seed)
    fake.add(REPO, **{"tiny-Q4_K_M": BLOB})
    fake.faults.extend(Fault(chance.randrange(1, len(BLOB) // 6)) for _ in range(20))

    record = desk.pull(f"hf:{REPO}")

    assert BLOB == Path(record.parts[0].path).read_bytes()
    assert len(fake.downloads()) > 4
    starts = [
        int(one.range.removeprefix("bytes=").removesuffix("-")) for one in fake.downloads() if one.range
    ]
    assert starts == sorted(set(starts))


def test_a_host_that_gives_no_further_byte_is_given_up(fake: FakeHub, desk: Desk) -> None:
    fake.add(REPO, **{"tiny-Q4_K_M": BLOB})
    fake.faults.extend([Fault(4000), *[Fault(0)] * 20])
    with pytest.raises(FetchError, match="was cut"):
        desk.pull(f"hf:{REPO}")
    assert [] == desk.listed()
    assert 4000 == desk.shelf.records()[0].parts[0].here_bytes

    fake.faults.clear()
    fake.asked.clear()
    desk.pull(f"hf:{REPO}")
    assert ["bytes=4000-"] == [one.range for one in fake.downloads()]


def test_wrong_bytes_are_never_listed_and_removed(fake: FakeHub, desk: Desk) -> None:
    fake.add(REPO, **{"tiny-Q4_K_M": BLOB})
    fake.altered.add(sha256(BLOB))
    with pytest.raises(HashMismatchError):
        desk.pull(f"hf:{REPO}")
    assert ([], [], set()) == (desk.listed(), desk.shelf.records(), desk.files())


def test_a_token_is_shown_to_the_hub_and_not_to_where_it_redirects(fake: FakeHub, desk: Desk) -> None:
    fake.add(REPO, **{"tiny-Q4_K_M": BLOB})
    fake.closed.add(REPO)
    desk.token = Secret(fake.token)
    desk.pull(f"hf:{REPO}")
    assert {"hub": {"Bearer hf_right"}, "cdn": {None}} == {
        host: {one.authorization for one in fake.asked if one.host == host} for host in ("hub", "cdn")
    }


def test_a_closed_repository_says_how_to_open_it(fake: FakeHub, desk: Desk) -> None:
    fake.add(REPO, **{"tiny-Q4_K_M": BLOB})
    fake.closed.add(REPO)
    with pytest.raises(UsageError, match="401, and no token") as caught:
        desk.pull(f"hf:{REPO}")
    assert f"{fake.endpoint}/{REPO}" in caught.value.remedy
    desk.token = Secret("hf_wrong")
    with pytest.raises(UsageError, match="403, and the token was refused"):
        desk.pull(f"hf:{REPO}")


def test_a_split_model_is_listed_with_its_last_part(fake: FakeHub, desk: Desk) -> None:
    parts = {f"Q8_0__tiny-Q8_0-0000{number}-of-00003": BLOB * number for number in (1, 2, 3)}
    fake.add(REPO, **parts)
    fake.faults.extend([Fault(len(BLOB)), Fault(2 * len(BLOB)), Fault(100), *[Fault(0)] * 20])
    with pytest.raises(FetchError):
        desk.pull(f"hf:{REPO}")
    assert [] == desk.listed()
    fake.faults.clear()
    fake.asked.clear()

    record = desk.pull(f"hf:{REPO}")

    assert 1 == len(fake.downloads())
    assert ["tiny-Q8_0"] == desk.listed()
    assert [len(BLOB) * number for number in (1, 2, 3)] == [kept.bytes for kept in record.parts]


def test_a_model_larger_than_all_memory_needs_force(fake: FakeHub, desk: Desk) -> None:
    fake.add(REPO, **{"tiny-Q4_K_M": BLOB})
    desk.limit = 100
    with pytest.raises(UsageError, match=f"{len(BLOB)} bytes are too many") as caught:
        desk.pull(f"hf:{REPO}")
    assert "--force" in caught.value.remedy
    assert ([], set()) == (fake.downloads(), desk.files())
    desk.pull(f"hf:{REPO}", force=True)
    assert ["tiny-Q4_K_M"] == desk.listed()


def test_a_model_larger_than_memory_is_refused_when_an_address_tells_its_size(
    fake: FakeHub, desk: Desk, tiny_model: Path
) -> None:
    fake.files["/tiny.gguf"] = tiny_model.read_bytes()
    desk.limit = 100
    with pytest.raises(UsageError, match="too many"):
        desk.pull(f"{fake.cdn}/tiny.gguf")
    assert ([], set()) == (desk.shelf.records(), desk.files())


def test_a_host_without_ranges_is_refused_as_soon_as_its_answer_has_a_size(
    fake: FakeHub, desk: Desk, tiny_model: Path
) -> None:
    fake.files["/tiny.gguf"] = tiny_model.read_bytes()
    fake.without_ranges = True
    desk.limit = 100
    with pytest.raises(UsageError, match="too many"):
        desk.pull(f"{fake.cdn}/tiny.gguf")
    assert ([], set()) == (desk.shelf.records(), desk.files())


@pytest.mark.parametrize(
    "address", ["{hub.cdn}/nothing.gguf", "{hub.endpoint}/nobody/nothing/resolve/x/y.gguf"]
)
def test_an_address_without_a_file_leaves_nothing(fake: FakeHub, desk: Desk, address: str) -> None:
    with pytest.raises((FetchError, UsageError)):
        desk.pull(address.format(hub=fake))
    assert ([], set()) == (desk.shelf.records(), desk.files())


def test_a_file_that_goes_between_its_size_and_its_bytes_leaves_nothing(fake: FakeHub, desk: Desk) -> None:
    fake.files["/tiny.gguf"] = BLOB
    order = desk.order(f"{fake.cdn}/tiny.gguf")
    fake.files.clear()
    with pytest.raises(FetchError, match="404"):
        desk.puller().pull(order)
    assert ([], set()) == (desk.shelf.records(), desk.files())
    assert [] == list(desk.shelf.incoming.iterdir())


def test_the_size_of_an_address_is_known_before_it_is_fetched(fake: FakeHub, desk: Desk) -> None:
    fake.files["/tiny.gguf"] = BLOB
    assert len(BLOB) == desk.order(f"{fake.cdn}/tiny.gguf").bytes
    assert [] == fake.downloads()


def test_a_model_larger_than_the_disk_is_refused_before_the_first_byte(fake: FakeHub, desk: Desk) -> None:
    class Boast(bytes):
        def __len__(self) -> int:
            return 1 << 50

    fake.add(REPO, **{"tiny-Q4_K_M": Boast(b"GGUF")})
    desk.limit = 1 << 60
    with pytest.raises(NoSpaceError, match=r"tiny-Q4_K_M needs .* more, the disk of .* has .* free"):
        desk.pull(f"hf:{REPO}")
    assert ([], set()) == (fake.downloads(), desk.files())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk, and not in every container")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_up_on_the_way_keeps_what_arrived(
    fake: FakeHub, desk: Desk, small_disk: Path
) -> None:
    desk.cache = small_disk / "hub"
    fake.add(REPO, **{"tiny-Q4_K_M": BLOB + bytes(600_000)})
    filler = small_disk / "filler"

    def fill(*_: object) -> None:
        if not filler.exists():
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))

    desk.progress.at = fill  # type: ignore[method-assign,assignment]  # another program writes meanwhile
    with pytest.raises(NoSpaceError, match="is full"):
        desk.pull(f"hf:{REPO}")
    assert [] == desk.listed()

    filler.write_bytes(b"")
    desk.pull(f"hf:{REPO}")
    assert ["tiny-Q4_K_M"] == desk.listed()


PROGRAM = """
import sys
from pathlib import Path
from tests.models.desk import Desk
class Far:
    endpoint = sys.argv[1]

Desk(Far(), Path(sys.argv[2])).pull(sys.argv[3])
"""


def test_a_pull_that_was_killed_goes_on_where_it_stopped(
    fake: FakeHub, desk: Desk, pytestconfig: pytest.Config
) -> None:
    data = BLOB + random.Random(0).randbytes(3_000_000)
    fake.add(REPO, **{"tiny-Q4_K_M": data})
    fake.faults.append(Fault(2_000_000, "hold"))
    command = [sys.executable, "-c", PROGRAM, fake.endpoint, str(desk.root), f"hf:{REPO}"]
    with subprocess.Popen(command, cwd=pytestconfig.rootpath) as pulling:
        assert fake.held.wait(30)
        part = next(iter(desk.cache.rglob("*.part")), None)
        while part is None or part.stat().st_size < 1_000_000:
            part = next(iter(desk.cache.rglob("*.part")), None)
        pulling.send_signal(signal.SIGKILL)
    arrived = part.stat().st_size
    assert [] == desk.listed()
    fake.asked.clear()

    record = desk.pull(f"hf:{REPO}")

    assert [f"bytes={arrived}-"] == [one.range for one in fake.downloads()]
    assert data == Path(record.parts[0].path).read_bytes()
    assert ["tiny-Q4_K_M"] == desk.listed()


def test_two_pulls_of_one_file_do_not_mix(fake: FakeHub, desk: Desk) -> None:
    fake.add(REPO, **{"tiny-Q4_K_M": BLOB})
    repository = desk.hub.look(REPO)
    lock = desk.hub.lock(REPO, repository.files["tiny-Q4_K_M.gguf"])
    with desk.shelf.locked(lock), pytest.raises(FetchError, match="another process"):
        desk.pull(f"hf:{REPO}")


def test_an_unfinished_pull_can_be_removed(fake: FakeHub, desk: Desk) -> None:
    fake.add(REPO, **{"tiny-Q4_K_M": BLOB})
    fake.files["/tiny.gguf"] = BLOB
    fake.faults.extend([Fault(4000), *[Fault(0)] * 7, Fault(4000), *[Fault(0)] * 7])
    sources: list[Callable[[], object]] = [
        lambda: desk.pull(f"hf:{REPO}"),
        lambda: desk.pull(f"{fake.cdn}/tiny.gguf"),
    ]
    for pull in sources:
        with pytest.raises(RelaydError):
            pull()
    assert [4000, 4000] == [record.parts[0].here_bytes for record in desk.shelf.records()]
    for record in desk.shelf.records():
        desk.shelf.remove(record)
    assert set() == desk.files()
