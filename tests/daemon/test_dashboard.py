"""Is the dashboard reached by a link that works once, and is its session worth nothing without its token?"""

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest

from relayd.daemon.mergepatch import patched
from tests.daemons import DEADLINE_SECONDS, FAST, Daemon, wait_until

pytestmark = pytest.mark.real

KEY = "an-administrators-key-0123456789"


@dataclass
class Browser:
    """Keeps a cookie and a token, and sends what browsers send."""

    url: str
    fields: dict[str, str] = field(default_factory=lambda: {"Sec-Fetch-Site": "same-origin"})
    key: str = ""

    def open(self, method: str, path: str, body: object = None) -> http.client.HTTPResponse:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=DEADLINE_SECONDS)
        declared = {} if body is None else {"Content-Type": "application/json"}
        fields = {"Connection": "close", **self.fields, **declared}
        connection.request(method, path, None if body is None else json.dumps(body), fields)
        return connection.getresponse()

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        with closing(self.open(method, path, body)) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text else None

    def log_in(self, **body: str) -> int:
        with closing(self.open("POST", "/ui/session", body)) as answer:
            report = json.loads(answer.read())
            if answer.status == 200:
                cookie = str(answer.headers["Set-Cookie"])
                assert {"HttpOnly", "SameSite=Strict", "Path=/"} < set(cookie.split("; "))
                self.fields |= {"Cookie": cookie.partition(";")[0], "X-Relayd-CSRF": report["csrf"]}
                self.key = report["inference_key"]
            return answer.status

    def live(self) -> Iterator[dict[str, Any]]:
        """Yield the state of the live feed, revision by revision."""
        state: dict[str, Any] = {}
        with closing(self.open("GET", "/admin/live")) as answer:
            for line in answer:
                if line.startswith(b"data: "):
                    event = json.loads(line.removeprefix(b"data: "))
                    state = event["state"] if "state" in event else patched(state, event["patch"])
                    yield state


def link(daemon: Daemon) -> str:
    shown = daemon.run("ui", "--json")
    assert 0 == shown.returncode, shown.stderr
    url = str(json.loads(shown.stdout)["url"])
    assert url.startswith(f"{daemon.url}/ui/#link=")
    return url.partition("#link=")[2]


def test_a_link_opens_the_dashboard_once_and_without_any_key(start_daemon: Callable[..., Daemon]) -> None:
    daemon = start_daemon(FAST, "--demo")
    browser, token = Browser(daemon.url), link(daemon)

    assert (403, 200, 403) == (
        browser.ask("GET", "/admin/now")[0],
        browser.log_in(link=token),
        Browser(daemon.url).log_in(link=token),
    )
    assert "demo" == browser.ask("GET", "/admin/now")[1]["status"]["models"][0]["name"]
    assert "" == browser.key, "no key is needed for models"
    assert 200 == browser.ask("POST", "/admin/models/demo/pin", {})[0]


def test_r8_a_session_is_for_its_page_and_for_administration_only(
    start_daemon: Callable[..., Daemon],
) -> None:
    daemon = start_daemon(f'{FAST}\n[server]\napi_key = "{KEY}"\n', "--demo")
    browser = Browser(daemon.url)
    assert (401, 200) == (browser.log_in(key="wrong-key-wrong-key-wrong"), browser.log_in(key=KEY))
    own = dict(browser.fields)

    assert 200 == browser.ask("GET", "/ui/session")[0]
    assert 401 == browser.ask("GET", "/v1/models")[0], "a session asks no model"
    browser.fields = own | {"X-Relayd-CSRF": ""}
    assert 401 == browser.ask("GET", "/admin/now")[0]
    assert 401 == browser.ask("POST", "/admin/models/demo/unload", {})[0]
    browser.fields = own | {"Origin": "http://127.0.0.1:1", "Sec-Fetch-Site": "same-site"}
    assert 403 == browser.ask("POST", "/admin/models/demo/unload", {})[0]
    browser.fields = own | {"Authorization": f"Bearer {browser.key}"}
    assert 200 == browser.ask("GET", "/v1/models")[0], "the page has a key for models"
    browser.fields = {"Authorization": f"Bearer {browser.key}"}
    assert 403 == browser.ask("GET", "/admin/now")[0], "which is for nothing else"


def test_a_session_outlives_an_upgrade_and_the_feed_shows_what_changes(
    start_daemon: Callable[..., Daemon],
) -> None:
    daemon = start_daemon(FAST, "--demo")
    browser = Browser(daemon.url)
    assert 200 == browser.log_in(link=link(daemon))
    feed = browser.live()
    assert "ready" == next(feed)["status"]["models"]["demo"]["replicas"]["demo#0"]["state"]
    assert 200 == browser.ask("POST", "/admin/models/demo/unload", {})[0]
    for state in feed:
        if state["status"]["models"]["demo"]["replicas"]["demo#0"]["state"] == "cold":
            break
    feed.close()  # type: ignore[attr-defined]  # it is a generator
    assert 200 == browser.ask("POST", "/admin/models/demo/load", {})[0]

    assert 0 == daemon.run("upgrade").returncode
    wait_until(lambda: browser.ask("GET", "/admin/now")[0] == 200)


def test_the_files_run_nothing_but_themselves_and_paths_lead_to_them(
    start_daemon: Callable[..., Daemon],
) -> None:
    browser = Browser(start_daemon(FAST, "--demo").url)
    with closing(browser.open("GET", "/ui/requests")) as page:
        assert (200, "text/html; charset=utf-8") == (page.status, page.headers["Content-Type"])
        assert str(page.headers["Content-Security-Policy"]).startswith(
            "default-src 'none'; script-src 'self';"
        )
        etag, text = page.headers["ETag"], page.read().decode()
    assert "<style" not in text
    assert " style=" not in text
    assert " on" not in "".join(piece.partition(">")[0] for piece in text.split("<script")[1:])
    browser.fields = {"If-None-Match": etag}
    assert 304 == browser.ask("GET", "/ui/")[0]
    browser.fields = {}
    for path, place in (
        ("/ui", "/ui/"),
        ("/dashboard", "/ui/"),
        ("/setup", "/ui/setup"),
        ("/integrate", "/ui/connect"),
    ):
        with closing(browser.open("GET", path)) as moved:
            assert (308, place) == (moved.status, moved.headers["Location"])
    for missing in ("/ui/none.js", "/ui/../secret.js", "/ui/%2e%2e/api/guard.py", "/ui/pages/../index.html"):
        assert 404 == browser.ask("GET", missing)[0]
    browser.fields = {
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-Dest": "document",
    }
    with closing(browser.open("GET", "/ui/")) as visit:
        assert 200 == visit.status, "a link of another site leads here"
    assert 403 == browser.ask("GET", "/admin/now")[0]
    browser.fields |= {"Sec-Fetch-Dest": "iframe"}
    assert 403 == browser.ask("GET", "/ui/")[0]
