import contextlib
import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from relayd.errors import FetchError, HashMismatchError, HostSilentError, NoSpaceError, StateError
from relayd.fetch import fetch, fetch_bytes, fetch_json, proxies_for

pytestmark = pytest.mark.fake

BODY = bytes(range(256)) * 40
SHA256 = hashlib.sha256(BODY).hexdigest()

Answer = Callable[[Any], None]


class Site:
    """A web server whose answers are functions, and which remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.over = threading.Event()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                site.answers[self.path](self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self._server.server_port}{path}"

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def site() -> Iterator[Site]:
    with contextlib.closing(Site()) as one:
        yield one


def _send(
    handler: Any, status: int, body: bytes = b"", *, promised: int | None = None, **headers: str
) -> None:
    handler.send_response(status)
    headers = {"Content-Length": str(len(body) if promised is None else promised)} | headers
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def _whole(handler: Any) -> None:
    _send(handler, 200, BODY, ETag='"one"')


def _cutting(after: int, *, etag: str = '"one"') -> Answer:
    """Answer as a host with ranges does, but break off after some bytes."""

    def answer(handler: Any) -> None:
        start = 0
        if handler.headers["If-Range"] == etag:
            start = int(handler.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        body = BODY[start:]
        extra = {"Content_Range": f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"} if start else {}
        _send(handler, 206 if start else 200, body[:after], promised=len(body), ETag=etag, **extra)

    return answer


def test_a_file_arrives_whole_and_progress_is_told(site: Site, tmp_path: Path) -> None:
    site.answers["/file"] = _whole
    seen: list[tuple[int, int | None]] = []

    fetch(
        site.url("/file"),
        tmp_path / "file",
        sha256=SHA256,
        progress=lambda done, all_: seen.append((done, all_)),
    )

    assert BODY == (tmp_path / "file").read_bytes()
    assert (len(BODY), len(BODY)) == seen[-1]
    assert [tmp_path / "file"] == list(tmp_path.iterdir())


def test_a_cut_connection_is_resumed_where_it_stopped(site: Site, tmp_path: Path) -> None:
    site.answers["/file"] = _cutting(4000)

    fetch(site.url("/file"), tmp_path / "file", sha256=SHA256)

    assert BODY == (tmp_path / "file").read_bytes()
    assert [None, "bytes=4000-", "bytes=8000-"] == [asked.get("range") for _, asked in site.asked]


def test_after_three_resumptions_the_rest_is_left_to_the_next_call(site: Site, tmp_path: Path) -> None:
    site.answers["/file"] = _cutting(2500)
    with pytest.raises(FetchError, match="cut 4 times"):
        fetch(site.url("/file"), tmp_path / "file", sha256=SHA256)
    assert not (tmp_path / "file").exists()

    site.asked.clear()
    fetch(site.url("/file"), tmp_path / "file", sha256=SHA256)

    assert BODY == (tmp_path / "file").read_bytes()
    assert ["bytes=10000-"] == [asked.get("range") for _, asked in site.asked]


def test_a_file_that_changed_meanwhile_is_fetched_anew(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(b"bytes of an older version")
    (tmp_path / "file.part.etag").write_text('"zero"')
    site.answers["/file"] = _cutting(len(BODY))

    fetch(site.url("/file"), tmp_path / "file", sha256=SHA256)

    assert BODY == (tmp_path / "file").read_bytes()


def test_a_part_of_unknown_version_is_not_resumed(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(b"who knows")
    site.answers["/file"] = _whole

    fetch(site.url("/file"), tmp_path / "file", sha256=SHA256)

    assert [None] == [asked.get("range") for _, asked in site.asked]


def test_a_part_that_is_longer_than_the_file_is_fetched_anew(site: Site, tmp_path: Path) -> None:
    def answer(handler: Any) -> None:
        if handler.headers["Range"]:
            _send(handler, 416)
        else:
            _whole(handler)

    (tmp_path / "file.part").write_bytes(BODY)
    (tmp_path / "file.part.etag").write_text('"one"')
    site.answers["/file"] = answer

    fetch(site.url("/file"), tmp_path / "file", sha256=SHA256)

    assert BODY == (tmp_path / "file").read_bytes()


def test_r48_wrong_bytes_are_removed_and_both_digests_are_shown(site: Site, tmp_path: Path) -> None:
    site.answers["/file"] = _whole

    with pytest.raises(HashMismatchError) as caught:
        fetch(site.url("/file"), tmp_path / "file", sha256="0" * 64)

    assert SHA256 in str(caught.value)
    assert "0" * 64 in str(caught.value)
    assert [] == list(tmp_path.iterdir())


def test_a_host_that_says_nothing_is_given_up_in_time(site: Site, tmp_path: Path) -> None:
    def silent(_: object) -> None:
        site.over.wait()

    site.answers["/file"] = silent

    with pytest.raises(HostSilentError, match=r"127\.0\.0\.1 did not answer within 0\.1 s"):
        fetch(site.url("/file"), tmp_path / "file", timeout_seconds=0.1)


def test_a_host_that_stops_in_the_middle_is_asked_again(site: Site, tmp_path: Path) -> None:
    def stall_once(handler: Any) -> None:
        if len(site.asked) > 1:
            _cutting(len(BODY))(handler)
            return
        _send(handler, 200, BODY[:100], promised=len(BODY), ETag='"one"')
        handler.wfile.flush()
        site.over.wait()

    site.answers["/file"] = stall_once

    fetch(site.url("/file"), tmp_path / "file", sha256=SHA256, timeout_seconds=2)

    assert BODY == (tmp_path / "file").read_bytes()
    assert "bytes=100-" == site.asked[1][1]["range"]


def test_a_file_the_disk_cannot_hold_is_refused_before_it_is_fetched(site: Site, tmp_path: Path) -> None:
    too_much = shutil.disk_usage(tmp_path).total * 2
    site.answers["/file"] = lambda handler: _send(handler, 200, b"x", promised=too_much)

    with pytest.raises(NoSpaceError, match=r"needs .* has .* free"):
        fetch(site.url("/file"), tmp_path / "file")

    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("promised", [True, False])
def test_more_than_allowed_is_refused(site: Site, tmp_path: Path, promised: bool) -> None:
    def unannounced(handler: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(BODY)

    site.answers["/file"] = _whole if promised else unannounced

    with pytest.raises(FetchError, match=r"more than the 1\.0 KiB allowed"):
        fetch(site.url("/file"), tmp_path / "file", max_bytes=1024)

    assert not (tmp_path / "file.part").exists()


def test_a_refusal_of_the_host_is_shown_without_the_query(site: Site, tmp_path: Path) -> None:
    site.answers["/file?token=canary"] = lambda handler: _send(handler, 404)

    with pytest.raises(FetchError, match="/file answered 404 Not Found") as caught:
        fetch(site.url("/file?token=canary"), tmp_path / "file")

    assert "canary" not in str(caught.value)


def test_a_folder_that_is_missing_is_an_error_of_state(site: Site, tmp_path: Path) -> None:
    site.answers["/file"] = _whole
    with pytest.raises(StateError, match="cannot be written"):
        fetch(site.url("/file"), tmp_path / "absent" / "file")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/file",
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "https://me:canary@example.com/",
        "x",
    ],
)
def test_r48_only_https_is_fetched_from_elsewhere(tmp_path: Path, url: str) -> None:
    with pytest.raises(FetchError, match="not a plain https address") as caught:
        fetch(url, tmp_path / "file")
    assert "canary" not in str(caught.value)


def test_r48_a_redirect_to_plain_http_elsewhere_is_not_followed(site: Site, tmp_path: Path) -> None:
    site.answers["/file"] = lambda handler: _send(handler, 302, Location="http://example.com/file")
    with pytest.raises(FetchError, match=r"http://example\.com/file is not a plain https address"):
        fetch(site.url("/file"), tmp_path / "file")


def test_a_key_is_sent_to_the_first_host_only(site: Site, tmp_path: Path) -> None:
    with contextlib.closing(Site()) as other:
        site.answers["/file"] = lambda handler: _send(handler, 302, Location="/moved")
        site.answers["/moved"] = lambda handler: _send(handler, 307, Location=other.url("/file"))
        other.answers["/file"] = _whole

        fetch(site.url("/file"), tmp_path / "file", headers={"Authorization": "Bearer key"})

        assert ["Bearer key", "Bearer key"] == [asked.get("authorization") for _, asked in site.asked]
        assert [None] == [asked.get("authorization") for _, asked in other.asked]


def test_redirects_in_a_circle_end(site: Site, tmp_path: Path) -> None:
    site.answers["/file"] = lambda handler: _send(handler, 302, Location="/file")
    with pytest.raises(FetchError, match="redirects more than 5 times"):
        fetch(site.url("/file"), tmp_path / "file")


def test_a_host_that_cannot_be_reached_is_an_error(site: Site, tmp_path: Path) -> None:
    url = site.url("/file")
    site.close()
    with pytest.raises(FetchError, match="cannot be reached"):
        fetch(url, tmp_path / "file")


def test_json_is_returned_as_values(site: Site) -> None:
    site.answers["/api"] = lambda handler: _send(handler, 200, b'{"tag": "b1"}')
    assert {"tag": "b1"} == fetch_json(site.url("/api"), 1024)


def test_what_is_not_valid_json_is_an_error(site: Site) -> None:
    site.answers["/api"] = lambda handler: _send(handler, 200, b"<html>")
    with pytest.raises(FetchError, match="is not valid JSON"):
        fetch_json(site.url("/api"), 1024)


def test_a_body_that_is_too_large_is_an_error(site: Site) -> None:
    site.answers["/api"] = _whole
    with pytest.raises(FetchError, match="larger than 100 B"):
        fetch_bytes(site.url("/api"), 100)


@pytest.mark.parametrize(
    ("named", "proxy"),
    [
        ({}, {}),
        ({"https": "http://a:1"}, {"https": "http://a:1"}),
        ({"https": "a:1"}, {"https": "a:1"}),
        ({"all": "http://a:1"}, {"https": "http://a:1"}),
        ({"https": "http://a:1", "all": "socks5://b:2"}, {"https": "http://a:1"}),
        ({"http": "http://a:1"}, {}),
        ({"all": "socks5://b:2", "no": "hub.example"}, {}),
        ({"https": "http://a:1", "no": "*"}, {}),
        ({"https": "http://a:1", "no": "other, .example:443"}, {}),
        ({"https": "http://a:1", "no": "ample"}, {"https": "http://a:1"}),
    ],
)
def test_the_proxy_of_an_address_is_the_one_that_the_environment_names(
    named: dict[str, str], proxy: dict[str, str]
) -> None:
    assert proxy == proxies_for("https://hub.example/x", named)


@pytest.mark.parametrize(
    ("variable", "kind"), [("all", "socks5"), ("all", "socks5h"), ("https", "socks4"), ("https", "ftp")]
)
def test_a_proxy_that_relayd_does_not_speak_to_is_an_error_that_names_the_variable(
    variable: str, kind: str
) -> None:
    with pytest.raises(FetchError, match=f"{variable.upper()}_PROXY names a proxy by {kind},") as refused:
        proxies_for("https://hub.example/x", {variable: f"{kind}://user:secret@proxy:1080"})

    assert "HTTPS_PROXY" in refused.value.remedy
    assert "secret" not in str(refused.value)
