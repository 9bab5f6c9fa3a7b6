import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from relayd.catalog.entry import CatalogEntry
from relayd.errors import UsageError
from relayd.models.ondisk import Found, find_on_disk, identified
from relayd.models.shelf import ModelRecord, ModelShelf, StoredFile
from relayd.models.stores import StoreFolders, places_of, scan
from tests.fakes.hub import sha256
from tests.fuzz.headers import header
from tests.llamafiles import make_llamafile
from tests.models.desk import model_file, split_part

pytestmark = pytest.mark.system

BLOB = model_file() + bytes(100)
PROJECTOR = bytes(header(architecture="clip").data)
COMMIT = "a" * 40


def put(path: Path, data: bytes = BLOB) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def places(home: Path, *folders: str, **environ: str) -> StoreFolders:
    return places_of(environ, home, home / ".local/share/relayd", folders)


def names(home: Path, *folders: str, **environ: str) -> list[str]:
    return [f"{one.store}: {one.name}" for one in scan(places(home, *folders, **environ))]


def only(home: Path, *folders: str) -> Found:
    (found,) = scan(places(home, *folders))
    return found


def put_in_hub(
    cache: Path, repo: str, files: dict[str, bytes], *, commit: str = COMMIT, ref: bool = True
) -> Path:
    """Lay files out as huggingface_hub 0.36 and llama.cpp b11434 do."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    for path, data in files.items():
        blob = put(folder / "blobs" / sha256(data), data)
        link = folder / "snapshots" / commit / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    if ref:
        put(folder / "refs" / "main", commit.encode())
    return folder / "snapshots" / commit


def put_in_ollama(
    folder: Path, tag: str, layers: dict[str, bytes], *, root: str = "manifests", **facts: Any
) -> Path:
    """Lay a model out as Ollama 0.12 does."""
    listed = []
    for kind, data in layers.items():
        put(folder / "blobs" / f"sha256-{sha256(data)}", data)
        listed.append(
            {
                "mediaType": f"application/vnd.ollama.image.{kind}",
                "digest": f"sha256:{sha256(data)}",
                "size": len(data),
            }
        )
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": "", "size": 5},
        "layers": listed,
    }
    return put(folder / root / tag, json.dumps(manifest | facts).encode())


def test_a_disk_without_models_has_none(tmp_path: Path) -> None:
    assert [] == scan(places(tmp_path))


def test_models_in_our_folder_are_found_and_what_arrives_is_not(tmp_path: Path) -> None:
    own = places(tmp_path).own
    put(own / "mine-Q8_0.gguf")
    put(own / "incoming" / "half.gguf")
    put(own / "half-Q4_0.gguf.part")
    put(own / "empty.gguf", b"")
    put(own / "page.gguf", b"<html>")
    assert ["relayd: mine-Q8_0"] == names(tmp_path)


def test_configured_folders_are_searched_with_those_inside(tmp_path: Path) -> None:
    put(tmp_path / "nas" / "a-Q4_0.gguf")
    put(tmp_path / "nas" / "deep" / "deeper" / "b.gguf")
    put(tmp_path / "nas" / ".hidden" / "c.gguf")
    (tmp_path / "nas" / "loop").symlink_to(tmp_path / "nas")
    assert ["folder: a-Q4_0", "folder: b"] == names(tmp_path, str(tmp_path / "nas"), str(tmp_path / "gone"))


def test_names_that_would_steer_a_terminal_are_left_out(tmp_path: Path) -> None:
    put(tmp_path / "m" / "a\x1b[2J.gguf")
    put_in_ollama(tmp_path / ".ollama/models", "registry.ollama.ai/library/b\x1b[2J/latest", {"model": BLOB})
    assert [] == names(tmp_path, str(tmp_path / "m"))


def test_a_split_model_is_one_model_when_all_parts_are_there(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        put(tmp_path / "m" / f"whole-0000{number}-of-00003.gguf", split_part(number))
    for number in (1, 3):
        put(tmp_path / "m" / f"half-0000{number}-of-00003.gguf", split_part(number))
    found = only(tmp_path, str(tmp_path / "m"))
    assert ("whole", 3, 3 * len(split_part(1))) == (found.name, len(found.files), found.bytes)


def test_projectors_and_drafts_are_no_models_and_go_with_theirs(tmp_path: Path) -> None:
    for name in ("tiny-Q8_0", "mmproj-F16", "mtp-tiny-Q8_0"):
        put(tmp_path / "m" / f"{name}.gguf")
    put(tmp_path / "m" / "tiny-imatrix.gguf")
    found = only(tmp_path, str(tmp_path / "m"))
    assert ("tiny-Q8_0", ["mtp-tiny-Q8_0.gguf"]) == (found.name, [path.name for path in found.drafts])


def test_the_cache_of_the_hub_is_read_by_its_links(tmp_path: Path) -> None:
    files = {"Q8_0/tiny-Q8_0.gguf": BLOB, "mmproj-F16.gguf": PROJECTOR, "config.json": b"{}"}
    snapshot = put_in_hub(tmp_path / ".cache/huggingface/hub", "maker/tiny-GGUF", files)
    put(snapshot.parents[1] / "blobs" / f"{'b' * 64}.incomplete")
    put(snapshot.parents[1] / "blobs" / f"{'c' * 64}.part")
    found = only(tmp_path)
    assert ("huggingface", "tiny-Q8_0", "maker/tiny-GGUF") == (found.store, found.name, found.repo)
    assert (snapshot / "Q8_0/tiny-Q8_0.gguf",) == found.files
    assert (snapshot / "mmproj-F16.gguf",) == found.projectors
    assert (found.files[0], sha256(BLOB)) == found.digests[0]


def test_of_two_commits_the_one_of_the_branch_counts(tmp_path: Path) -> None:
    cache = tmp_path / ".cache/huggingface/hub"
    put_in_hub(cache, "maker/tiny", {"a.gguf": BLOB, "old.gguf": BLOB * 2}, commit="b" * 40, ref=False)
    put_in_hub(cache, "maker/tiny", {"a.gguf": BLOB * 3}, commit="c" * 40)
    assert [("a", 3 * len(BLOB)), ("old", 2 * len(BLOB))] == [
        (one.name, one.bytes) for one in scan(places(tmp_path))
    ]


def test_a_link_whose_bytes_are_gone_is_no_model(tmp_path: Path) -> None:
    snapshot = put_in_hub(tmp_path / ".cache/huggingface/hub", "maker/tiny", {"a.gguf": BLOB})
    (snapshot / "a.gguf").resolve().unlink()
    assert [] == scan(places(tmp_path))


def test_the_variables_of_other_programs_are_respected(tmp_path: Path) -> None:
    put_in_hub(tmp_path / "k", "maker/tiny", {"a.gguf": BLOB})
    put_in_ollama(tmp_path / "o", "registry.ollama.ai/library/b/latest", {"model": BLOB * 2})
    put(tmp_path / "l" / "maker_tiny_c.gguf", BLOB * 3)
    variables = {"HF_HUB_CACHE": "k", "OLLAMA_MODELS": "o", "LLAMA_CACHE": "l"}
    environ = {name: str(tmp_path / folder) for name, folder in variables.items()}
    assert ["huggingface: a", "ollama: b:latest", "llama.cpp: maker_tiny_c"] == names(tmp_path, **environ)


def test_lm_studio_keeps_models_by_publisher_in_one_of_three_places(tmp_path: Path) -> None:
    put(tmp_path / ".lmstudio/models/maker/tiny-GGUF/tiny-Q4_K_M.gguf")
    put(tmp_path / ".lmstudio/models/maker/tiny-GGUF/downloading_other.gguf.part")
    put(tmp_path / ".cache/lm-studio/models/maker/old/old.gguf")
    put(tmp_path / "elsewhere/maker/new/new.gguf")
    settings = {"downloadsFolder": str(tmp_path / "elsewhere")}
    put(tmp_path / ".lmstudio/settings.json", json.dumps(settings).encode())
    assert ["lmstudio: new", "lmstudio: tiny-Q4_K_M", "lmstudio: old"] == names(tmp_path)


@pytest.mark.parametrize(
    "settings", [b"", b"[]", b'{"downloadsFolder": 5}', b'{"downloadsFolder": "relative"}']
)
def test_settings_of_lm_studio_that_make_no_sense_are_passed_over(tmp_path: Path, settings: bytes) -> None:
    put(tmp_path / ".lmstudio/settings.json", settings)
    put(tmp_path / ".lmstudio/models/maker/tiny/tiny.gguf")
    assert ["lmstudio: tiny"] == names(tmp_path)


def test_ollama_names_models_by_their_tags(tmp_path: Path) -> None:
    folder = tmp_path / ".ollama/models"
    for tag in (
        "registry.ollama.ai/library/qwen3/8b",
        "registry.ollama.ai/me/own/v1",
        "hf.co/o/r-GGUF/Q4_K_M",
    ):
        layers = {"template": b"{{ .Prompt }}", "model": BLOB + tag.encode(), "projector": BLOB + b"p"}
        put_in_ollama(folder, tag, layers)
    found = scan(places(tmp_path))
    assert ["hf.co/o/r-GGUF:Q4_K_M", "qwen3:8b", "me/own:v1"] == [one.name for one in found]
    assert (folder / "blobs" / f"sha256-{sha256(BLOB + b'p')}",) == found[0].projectors
    assert "Q4_K_M" == found[0].quant


def test_ollama_links_newer_manifests_and_lists_several_in_one(tmp_path: Path) -> None:
    folder = tmp_path / ".ollama/models"
    for_gguf = put_in_ollama(folder, "gguf", {"model": BLOB}, root="blobs", runner="ollama", format="gguf")
    digest = sha256(for_gguf.read_bytes())
    for_gguf.rename(folder / "blobs" / f"sha256-{digest}")
    for_mlx = {"layers": [{"mediaType": "application/vnd.ollama.image.tensor", "digest": "sha256:0"}]}
    listed = {
        "mediaType": "application/vnd.ollama.manifest.list.v2+json",
        "manifests": [for_mlx, {"digest": f"sha256:{digest}", "runner": "ollama"}],
    }
    put_in_ollama(folder, "ollama.com/library/qwen3/8b", {}, root="manifests-v2", **listed)
    assert ["ollama: qwen3:8b"] == names(tmp_path)


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"[]",
        b'{"layers": 5}',
        b'{"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:../../x"}]}',
        b'{"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:%b"}]}'
        % (b"0" * 64),
    ],
)
def test_what_ollama_has_not_whole_is_no_model(tmp_path: Path, manifest: bytes) -> None:
    folder = tmp_path / ".ollama/models"
    put(folder / "manifests/registry.ollama.ai/library/m/latest", manifest)
    put(folder / "blobs" / f"sha256-{'0' * 64}-partial")
    put(folder / "x")
    assert [] == scan(places(tmp_path))


def test_a_llamafile_is_a_model_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    file = make_llamafile(tmp_path / "m" / "tiny.Q5_K_M.llamafile", {"tiny.gguf": BLOB})
    make_llamafile(tmp_path / "m" / "engine-only.llamafile", {})
    make_llamafile(tmp_path / "m" / "packed.llamafile", {"a.gguf": BLOB}, compression=zipfile.ZIP_DEFLATED)
    put(tmp_path / "m" / "broken.llamafile", b"MZqFpD")
    found = only(tmp_path, str(tmp_path / "m"))
    assert ("tiny.Q5_K_M", "Q5_K_M", len(BLOB), True) == (
        found.name,
        found.quant,
        found.bytes,
        found.embedded,
    )
    assert (file,) == found.files


def test_one_file_that_two_stores_know_is_listed_once_as_relayds(tmp_path: Path) -> None:
    snapshot = put_in_hub(tmp_path / ".cache/huggingface/hub", "maker/tiny", {"a.gguf": BLOB})
    link = snapshot / "a.gguf"
    kept = StoredFile(path=str(link), data=str(link.resolve()), bytes=len(BLOB), sha256=sha256(BLOB))
    record = ModelRecord(name="tiny:Q8_0", source="hf:maker/tiny/a.gguf", kind="pulled", parts=(kept,))
    ModelShelf(places(tmp_path).own).write(record)
    found = only(tmp_path)
    assert ("relayd", "tiny:Q8_0", ("a",)) == (found.store, found.name, found.aliases)
    assert ("maker/tiny", "hf:maker/tiny/a.gguf") == (found.repo, found.source)


@pytest.mark.parametrize(("name", "size"), [("x.gguf", 5), ("y.gguf", len(BLOB))])
def test_a_record_without_its_whole_file_lists_nothing(tmp_path: Path, name: str, size: int) -> None:
    put(tmp_path / "x.gguf")
    path = str(tmp_path / name)
    kept = StoredFile(path=path, data=path, bytes=size)
    ModelShelf(places(tmp_path).own).write(ModelRecord(name="x", source="s", kind="pulled", parts=(kept,)))
    assert [] == scan(places(tmp_path))


def test_a_record_that_makes_no_sense_is_passed_over(tmp_path: Path) -> None:
    put(places(tmp_path).own / "x.json", b'{"name": 5}')
    assert [] == scan(places(tmp_path))


def test_a_model_on_disk_is_found_by_what_the_catalogue_calls_it(tmp_path: Path) -> None:
    put(tmp_path / ".lmstudio/models/maker/Tiny-Model-3B-GGUF/Tiny-Model-3B-Q4_K_M.gguf")
    entry = CatalogEntry(name="tiny-3b", title="Tiny Model 3B", license="mit", capabilities=("chat",))
    here = identified(scan(places(tmp_path)), [entry])
    for name in ("tiny-3b", "TINY-3B:q4_k_m", "tiny-model", "Tiny-Model-3B-Q4_K_M"):
        assert "tiny-3b" == find_on_disk(here, name).model
    with pytest.raises(UsageError, match="no model on this disk"):
        find_on_disk(here, "other")
