"""The catalogue in Chromium: nothing on the console, no request, readable when wide and narrow."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ci.catalogue.catalogue import Catalogue
from ci.catalogue.page import format_page
from ci.rehearsal.http_server import serve
from tests import skips
from tests.catalogue.test_catalogue import HOSTILE, entry, listed

pytestmark = pytest.mark.full
HOSTILE_REASON = " ".join(text for text in HOSTILE if text.isprintable())
CATALOGUES = {
    "none": Catalogue(),
    "one": listed(1),
    "forty": listed(*range(1, 41)),
    "hostile": listed(1, 2).with_withdrawn(entry(1).version, HOSTILE_REASON),
}
VIEWS = {
    "wide": ("1280,900", "1"),
    "phone": ("500,900", "1"),
    "dark": ("1280,900", "0"),
}
"""Size of the window in pixels, and Blink's preferredColorScheme: 0 is dark, 1 is light."""
CONSOLE = re.compile(r".*CONSOLE.*")


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", CATALOGUES)
def test_chromium_shows_the_page_and_has_nothing_to_say(
    name: str, view: str, tmp_path: Path
) -> None:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip(f"{skips.TOOL}: chromium")
    page = format_page(CATALOGUES[name], title="snowdrop: images of octo/snowdrop")
    asked: list[str] = []

    def application(environ: dict[str, str], start: object) -> list[bytes]:
        asked.append(environ["PATH_INFO"])
        assert callable(start)
        start("200 OK", [("Content-Type", "text/html; charset=utf-8")])
        return [page]

    size, scheme = VIEWS[view]
    picture = tmp_path / "page.png"
    with serve(application) as url:
        done = subprocess.run(
            [
                *(program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                *("--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}"),
                *(f"--window-size={size}", f"--blink-settings=preferredColorScheme={scheme}"),
                *(f"--screenshot={picture}", f"{url}/index.html"),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert picture.stat().st_size > 5000, done.stderr
    assert CONSOLE.findall(done.stderr) == []
    assert asked == ["/index.html"]


def test_a_script_that_the_policy_does_not_name_is_on_the_console(tmp_path: Path) -> None:
    """The test above can fail: Chromium reports what the policy stops."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip(f"{skips.TOOL}: chromium")
    page = format_page(listed(1), title="Images").replace(b"</main>", b"<script>1</script></main>")
    (tmp_path / "index.html").write_bytes(page)
    done = subprocess.run(
        [
            *(program, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"),
            *(f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"),
            (tmp_path / "index.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Content Security Policy" in "".join(CONSOLE.findall(done.stderr))
