import contextlib
import hashlib
import json
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from relayd.catalog.entry import CatalogEntry
from relayd.catalog.llamafile import read_line
from relayd.catalog.load import Folders, load_catalog, read_file, shipped_folder
from relayd.catalog.update import keep_imported, update_catalog
from relayd.errors import ConfigError, FetchError, HashMismatchError, UsageError

pytestmark = pytest.mark.fake

LINE = "m-7b|M 7B|5000000000|4.7 GB|MIT|m-7b.Q5_K_M.gguf|https://example.org/m-7b.Q5_K_M.gguf|chat"


class Site:
    """A web server that has one document."""

    def __init__(self) -> None:
        self.body = b""
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(site.body)))
                self.end_headers()
                self.wfile.write(site.body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False
        self.url = f"http://127.0.0.1:{self._server.server_port}/catalog.json"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def publish(self, document: object) -> str:
        """Serve a document, and return its digest."""
        self.body = json.dumps(document).encode()
        return hashlib.sha256(self.body).hexdigest()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def site() -> Iterator[Site]:
    with contextlib.closing(Site()) as one:
        yield one


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state" / "catalog"


def families(*names: str, **facts: Any) -> dict[str, Any]:
    models = [
        {"name": name, "title": "T", "license": "mit", "capabilities": ["chat"]} | facts for name in names
    ]
    return {"families": [{"family": "f", "title": "F", "publisher": "P", "models": models}]}


def catalogue(state: Path) -> dict[str, CatalogEntry]:
    entries = load_catalog(Folders(shipped_folder(), state, state / "none"))
    return {entry.name: entry for entry in entries}


def test_an_update_lies_over_the_shipped_catalogue(site: Site, state: Path) -> None:
    digest = site.publish(families("new-1b", "qwen3-8b"))
    assert ["new-1b", "qwen3-8b"] == [entry.name for entry in update_catalog(site.url, digest, state)]
    found = catalogue(state)
    assert ("updated", "updated", "shipped") == tuple(
        found[name].origin for name in ("new-1b", "qwen3-8b", "qwen3-4b")
    )
    assert ["updated.json"] == [path.name for path in state.iterdir()]


def test_another_document_than_the_promised_one_changes_nothing(site: Site, state: Path) -> None:
    update_catalog(site.url, site.publish(families("old-1b")), state)
    site.publish(families("new-1b"))
    with pytest.raises(HashMismatchError):
        update_catalog(site.url, "0" * 64, state)
    assert "old-1b" in catalogue(state)


@pytest.mark.parametrize("document", [{}, [], families("x-1b", context=0), families("x-1b", "x-1b")])
def test_an_update_that_makes_no_sense_changes_nothing(site: Site, state: Path, document: object) -> None:
    update_catalog(site.url, site.publish(families("old-1b")), state)
    digest = site.publish(document)
    with pytest.raises(ConfigError):
        update_catalog(site.url, digest, state)
    assert "old-1b" in catalogue(state)
    assert ["updated.json"] == [path.name for path in state.iterdir()]


@pytest.mark.parametrize(("url", "sha256"), [("", ""), ("https://example.org/c.json", "")])
def test_an_update_needs_an_address_and_a_digest(state: Path, url: str, sha256: str) -> None:
    with pytest.raises(UsageError, match="no address"):
        update_catalog(url, sha256, state)


def test_an_update_comes_encrypted_or_from_this_machine(state: Path) -> None:
    with pytest.raises(FetchError, match="https"):
        update_catalog("http://example.org/c.json", "0" * 64, state)


def test_imported_models_are_kept_and_listed_as_such(state: Path) -> None:
    keep_imported([read_line(LINE)], state)
    keep_imported([read_line(LINE.replace("m-7b|M", "n-7b|N"))], state)
    found = catalogue(state)
    assert ("imported", "imported") == (found["m-7b"].origin, found["n-7b"].origin)
    assert "rounded" in found["m-7b"].files[0].source


def test_an_imported_model_replaces_the_one_of_its_name(state: Path) -> None:
    keep_imported([read_line(LINE)], state)
    keep_imported([read_line(LINE.replace("5000000000", "5100000000"))], state)
    (model,) = read_file(state / "imported.toml", "imported")
    assert 5_100_000_000 == model.files[0].bytes


def test_what_is_imported_can_be_edited_by_hand(state: Path) -> None:
    keep_imported([read_line(LINE)], state)
    document = tomllib.loads((state / "imported.toml").read_text())
    assert "m-7b" == document["models"][0]["name"]
    assert {"family", "publisher", "origin"}.isdisjoint(document["models"][0])
