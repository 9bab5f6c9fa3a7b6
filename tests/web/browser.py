"""The dashboard in Chromium: a page that notes every error, and the engine's own words about its rules."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, Response, sync_playwright

from tests.daemons import DEADLINE_SECONDS, Daemon

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP: ${event.violatedDirective} forbids ${event.blockedURI} at ${event.sourceFile}`));
"""


@dataclass
class Dashboard:
    """A page of the dashboard as somebody has it open.

    Attributes:
        page: The page.
        faults: Errors on its console, exceptions of its scripts, violations of its policy, and answers
            of the server with status 500 and above.
    """

    page: Page
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(DEADLINE_SECONDS * 1000)
        self.page.add_init_script(_VIOLATIONS)
        self.page.on("console", self._note_console)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("response", self._note_answer)

    def enter(self, daemon: Daemon) -> None:
        """Open the dashboard by the link that `relayd ui` prints."""
        self.page.goto(daemon.client.link().url)
        self.page.get_by_text("live", exact=True).wait_for()

    def go(self, name: str) -> None:
        """Click on a page's name in the bar."""
        link = self.page.get_by_label("Pages").get_by_role("link", name=name)
        link.click()
        self.page.wait_for_function("(name) => document.title.startsWith(name)", arg=name)

    def press(self, name: str, within: str = "#main") -> None:
        """Click on a button by its words."""
        self.page.locator(within).get_by_role("button", name=name, exact=True).first.click()

    def reads(self, text: str) -> None:
        """Wait until a text is on the page."""
        self.page.get_by_text(text).first.wait_for()

    def names(self) -> list[str]:
        """Return the names of all pages, as the bar has them."""
        links = self.page.get_by_label("Pages").get_by_role("link")
        return [str(one.evaluate("(link) => link.firstChild.data")) for one in links.all()]

    def _note_console(self, said: ConsoleMessage) -> None:
        if said.type == "error":
            self.faults.append(said.text)

    def _note_answer(self, answer: Response) -> None:
        if answer.status >= 500:
            self.faults.append(f"{answer.status} {answer.url}")


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Lend a browser without a window."""
    with sync_playwright() as playwright:
        # It runs pages of ours alone; as root, as in containers, its sandbox refuses to start.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def dashboard(browser: Browser, **look: Any) -> Iterator[Dashboard]:
    """Lend a page without cookies of others.

    Args:
        browser: Where it opens.
        look: What playwright takes: viewport, color_scheme, …
    """
    context = browser.new_context(**look)
    try:
        yield Dashboard(context.new_page())
    finally:
        context.close()
