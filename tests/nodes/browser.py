"""A person at the UI: a real Chromium, what is on its screen, and a picture of each screen to look at."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import APIResponse, Locator, Page, Route, expect, sync_playwright
from playwright.sync_api import TimeoutError as TooLate

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
# The machine may be busy with other tests.
SECONDS = 40
RUN_SECONDS = 300
# A click on a row that is replaced meanwhile is lost.
TRIES = 4


@dataclass
class Person:
    """Somebody who reads what is on the screen and clicks on it."""

    page: Page
    folder: Path
    seen: list[Path] = field(default_factory=list)

    def look(self, name: str) -> None:
        """Keep a picture of the whole page, for whoever wants to see it."""
        path = self.folder / f"{len(self.seen) + 1:02}-{name}.png"
        self.page.screenshot(path=path, full_page=True)
        self.seen.append(path)

    def sees(self, text: str | re.Pattern[str], seconds: float = SECONDS) -> None:
        """The text is on the screen, now or soon."""
        expect(self.page.get_by_text(text).first).to_be_visible(timeout=seconds * 1000)

    def follow(self, name: str) -> None:
        self.page.get_by_role("link", name=name, exact=True).first.click()

    def goes_to(self, link: Locator, page: str) -> None:
        """Follow a link of a list to a page of this kind; again where the list was just drawn anew."""
        patience = SECONDS * 1000 / TRIES
        for _ in range(TRIES):
            with suppress(TooLate):
                link.click(timeout=patience)
            with suppress(TooLate):
                self.page.wait_for_url(f"**/{page}/**", timeout=patience)
                return
        pytest.fail(f"no {page} after {TRIES} clicks: {self.page.url}", pytrace=False)

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).first.click()

    def choose(self, item: str) -> None:
        """Take an item of the menu or list that is open."""
        items = self.page.get_by_role("menuitem", name=item, exact=True)
        items.or_(self.page.get_by_role("option", name=item, exact=True)).first.click()

    def field(self, label: str) -> Locator:
        """A field of a form by what stands above it, also when that says that it is optional."""
        return self.page.get_by_label(re.compile(rf"^{re.escape(label)}( \(Optional\))?$"))

    def tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name, exact=True).click()

    def row(self, *texts: str) -> Locator:
        """The row of a table that has all of the texts."""
        rows = self.page.get_by_role("row")
        for text in texts:
            rows = rows.filter(has_text=text)
        return rows.first


@dataclass
class Assets:
    """What the UI consists of, fetched past the browser, and each of it once.

    Beds that come and go beside it change this machine's network; then Chromium breaks off all that it is
    loading (ERR_NETWORK_CHANGED), and a page that lacks one of its hundred scripts stays empty. A connection
    that the server closes just as it is used again (ECONNRESET) is no answer either: a new one is tried.
    """

    fetched: dict[str, APIResponse] = field(default_factory=dict)

    def give(self, route: Route) -> None:
        url = route.request.url
        response = self.fetched.get(url) or route.fetch(max_retries=TRIES)
        if response.ok:
            self.fetched[url] = response
        route.fulfill(response=response)


@contextmanager
def sit_down(url: str, folder: Path) -> Iterator[Person]:
    """Somebody with a browser in front of the UI, where nobody was before."""
    chromium = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    if chromium is None:
        pytest.fail("there is no Chromium: docker/browser installs it", pytrace=False)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=list(QUIET))
        page = browser.new_page(base_url=url, viewport={"width": 1400, "height": 1000})
        page.route("**/assets/**", Assets().give)
        page.set_default_timeout(SECONDS * 1000)
        expect.set_options(timeout=SECONDS * 1000)
        try:
            yield Person(page, folder)
        finally:
            browser.close()
