"""The catalogue in Chromium: readable by everyone, silent on the console, without a request."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, sync_playwright

from ci.catalogue.catalogue import Catalogue
from ci.catalogue.page import format_page
from ci.environment import find_tool
from ci.rehearsal.http_server import serve
from tests import skips
from tests.catalogue.test_catalogue import HOSTILE, entry, listed

pytestmark = pytest.mark.full
HOSTILE_REASON = " ".join(text for text in HOSTILE if text.isprintable())
TITLE = "snowdrop: images of octo/snowdrop"
CATALOGUES = {
    "none": Catalogue(),
    "one": listed(1),
    "forty": listed(*range(1, 41)),
    "hostile": listed(1, 2).with_withdrawn(entry(1).version, HOSTILE_REASON),
}
SIZES: dict[str, ViewportSize] = {
    "wide": {"width": 1280, "height": 900},
    "phone": {"width": 390, "height": 844},
}
GRAVE = {"serious", "critical"}
"""Impacts of axe-core's findings that fail the test."""


@dataclass
class Shown:
    """A page in the browser, and what the browser said and asked for."""

    page: Page
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def findings(self) -> list[str]:
        """Return axe-core's grave findings."""
        found: list[dict[str, Any]] = Axe().run(self.page).response["violations"]
        return [f"{each['id']}: {each['help']}" for each in found if each["impact"] in GRAVE]


@pytest.fixture(scope="module", name="browser")
def _browser() -> Iterator[Browser]:
    program = find_tool("chromium")
    if program is None:
        pytest.skip(f"{skips.TOOL}: chromium")
    with sync_playwright() as playwright:
        # Playwright's own Chromium would be a download; the one of Debian does.
        browser = playwright.chromium.launch(executable_path=program)
        yield browser
        browser.close()


@contextmanager
def shown(context: BrowserContext, content: bytes) -> Iterator[Shown]:
    """Open a page from a server, as a reader does."""

    def application(environ: dict[str, str], start: object) -> list[bytes]:
        result.requests.append(environ["PATH_INFO"])
        assert callable(start)
        start("200 OK", [("Content-Type", "text/html; charset=utf-8")])
        return [content]

    result = Shown(context.new_page())
    result.page.on("console", lambda message: result.console.append(message.text))
    result.page.on("pageerror", lambda error: result.console.append(str(error)))
    with serve(application) as url:
        result.page.goto(f"{url}/index.html")
        yield result
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", CATALOGUES)
def test_the_page_is_accessible_fits_and_has_nothing_to_say(
    name: str, size: str, scheme: str, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = format_page(CATALOGUES[name], title=TITLE)
    dark = scheme == "dark"
    context = browser.new_context(
        viewport=SIZES[size], color_scheme="dark" if dark else "light", is_mobile=size == "phone"
    )
    with shown(context, content) as reader:
        page = reader.page
        # For a person: the pictures of the last runs stay in pytest's temporary folder.
        picture = tmp_path_factory.getbasetemp() / f"{name}-{size}-{scheme}.png"
        page.screenshot(path=picture, full_page=name != "forty")
        assert reader.findings() == []
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == ("rgb(13, 17, 23)" if dark else "rgb(255, 255, 255)")
        assert page.locator("article").count() == len(CATALOGUES[name].entries)
        assert (reader.console, reader.requests) == ([], ["/index.html"])


def test_a_button_copies_its_command_exactly(browser: Browser) -> None:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    with shown(context, format_page(listed(1), title=TITLE)) as reader:
        verify, import_ = reader.page.locator("pre > code").all_text_contents()
        buttons = reader.page.locator("pre > button")
        for number, command in enumerate((verify, import_)):
            buttons.nth(number).click()
            assert buttons.nth(number).text_content() == "Copied"
            assert reader.page.evaluate("navigator.clipboard.readText()") == command
        assert verify == f"nox -s verify -- {entry(1).version} --repository octo/snowdrop"
        assert reader.console == []


def test_without_scripts_everything_but_the_buttons_is_there(browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    with shown(context, format_page(listed(1, 2), title=TITLE)) as reader:
        text = reader.page.locator("body").inner_text()
        assert reader.page.locator("button").count() == 0
        assert [each.version for each in listed(1, 2).entries if each.version not in text] == []
        assert entry(1).images[0].sha256 in text
        assert text.count("nox -s import -- ") == 2


def test_what_the_policy_forbids_and_what_nobody_can_read_is_noticed(browser: Browser) -> None:
    """The first test can fail: a script that the policy does not name, and grey text on grey."""
    content = format_page(listed(1), title=TITLE)
    content = content.replace(b"</main>", b"<script>1</script><button></button></main>")
    content = content.replace(b"--ink: #1f2328", b"--ink: #aaaaaa")
    with shown(browser.new_context(color_scheme="light"), content) as reader:
        assert any("Content Security Policy" in text for text in reader.console)
        names = {each.partition(":")[0] for each in reader.findings()}
        # The policy is for the page as it was written: the changed style is not applied either.
        assert "button-name" in names
