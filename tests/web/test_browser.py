"""Does the dashboard do in a browser what its buttons say, without an error or a violation of its policy?"""

import http.client
import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from relayd.desired.demo import demo_model
from tests.daemons import DEADLINE_SECONDS, FAST, Daemon, wait_until
from tests.fakes.hub import running_hub

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from tests.web.browser import CHROMIUM, Dashboard, chromium, dashboard

pytestmark = [pytest.mark.real, pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed")]

Start = Callable[..., Daemon]

REPO, NAME, QUANT = "bartowski/SmolLM2-135M-Instruct-GGUF", "smollm2-135m-instruct", "Q8_0"


@pytest.fixture
def opened() -> Iterator[Dashboard]:
    """A page on which nothing may go wrong."""
    with chromium() as browser, dashboard(browser, viewport={"width": 1280, "height": 900}) as page:
        yield page
        assert [] == page.faults


def states(daemon: Daemon) -> set[str]:
    return {one["state"] for one in daemon.replicas().values()}


def test_setup_leads_from_an_empty_disk_to_the_first_answer(start_daemon: Start, opened: Dashboard) -> None:
    with running_hub() as hub:
        hub.add(REPO, **{f"SmolLM2-135M-Instruct-{QUANT}": Path(demo_model().file).read_bytes()})
        daemon = start_daemon(FAST, wait=False, HF_ENDPOINT=hub.endpoint)
        daemon.await_event("listening")
        opened.enter(daemon)
        opened.go("Setup")
        opened.reads("cores")
        opened.press("Recommend")
        opened.reads("to fetch")

        opened.go("Models")
        opened.page.get_by_label("Model to pull").fill(f"{NAME}:{QUANT}")
        opened.press("Pull")
        opened.reads("Downloaded")
        opened.press("Serve")

        opened.go("Setup")
        opened.page.get_by_role("link", name="Talk with").click()
        talk(opened, "Hello")
        opened.go("Setup")
        opened.page.locator("li.step.done", has_text="Try it").wait_for()


def talk(opened: Dashboard, text: str) -> str:
    """Send a message, and return the whole answer."""
    answers = opened.page.locator(".message.assistant .text")
    before, field = answers.count(), opened.page.get_by_label("Message", exact=True)
    field.fill(text)
    field.press("Enter")
    answers.nth(before).wait_for()
    opened.page.get_by_role("button", name="Send").wait_for()
    return str(answers.nth(before).inner_text())


def test_the_playground_streams_and_tells_speed_and_cache(start_daemon: Start, opened: Dashboard) -> None:
    opened.enter(start_daemon(FAST, "--demo"))
    opened.go("Playground")
    talk(opened, "What are you?")

    assert "relayd" in talk(opened, "What are you?")
    figures = opened.page.locator(".figures").inner_text()
    assert "first word after" in figures
    assert "from cache" in figures


def test_a_model_is_unloaded_and_loaded_by_buttons(start_daemon: Start, opened: Dashboard) -> None:
    daemon = start_daemon(FAST, "--demo")
    opened.enter(daemon)
    opened.press("Unload")
    opened.press("Unload", within="dialog")
    wait_until(lambda: states(daemon) == {"cold"})
    opened.press("Load")
    wait_until(lambda: states(daemon) == {"ready"})
    opened.page.locator(".badge.good", has_text="ready").wait_for()


def test_a_key_is_made_shown_once_and_opens_the_models(start_daemon: Start, opened: Dashboard) -> None:
    daemon = start_daemon(FAST, "--demo")
    opened.enter(daemon)
    opened.go("Keys")
    opened.press("New key")
    opened.page.get_by_label("Name", exact=True).fill("laptop")
    opened.press("Make it", within="dialog")
    secret = opened.page.locator("dialog code.secret").inner_text()
    request = urllib.request.Request(f"{daemon.url}/v1/models", headers={"Authorization": f"Bearer {secret}"})
    with urllib.request.urlopen(request, timeout=DEADLINE_SECONDS) as answer:
        assert "demo" == json.loads(answer.read())["data"][0]["id"]

    opened.page.keyboard.press("Escape")
    opened.page.locator("tr", has_text="laptop").wait_for()
    assert secret not in opened.page.content()


def test_a_request_of_somebody_else_is_cancelled(
    start_daemon: Start, slow_model: Path, opened: Dashboard
) -> None:
    daemon = start_daemon(
        f'{FAST}\n[[model]]\nname = "slow"\nfile = "{slow_model}"\nslots = 1\ncontext = 4096\n'
    )
    opened.enter(daemon)
    opened.go("Requests")
    body = {"model": "slow", "prompt": "on and on", "max_tokens": 4000, "stream": True, "ignore_eos": True}
    request = urllib.request.Request(
        f"{daemon.url}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=DEADLINE_SECONDS) as answer:
        assert answer.readline().startswith(b"data: ")
        opened.press("Cancel")
        opened.press("Cancel the request", within="dialog")
        with pytest.raises(http.client.IncompleteRead) as cut:
            answer.read()

    assert b"cancelled" in cut.value.partial.rpartition(b"data: ")[2], "its client is told"
    opened.page.get_by_label("Recent requests").get_by_text("request_cancelled").wait_for()
    wait_until(lambda: daemon.status()["models"][0]["running"] == 0)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_every_page_is_drawn_at_every_width_without_a_fault(
    start_daemon: Start, width: int, scheme: str
) -> None:
    daemon = start_daemon(FAST, "--demo")
    with (
        chromium() as browser,
        dashboard(browser, viewport={"width": width, "height": 800}, color_scheme=scheme) as opened,
    ):
        opened.enter(daemon)
        names = opened.names()
        assert 11 == len(names)
        for name in names:
            opened.go(name)
            opened.page.locator("#main h1").first.wait_for(state="attached")
            room = opened.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
            assert room[0] <= room[1], f"{name} scrolls sideways: {room}"
        assert [] == opened.faults


def test_a_visitor_without_a_session_sees_how_to_get_one(start_daemon: Start, opened: Dashboard) -> None:
    opened.page.goto(f"{start_daemon(FAST, '--demo').url}/ui/")

    opened.reads("relayd ui")
    opened.page.get_by_label("Key for administration").wait_for()
