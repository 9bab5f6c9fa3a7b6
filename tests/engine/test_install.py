import hashlib
import io
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relayd.engine import EngineShelf, Host, Installer, ensure
from relayd.engine.host import Cuda
from relayd.errors import EngineBuildError, EngineMissing, FetchError, HashMismatchError

pytestmark = pytest.mark.fake


class Noon:
    """A clock that stands still."""

    def monotonic(self) -> float:
        return 0.0

    def wall(self) -> float:
        return 1_700_000_000.0


class Compiler:
    """Stands in for the build: remembers what it was to run, and fails."""

    def __init__(self) -> None:
        self.runs: list[tuple[Sequence[str], Mapping[str, str], Path]] = []

    @property
    def tries(self) -> int:
        return len(self.runs)

    def __call__(
        self, argv: Sequence[str], environ: Mapping[str, str], log: Path, on_line: Callable[[str], None]
    ) -> int:
        self.runs.append((argv, environ, log))
        on_line("no network here")
        return 1


def _archive(tag: str, files: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(f"llama-{tag}/{name}")
            info.size, info.mode = len(text.encode()), 0o755
            tar.addfile(info, io.BytesIO(text.encode()))
    return packed.getvalue()


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


@pytest.fixture
def compiler() -> Compiler:
    return Compiler()


@pytest.fixture
def installer(shelf: EngineShelf, host: Host, messages: Any, github: Any, compiler: Compiler) -> Installer:
    return Installer(
        shelf,
        lambda: host,
        {"PATH": "/nowhere"},
        messages,
        Noon(),
        api_url=github.url,
        timeout_seconds=5,
        runner=compiler,
        which=lambda name: f"/usr/bin/{name}",
    )


@pytest.fixture
def publish(github: Any, engine_text: str) -> Callable[..., bytes]:
    """Publish a build with one archive for this machine."""

    def publish(tag: str, *, digest: str = "", text: str = engine_text) -> bytes:
        content = _archive(tag, {"llama-server": text, "libggml.so": "library"})
        name = f"llama-{tag}-bin-ubuntu-x64.tar.gz"
        github.publish("latest", "v0.6.0", {"nightly-tag.txt": tag.encode()}, {})
        github.publish(f"tags/{tag}", tag, {name: content}, {name: digest or _digest(content)})
        return content

    return publish


def test_the_release_is_fetched_unpacked_and_current(
    installer: Installer, publish: Callable[..., bytes], messages: Any
) -> None:
    publish("b11429")

    engine = installer.install()

    assert engine == installer.shelf.current()
    assert ("b11429-cpu-0123abcd", "release", 11429, 1_700_000_000.0) == (
        engine.id,
        engine.source,
        engine.build,
        engine.installed_at,
    )
    assert (installer.shelf.binary(engine).parent / "libggml.so").is_file()
    assert ["Fetching llama.cpp b11429 (cpu) from its release"] == [
        text.partition(":")[0] for text in messages.said
    ]
    assert 1.0 == messages.steps[-1][1]


def test_a_second_installation_does_nothing(
    installer: Installer, publish: Callable[..., bytes], github: Any
) -> None:
    publish("b11429")
    first = installer.install()
    github.pages.clear()
    assert first == installer.install()


def test_an_engine_that_runs_no_more_is_installed_anew(
    installer: Installer, publish: Callable[..., bytes]
) -> None:
    publish("b11429")
    binary = installer.shelf.binary(installer.install())
    whole = binary.read_text()
    binary.write_text("#!/bin/sh\nexit 127\n")

    assert "b11429" == installer.install().version
    assert whole == binary.read_text()


def test_bytes_that_are_not_the_promised_ones_stop_the_installation(
    installer: Installer, publish: Callable[..., bytes], compiler: Compiler
) -> None:
    publish("b11429", digest="sha256:" + "0" * 64)
    with pytest.raises(HashMismatchError):
        installer.install()
    assert (0, (), None) == (compiler.tries, installer.shelf.engines(), installer.shelf.current())


def test_the_operators_digest_is_stronger_than_the_releases_own(
    installer: Installer, publish: Callable[..., bytes]
) -> None:
    content = publish("b11429", digest="sha256:" + "0" * 64)
    pinned = replace(installer, release_sha256=hashlib.sha256(content).hexdigest())
    assert "b11429" == pinned.install().version


def test_an_archive_without_a_digest_is_installed_only_where_that_is_asked_for(
    installer: Installer, publish: Callable[..., bytes], messages: Any
) -> None:
    publish("b11429", digest="none")

    with pytest.raises(EngineBuildError):
        installer.install()
    assert any("--no-verify" in text for text in messages.said)
    unchecked = replace(installer, verify=False).update()
    assert ("release", "b11429") == (unchecked.source, unchecked.version)


def test_bytes_the_operator_did_not_pin_stop_the_installation(
    installer: Installer, publish: Callable[..., bytes]
) -> None:
    publish("b11429")
    with pytest.raises(HashMismatchError):
        replace(installer, release_sha256="f" * 64).install()


@pytest.mark.parametrize("trouble", ["silent", "absent", "other systems only", "cannot run"])
def test_without_a_usable_archive_the_engine_is_compiled(
    installer: Installer,
    publish: Callable[..., bytes],
    github: Any,
    compiler: Compiler,
    messages: Any,
    host: Host,
    trouble: str,
) -> None:
    publish("b11429", text="#!/bin/sh\necho GLIBC_2.99 not found >&2; exit 1\n")
    if trouble == "silent":
        github.silent.set()
        installer = replace(installer, timeout_seconds=0.1)
    if trouble == "absent":
        github.pages.clear()
    if trouble == "other systems only":
        installer = replace(installer, probe=lambda: replace(host, machine="riscv64"))

    with pytest.raises(EngineBuildError, match="no network here"):
        installer.install()

    reason = {
        "silent": "127.0.0.1 did not answer within 0.1 s.",
        "absent": "/releases/latest answered 404 Not Found.",
        "other systems only": "b11429 has none for linux on riscv64.",
        "cannot run": "--version failed: GLIBC_2.99 not found.",
    }[trouble]
    because, announced = messages.said[-2:]
    assert because.startswith("No archive from the release: ")
    assert because.endswith(reason)
    assert announced.startswith("Compiling llama.cpp b11434 (cpu)")
    assert (1, ()) == (compiler.tries, installer.shelf.engines())
    assert [] == list(installer.shelf.root.glob(".staging-*"))


def test_with_nvcc_a_cuda_build_is_compiled_rather_than_a_slower_archive_fetched(
    installer: Installer, publish: Callable[..., bytes], messages: Any, host: Host
) -> None:
    publish("b11429")
    card = Cuda(driver=(12, 8), capability=(9, 0))
    with pytest.raises(EngineBuildError):
        replace(installer, probe=lambda: replace(host, cuda=card)).install()
    assert "Compiling llama.cpp b11434 (cuda)" in messages.said[-1]


def test_an_update_switches_keeps_the_one_before_and_removes_older_ones(
    installer: Installer, publish: Callable[..., bytes]
) -> None:
    for tag in ("b1", "b2", "b3"):
        publish(tag)
        installer.update()

    shelf = installer.shelf
    assert {"b3-cpu-0123abcd", "b2-cpu-0123abcd"} == {engine.id for engine in shelf.engines()}
    assert "b2" == shelf.roll_back().version


def test_an_update_without_a_release_compiles_nothing_older(
    installer: Installer, publish: Callable[..., bytes], github: Any, compiler: Compiler
) -> None:
    publish("b99999")
    engine = installer.install()
    github.pages.clear()

    with pytest.raises(FetchError, match="no newer llama-server could be looked for") as caught:
        installer.update()
    assert f"llama.cpp {engine.version} (cpu) stays in use." in caught.value.remedy
    assert engine == installer.shelf.current()
    assert 0 == compiler.tries


def test_an_update_after_a_rollback_fetches_nothing_again(
    installer: Installer, publish: Callable[..., bytes], messages: Any
) -> None:
    for tag in ("b1", "b2"):
        publish(tag)
        installer.update()
    installer.shelf.roll_back()

    assert "b2" == installer.update().version
    assert "llama.cpp b2 (cpu) is installed already." == messages.said[-1]
    assert "b1" == installer.shelf.roll_back().version


def test_ensure_installs_only_when_nothing_is_found(
    installer: Installer, publish: Callable[..., bytes], tmp_path: Path, messages: Any
) -> None:
    publish("b11429")
    first = ensure(installer, cache=tmp_path / "cache")
    messages.said.clear()
    second = ensure(installer, cache=tmp_path / "cache")

    assert first == second
    assert ("b11429", "installed") == (first.version, first.source)
    assert [] == messages.said


def test_ensure_installs_nothing_in_the_place_of_a_named_one(installer: Installer, tmp_path: Path) -> None:
    with pytest.raises(EngineMissing, match="/absent"):
        ensure(installer, cache=tmp_path / "cache", configured="/absent")
    assert not installer.shelf.root.exists()


def test_missing_tools_are_said_before_anything_is_compiled(installer: Installer, compiler: Compiler) -> None:
    with pytest.raises(EngineBuildError, match=r"needs a C\+\+ compiler"):
        replace(installer, which=lambda _: None).install()
    assert 0 == compiler.tries
