import shutil
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import pytest

from relayd.catalog.entry import CatalogEntry, ModelFile
from relayd.errors import FetchError, ModelFileError, UsageError
from relayd.models.stores import StoreFolders, scan
from relayd.secret import Secret
from relayd.units import Bytes
from tests.fakes.hub import FakeHub, Fault, running_hub, sha256
from tests.llamafiles import make_llamafile
from tests.models.desk import BLOB, REPO, Desk

pytestmark = pytest.mark.fake


@pytest.fixture
def fake() -> Iterator[FakeHub]:
    with running_hub() as fake:
        yield fake


@pytest.fixture
def desk(fake: FakeHub, tmp_path: Path) -> Desk:
    return Desk(fake, tmp_path)


def entry(**facts: object) -> CatalogEntry:
    return CatalogEntry(name="tiny", title="Tiny", license="mit", capabilities=("chat",), **facts)  # type: ignore[arg-type]  # each test gives the facts it needs


def test_an_address_on_the_hub_means_its_repository(fake: FakeHub, desk: Desk) -> None:
    fake.add(REPO, **{"tiny-Q4_K_M": BLOB})
    record = desk.pull(f"{fake.endpoint}/{REPO}/resolve/main/tiny-Q4_K_M.gguf")
    assert f"hf:{REPO}/tiny-Q4_K_M.gguf" == record.source


def test_an_address_is_asked_for_as_it_was_typed(fake: FakeHub, desk: Desk, tiny_model: Path) -> None:
    fake.files["/tiny.gguf/tiny%2B1.gguf"] = tiny_model.read_bytes()
    record = desk.pull(f"{fake.cdn}/tiny.gguf/tiny%2B1.gguf?a=tiny+1.gguf")
    assert "tiny+1.gguf" == Path(record.parts[0].path).name
    assert "/tiny.gguf/tiny%2B1.gguf?a=tiny+1.gguf" == fake.downloads()[0].path


def test_a_token_is_not_shown_to_other_addresses(fake: FakeHub, desk: Desk, tiny_model: Path) -> None:
    fake.files["/tiny-Q4_K_M.gguf"] = tiny_model.read_bytes()
    desk.token = Secret(fake.token)
    desk.pull(f"{fake.cdn}/tiny-Q4_K_M.gguf")
    assert {None} == {one.authorization for one in fake.asked}


def test_projector_and_draft_come_along_as_asked(fake: FakeHub, desk: Desk) -> None:
    fake.add(REPO, **{"tiny-Q8_0": BLOB, "mmproj-F16": BLOB + b"p", "mtp-tiny-Q8_0": BLOB + b"d"})
    names = [Path(kept.path).name for kept in desk.pull(f"hf:{REPO}").companions]
    assert ["mmproj-F16.gguf"] == names
    names = [Path(kept.path).name for kept in desk.pull(f"hf:{REPO}", drafts=True).companions]
    assert ["mmproj-F16.gguf", "mtp-tiny-Q8_0.gguf"] == names
    (found,) = scan(StoreFolders(own=desk.shelf.root, hubs=(desk.cache,)))
    assert ["mmproj-F16.gguf"] == [path.name for path in found.projectors]


@pytest.mark.parametrize(
    "text", ["hf:maker/../x.gguf", "hf:maker/tiny-GGUF/../../x.gguf", "../x", "hf:../tiny-GGUF/x.gguf"]
)
def test_a_name_that_climbs_is_refused_before_anybody_is_asked(fake: FakeHub, desk: Desk, text: str) -> None:
    with pytest.raises(UsageError):
        desk.pull(text)
    assert ([], set()) == (fake.asked, desk.files())


def test_a_file_at_an_address_comes_into_our_folder_with_its_digest(
    fake: FakeHub, desk: Desk, tiny_model: Path
) -> None:
    fake.files["/x/tiny-Q8_0.gguf"] = tiny_model.read_bytes()
    record = desk.pull(f"{fake.cdn}/x/tiny-Q8_0.gguf")
    assert str(desk.shelf.root / "tiny-Q8_0.gguf") == record.parts[0].path
    assert sha256(tiny_model.read_bytes()) == record.parts[0].sha256
    assert ["tiny-Q8_0"] == desk.listed()
    assert record == desk.pull(f"{fake.cdn}/x/tiny-Q8_0.gguf")
    assert 1 == len(fake.downloads())


def test_what_an_address_sends_must_be_a_model(fake: FakeHub, desk: Desk) -> None:
    fake.files["/tiny.gguf"] = b"<html>log in first</html>"
    with pytest.raises(ModelFileError, match="not send a valid model"):
        desk.pull(f"{fake.cdn}/tiny.gguf")
    assert set() == desk.files()


def test_an_interrupted_file_in_our_folder_is_not_listed_and_goes_on(
    fake: FakeHub, desk: Desk, tiny_model: Path
) -> None:
    data = tiny_model.read_bytes()
    fake.files["/tiny.gguf"] = data
    fake.faults.extend([Fault(5000), *[Fault(0)] * 10])
    with pytest.raises(FetchError):
        desk.pull(f"{fake.cdn}/tiny.gguf")
    assert [] == desk.listed()
    fake.faults.clear()
    desk.pull(f"{fake.cdn}/tiny.gguf")
    assert "bytes=5000-" == fake.downloads()[-1].range
    assert data == (desk.shelf.root / "tiny.gguf").read_bytes()


def test_a_file_from_elsewhere_of_the_same_name_is_not_overwritten(
    fake: FakeHub, desk: Desk, tiny_model: Path
) -> None:
    fake.files["/a/tiny.gguf"] = fake.files["/b/tiny.gguf"] = tiny_model.read_bytes()
    desk.pull(f"{fake.cdn}/a/tiny.gguf")
    with pytest.raises(UsageError, match="from another source") as caught:
        desk.pull(f"{fake.cdn}/b/tiny.gguf")
    assert "relayd models rm tiny" in caught.value.remedy


@pytest.mark.parametrize("on_hub", [True, False])
def test_a_llamafile_leaves_its_model(
    fake: FakeHub, desk: Desk, tiny_model: Path, tmp_path: Path, on_hub: bool
) -> None:
    model = tiny_model.read_bytes()
    file = make_llamafile(tmp_path / "made", {"inside.gguf": model, "mmproj-x.gguf": model})
    fake.files["/tiny.Q4_K_M.llamafile"] = fake.repos.setdefault(REPO, {})["tiny.Q4_K_M.llamafile"] = (
        file.read_bytes()
    )
    file.unlink()
    record = desk.pull(f"hf:{REPO}" if on_hub else f"{fake.cdn}/tiny.Q4_K_M.llamafile")
    assert ("extracted", "Q4_K_M", "tiny.Q4_K_M") == (record.kind, record.quant, record.name)
    assert model == (desk.shelf.root / "tiny.Q4_K_M.gguf").read_bytes()
    assert ["mmproj-tiny.Q4_K_M.gguf"] == [Path(kept.path).name for kept in record.companions]
    assert not list(desk.root.rglob("*.llamafile"))
    assert ["tiny.Q4_K_M"] == desk.listed()
    assert record == desk.pull(f"hf:{REPO}" if on_hub else f"{fake.cdn}/tiny.Q4_K_M.llamafile")
    assert 1 == len(fake.downloads())


@pytest.mark.parametrize("text", ["tiny", "tiny:q4_k_m", "TIN"])
def test_a_name_of_the_catalogue_is_the_file_it_names(fake: FakeHub, desk: Desk, text: str) -> None:
    fake.add(REPO, **{"tiny-Q4_K_M": BLOB})
    fake.add("maker/eyes", **{"mmproj-tiny-F16": BLOB + b"p"})
    file = ModelFile(
        quant="Q4_K_M",
        bytes=Bytes(len(BLOB)),
        exact=True,
        repo=REPO,
        file="tiny-Q4_K_M.gguf",
        mmproj="maker/eyes/mmproj-tiny-F16.gguf",
        source="s",
    )
    desk.entries = (entry(files=(file,)),)
    record = desk.pull(text)
    assert ("tiny:Q4_K_M", "tiny", "Q4_K_M") == (record.name, record.model, record.quant)
    assert BLOB + b"p" == Path(record.companions[0].path).read_bytes()
    assert [] == desk.progress.said


def test_a_file_that_differs_from_the_catalogue_is_told(fake: FakeHub, desk: Desk) -> None:
    fake.add(REPO, **{"tiny-Q4_K_M": BLOB})
    file = ModelFile(
        quant="Q4_K_M", bytes=Bytes(5), exact=True, repo=REPO, file="tiny-Q4_K_M.gguf", source="s"
    )
    desk.entries = (entry(files=(file,)),)
    desk.pull("tiny")
    assert ["tiny-Q4_K_M.gguf had 5 B for the catalogue, now 10 KiB."] == desk.progress.said


def test_the_repositories_of_an_entry_are_searched_in_order(fake: FakeHub, desk: Desk) -> None:
    fake.add("first/gone", other=BLOB)
    fake.add("second/tiny", **{"tiny-Q6_K": BLOB})
    files = (ModelFile(quant="Q6_K", bytes=Bytes(9000), source="s"),)
    desk.entries = (entry(files=files, repos=("zero/nothing", "first/gone", "second/tiny")),)
    assert "hf:second/tiny/tiny-Q6_K.gguf" == desk.pull("tiny:Q6_K").source


def test_repositories_that_nobody_checked_are_named_and_not_used(fake: FakeHub, desk: Desk) -> None:
    fake.add("guess/tiny", **{"tiny-Q6_K": BLOB})
    desk.entries = (entry(unchecked_repos=("guess/tiny",)),)
    with pytest.raises(UsageError, match="was not found") as caught:
        desk.pull("tiny")
    assert "relayd pull hf:guess/tiny" in caught.value.remedy


def test_a_newer_commit_is_pulled_and_the_older_files_stay_on_the_record(fake: FakeHub, desk: Desk) -> None:
    fake.add(REPO, **{"tiny-Q4_K_M": BLOB})
    old = desk.pull(f"hf:{REPO}")
    fake.commit = "f" * 40
    fake.add(REPO, **{"tiny-Q4_K_M": BLOB * 2})
    new = desk.pull(f"hf:{REPO}")
    assert old.parts == new.older
    assert BLOB == Path(old.parts[0].path).read_bytes()
    assert ["tiny-Q4_K_M"] == desk.listed()[:1]
    desk.shelf.remove(new)
    assert set() == desk.files()


def test_only_what_relayd_fetched_is_removed(fake: FakeHub, desk: Desk) -> None:
    fake.add(REPO, **{"tiny-Q4_K_M": BLOB, "tiny-Q8_0": BLOB * 2})
    repository = desk.hub.look(REPO)
    theirs = desk.hub.blob(REPO, repository.files["tiny-Q8_0.gguf"])
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(BLOB * 2)
    kept, gone = desk.pull(f"hf:{REPO}:Q8_0"), desk.pull(f"hf:{REPO}:Q4_K_M")
    assert (0, len(BLOB)) == (desk.shelf.remove(kept), desk.shelf.remove(gone))
    assert ["tiny-Q8_0"] == desk.listed()
    assert [] == desk.shelf.records()


def test_all_parts_of_a_model_at_an_address_come_into_our_folder(
    fake: FakeHub, desk: Desk, tmp_path: Path
) -> None:
    writer = gguf.GGUFWriter(tmp_path / "made" / "tiny.gguf", "llama", split_max_tensors=1)
    writer.add_block_count(1)
    (tmp_path / "made").mkdir()
    for name in ("a", "b"):
        writer.add_tensor(name, np.zeros((4, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    made = sorted((tmp_path / "made").iterdir())
    fake.files |= {f"/{path.name}": path.read_bytes() for path in made}
    shutil.rmtree(tmp_path / "made")

    record = desk.pull(f"{fake.cdn}/{made[0].name}")

    assert [path.name for path in made] == [Path(kept.path).name for kept in record.parts]
    assert [f"/{path.name}" for path in made] == [one.path for one in fake.downloads()]
    assert ["tiny"] == desk.listed()


def test_parts_at_an_address_that_are_no_model_are_removed(fake: FakeHub, desk: Desk) -> None:
    parts = [b"GGUF" * number for number in (1, 2)]
    names = [f"tiny-0000{number}-of-00002.gguf" for number in (1, 2)]
    fake.files |= {f"/x/{name}": part for name, part in zip(names, parts, strict=True)}
    with pytest.raises(UsageError, match="not the first part"):
        desk.pull(f"{fake.cdn}/x/{names[1]}?key=1")
    with pytest.raises(ModelFileError):
        desk.pull(f"{fake.cdn}/x/{names[0]}?key=1")
    assert [f"/x/{name}?key=1" for name in names] == [one.path for one in fake.downloads()]
    assert set() == desk.files()


def test_a_hub_that_lists_no_digests_is_named_with_the_way_to_fetch_unchecked(
    fake: FakeHub, desk: Desk
) -> None:
    fake.add(REPO, **{"tiny-Q4_K_M": BLOB})
    fake.without_digests = True
    with pytest.raises(UsageError, match=r"lists no SHA-256 of tiny-Q4_K_M\.gguf") as refused:
        desk.pull(f"hf:{REPO}")

    assert f"relayd pull --no-verify hf:{REPO}/tiny-Q4_K_M.gguf" in refused.value.remedy
    assert set() == desk.files()


def test_what_has_no_digest_is_fetched_unchecked_into_our_folder_when_it_is_asked_for(
    fake: FakeHub, desk: Desk, tiny_model: Path
) -> None:
    model = tiny_model.read_bytes()
    fake.add(REPO, **{"tiny-Q4_K_M": model})
    fake.without_digests = True
    record = desk.pull(f"hf:{REPO}", verify=False)

    (part,) = record.parts
    assert str(desk.shelf.root / "tiny-Q4_K_M.gguf") == part.path
    assert (sha256(model), model) == (part.sha256, Path(part.path).read_bytes())
    assert any("is not checked" in text for text in desk.progress.said)


def test_what_has_a_digest_is_checked_although_that_need_not_be(fake: FakeHub, desk: Desk) -> None:
    fake.add(REPO, **{"tiny-Q4_K_M": BLOB})
    record = desk.pull(f"hf:{REPO}", verify=False)

    assert "snapshots" in record.parts[0].path
