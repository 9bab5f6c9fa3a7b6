from collections.abc import Iterator
from pathlib import Path

import pytest

from relayd.errors import FetchError, HostSilentError, UsageError
from relayd.models.hub import Hub, HubFile, hub_of
from relayd.models.hubcache import hub_caches, remove_from_cache
from relayd.secret import Secret
from tests.fakes.hub import COMMIT, FakeHub, running_hub, sha256

pytestmark = pytest.mark.fake

REPO = "maker/model-GGUF"


@pytest.fixture
def fake() -> Iterator[FakeHub]:
    with running_hub() as fake:
        yield fake


@pytest.fixture
def hub(fake: FakeHub, tmp_path: Path) -> Hub:
    return Hub(tmp_path / "hub", fake.endpoint, Secret("hf_right"))


def put(hub: Hub, repo: str, data: bytes) -> HubFile:
    file = HubFile("m.gguf", len(data), sha256(data))
    hub.blob(repo, file).parent.mkdir(parents=True, exist_ok=True)
    hub.blob(repo, file).write_bytes(data)
    return file


def test_a_repository_is_listed_with_digests_by_one_request(fake: FakeHub, hub: Hub) -> None:
    fake.add(REPO, a=b"GGUF1", sub__b=b"GGUF22")
    repository = hub.look(REPO)
    expected = {
        "a.gguf": HubFile("a.gguf", 5, sha256(b"GGUF1")),
        "sub/b.gguf": HubFile("sub/b.gguf", 6, sha256(b"GGUF22")),
    }
    assert (COMMIT, expected) == (repository.commit, repository.files)
    assert 1 == len(fake.asked)


def test_paths_that_climb_out_of_a_repository_are_not_listed(fake: FakeHub, hub: Hub) -> None:
    fake.repos[REPO] = dict.fromkeys(("../a.gguf", "/b.gguf", "c/../../d.gguf", "e.gguf"), b"GGUF")
    assert ["e.gguf"] == list(hub.look(REPO).files)


def test_a_commit_that_is_none_is_refused(fake: FakeHub, hub: Hub) -> None:
    fake.add(REPO, a=b"GGUF")
    fake.commit = "../../x"
    with pytest.raises(FetchError, match="no commit"):
        hub.look(REPO)


def test_a_repository_that_is_not_there_or_closed_says_so(fake: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"has no {REPO}"):
        Hub(tmp_path, fake.endpoint, Secret("hf_x")).look(REPO)
    with pytest.raises(UsageError, match="401, and no token was sent") as caught:
        Hub(tmp_path, fake.endpoint).look(REPO)
    assert "HF_TOKEN" in caught.value.remedy


def test_an_answer_of_another_shape_is_refused(fake: FakeHub, hub: Hub) -> None:
    fake.repos["a/b"] = {}
    fake.commit = 5  # type: ignore[assignment]  # what a hub must not say
    with pytest.raises(FetchError, match="in a way relayd does not know"):
        hub.look("a/b")


def test_a_hub_that_is_gone_is_an_error_of_the_network(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="cannot be reached") as caught:
        Hub(tmp_path, "http://127.0.0.1:9").look(REPO)
    assert not isinstance(caught.value, HostSilentError)


def test_published_files_lie_as_huggingface_hub_lays_them(fake: FakeHub, hub: Hub) -> None:
    fake.add(REPO, sub__m=b"GGUF")
    repository = hub.look(REPO)
    blob = hub.blob(REPO, repository.files["sub/m.gguf"])
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"GGUF")

    hub.publish(repository, ["sub/m.gguf"])

    folder = hub.cache / "models--maker--model-GGUF"
    link = folder / "snapshots" / COMMIT / "sub" / "m.gguf"
    assert f"../../../blobs/{sha256(b'GGUF')}" == str(link.readlink())
    assert b"GGUF" == link.read_bytes()
    assert COMMIT == (folder / "refs" / "main").read_text()


def test_a_file_that_two_commits_have_is_removed_with_the_second(hub: Hub) -> None:
    file = put(hub, REPO, b"GGUF")
    blob = hub.blob(REPO, file)
    links = [hub.folder(REPO) / "snapshots" / (commit * 40) / "m.gguf" for commit in "ab"]
    for link in links:
        link.parent.mkdir(parents=True)
        link.symlink_to(f"../../blobs/{blob.name}")

    assert 0 == remove_from_cache(links[0], blob)
    assert b"GGUF" == links[1].read_bytes()
    assert 4 == remove_from_cache(links[1], blob)
    assert not hub.folder(REPO).exists()


def test_what_else_a_repository_has_stays_when_one_file_goes(hub: Hub) -> None:
    file, other = put(hub, REPO, b"GGUF"), put(hub, REPO, b"{}")
    snapshot = hub.folder(REPO) / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    for name, one in (("m.gguf", file), ("config.json", other)):
        (snapshot / name).symlink_to(f"../../blobs/{one.sha256}")

    remove_from_cache(snapshot / "m.gguf", hub.blob(REPO, file))

    assert ["config.json"] == [path.name for path in snapshot.iterdir()]
    assert b"{}" == (snapshot / "config.json").read_bytes()


def test_the_variables_of_huggingface_hub_are_respected(tmp_path: Path) -> None:
    home = tmp_path
    (home / ".cache/huggingface").mkdir(parents=True)
    (home / ".cache/huggingface/token").write_text("hf_file\n")
    assert "hf_file" == hub_of({}, home).token.reveal()
    assert "hf_env" == hub_of({"HF_TOKEN": "hf_env"}, home).token.reveal()
    assert not hub_of({"HF_TOKEN_PATH": "/nowhere"}, home).token
    assert "https://huggingface.co" == hub_of({}, home).endpoint
    assert "http://127.0.0.1:1" == hub_of({"HF_ENDPOINT": "http://127.0.0.1:1/"}, home).endpoint


def test_a_token_that_would_end_its_header_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="token"):
        hub_of({"HF_TOKEN": "hf_a\r\nHost: x"}, tmp_path)


@pytest.mark.parametrize(
    ("environ", "first"),
    [
        ({}, "home/.cache/huggingface/hub"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"),
        ({"HF_HOME": "/h"}, "/h/hub"),
        ({"HF_HOME": "/h", "HF_HUB_CACHE": "/k"}, "/k"),
        ({"HF_HUB_CACHE": "/k", "LLAMA_CACHE": "/l"}, "/l"),
    ],
)
def test_the_cache_is_where_llama_cpp_looks_for_it(environ: dict[str, str], first: str) -> None:
    assert Path(first) == hub_caches(environ, Path("home"))[0]
