import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from relayd.engine.host import Cuda, Host
from relayd.engine.release import Asset, Release, choose, newest, unpack_release
from relayd.errors import FetchError, HostSilentError

OLD_CARD = Cuda(driver=(13, 4), capability=(6, 1))
NEW_CARD = Cuda(driver=(13, 0), capability=(9, 0))
OLD_DRIVER = Cuda(driver=(12, 4), capability=(9, 0))
ANCIENT = Cuda(driver=(11, 8), capability=(7, 0))

NAMES = (
    "cudart-llama-b11211-bin-ubuntu-cuda-12.8-x64.tar.gz",
    "cudart-llama-b11211-bin-ubuntu-cuda-13.4-x64.tar.gz",
    "llama-b11211-bin-macos-arm64.tar.gz",
    "llama-b11211-bin-macos-x64.tar.gz",
    "llama-b11211-bin-ubuntu-arm64.tar.gz",
    "llama-b11211-bin-ubuntu-cuda-12.8-x64.tar.gz",
    "llama-b11211-bin-ubuntu-cuda-13.4-x64.tar.gz",
    "llama-b11211-bin-ubuntu-rocm-10.0-x64.tar.gz",
    "llama-b11211-bin-ubuntu-vulkan-x64.tar.gz",
    "llama-b11211-bin-ubuntu-x64.tar.gz",
    "llama-b11211-bin-win-cpu-x64.zip",
)
"""What build b11211 of 2026 had for these systems."""


def _release(*names: str) -> Release:
    return Release("b11211", tuple(Asset(name, f"https://example.com/{name}", 1) for name in names))


@pytest.mark.pure
@pytest.mark.parametrize(
    ("machine", "backend", "first"),
    [
        ({}, "cpu", "ubuntu-x64"),
        ({"machine": "arm64"}, "cpu", "ubuntu-arm64"),
        ({"vulkan": True}, "vulkan", "ubuntu-vulkan-x64"),
        ({"vulkan": True, "machine": "arm64"}, "cpu", "ubuntu-arm64"),
        ({"cuda": NEW_CARD, "vulkan": True}, "cuda", "ubuntu-cuda-13.4-x64"),
        ({"cuda": OLD_CARD}, "cuda", "ubuntu-cuda-12.8-x64"),
        ({"cuda": OLD_DRIVER}, "cuda", "ubuntu-cuda-12.8-x64"),
        ({"cuda": ANCIENT, "vulkan": True}, "vulkan", "ubuntu-vulkan-x64"),
        ({"cuda": ANCIENT}, "cpu", "ubuntu-x64"),
        ({"cuda": NEW_CARD, "machine": "arm64"}, "cpu", "ubuntu-arm64"),
        ({"system": "darwin", "machine": "arm64"}, "metal", "macos-arm64"),
        ({"system": "darwin"}, "cpu", "macos-x64"),
    ],
)
def test_each_machine_gets_the_archive_made_for_it(
    host: Host, machine: dict[str, Any], backend: str, first: str
) -> None:
    values = {name: getattr(host, name) for name in host.__dataclass_fields__} | machine
    choice = choose(_release(*NAMES), Host(**values))
    assert choice is not None
    assert (backend, f"llama-b11211-bin-{first}.tar.gz") == (choice.backend, choice.assets[0].name)


@pytest.mark.pure
def test_a_cuda_build_comes_with_the_libraries_it_needs(host: Host) -> None:
    machine = Host("linux", "x64", host.cpu_key, 2, 1, cuda=NEW_CARD)
    choice = choose(_release(*NAMES), machine)
    assert choice is not None
    assert "cudart-llama-b11211-bin-ubuntu-cuda-13.4-x64.tar.gz" == choice.assets[1].name

    without = choose(_release(*(name for name in NAMES if not name.startswith("cudart"))), machine)
    assert without is not None
    assert "cpu" == without.backend


@pytest.mark.pure
@pytest.mark.parametrize(("system", "machine"), [("linux", "riscv64"), ("freebsd", "x64")])
def test_a_machine_without_an_archive_gets_none(host: Host, system: str, machine: str) -> None:
    assert None is choose(_release(*NAMES), Host(system, machine, host.cpu_key, 1, 1))


@pytest.mark.pure
def test_a_zip_serves_where_there_is_no_tar(host: Host) -> None:
    choice = choose(_release("llama-b11211-bin-ubuntu-x64.zip"), host)
    assert choice is not None
    assert "llama-b11211-bin-ubuntu-x64.zip" == choice.assets[0].name


@pytest.mark.fake
def test_a_version_without_archives_names_the_build_that_has_them(github: Any) -> None:
    github.publish("latest", "v0.6.0", {"nightly-tag.txt": b"b11429\n"}, {})
    github.publish("tags/b11429", "b11429", {"llama-b11429-bin-ubuntu-x64.tar.gz": b"x"}, {})
    assert "b11429" == newest(github.url).tag_name


@pytest.mark.fake
def test_before_there_were_versions_the_latest_release_was_the_build(github: Any) -> None:
    github.publish("latest", "b6895", {"llama-b6895-bin-ubuntu-x64.zip": b"x"}, {})
    assert "b6895" == newest(github.url).tag_name


@pytest.mark.fake
def test_a_version_that_names_nonsense_is_an_error(github: Any) -> None:
    github.publish("latest", "v0.6.0", {"nightly-tag.txt": b"../../etc"}, {})
    with pytest.raises(FetchError, match=r"v0\.6\.0 names '../../etc' as its build"):
        newest(github.url)


@pytest.mark.fake
@pytest.mark.parametrize("page", [[], {"message": "rate limit"}, {"tag_name": "b1", "assets": [{"name": 1}]}])
def test_an_answer_that_lists_no_release_is_an_error(github: Any, page: Any) -> None:
    github.pages["/releases/latest"] = json.dumps(page).encode()
    with pytest.raises(FetchError, match="does not list a release"):
        newest(github.url)


@pytest.mark.fake
def test_a_silent_github_is_given_up_in_time(github: Any) -> None:
    github.silent.set()
    with pytest.raises(HostSilentError):
        newest(github.url, timeout_seconds=0.1)


@pytest.mark.fake
@pytest.mark.parametrize("digest", [None, "md5:abc", "sha256:short", "nothing"])
def test_an_archive_that_nobody_vouches_for_is_not_fetched(
    tmp_path: Path, host: Host, messages: Any, digest: str | None
) -> None:
    choice = choose(_release("llama-b11211-bin-ubuntu-x64.tar.gz"), host)
    assert choice is not None
    [asset] = choice.assets
    doubtful = type(choice)(choice.tag, "cpu", (msgspec.structs.replace(asset, digest=digest),))
    with pytest.raises(FetchError, match="gives no SHA-256") as refused:
        unpack_release(doubtful, tmp_path, host, messages, {})

    assert "relayd engine install --no-verify" in refused.value.remedy
