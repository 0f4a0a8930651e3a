"""index.html: the catalogue for people.

The page has no part from another server; its Content-Security-Policy allows exactly its own style
and script, by their digests (W3C, Content Security Policy Level 3). Without scripts only the
buttons that copy a command are absent.
"""

import base64
import hashlib
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from string import Template

from build.words import counted
from ci.catalogue.catalogue import CHANGES, TENTHS, Catalogue, CatalogueImage, Entry
from ci.release.version import is_prerelease
from ci.report.table import escape as printable
from ci.report.table import size_text

HERE = Path(__file__).parent
PAGE_TEMPLATE = Template((HERE / "page.html.in").read_text(encoding="utf-8"))
STYLE = (HERE / "page.css").read_text(encoding="utf-8")
SCRIPT = (HERE / "page.js").read_text(encoding="utf-8")
MIB = 1024 * 1024


def format_page(catalogue: Catalogue, *, title: str) -> bytes:
    """Return the page; equal catalogues give equal bytes."""
    releases = "\n".join(_release(entry) for entry in catalogue.entries)
    text = PAGE_TEMPLATE.substitute(
        title=_text(title),
        policy=content_security_policy(),
        style=STYLE,
        script=SCRIPT,
        count=counted(len(catalogue.entries), "release"),
        releases=releases or "<p>No release yet.</p>",
    )
    return text.encode()


def content_security_policy() -> str:
    """Return the policy of the page, which allows its one style and its one script."""
    style, script = _digest(STYLE), _digest(SCRIPT)
    return (
        # The icon is an empty data: URL, or else browsers ask for /favicon.ico.
        f"default-src 'none'; img-src data:; style-src '{style}'; script-src '{script}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _release(entry: Entry) -> str:
    version = _text(entry.version)
    day = datetime.fromtimestamp(entry.epoch, UTC).strftime("%Y-%m-%d")
    withdrawn = (
        f'<p class="withdrawn" role="note"><strong>Withdrawn:</strong> {_text(entry.withdrawn)}'
        " Do not import it.</p>"
        if entry.withdrawn
        else ""
    )
    trial = " (prerelease)" if is_prerelease(entry.version) else ""
    counts = [f"{entry.changes[kind]} {kind}" for kind in CHANGES if entry.changes.get(kind)]
    changes = _text(", ".join(counts) or "none changed")
    previous = _text(entry.previous)
    since = f"<p>Packages since {previous}: {changes}.</p>" if previous else ""
    return f"""\
<article id="{version}" aria-labelledby="title-{version}">
<h2 id="title-{version}">{version}{trial}</h2>
<p>Alpine {_text(entry.alpine)}, packages of <time datetime="{day}">{day}</time>, built from commit
<code>{_text(entry.commit[:12])}</code> of {_text(entry.repository)}.</p>
{withdrawn}{since}
{"".join(_image(entry, image) for image in entry.images)}</article>"""


def _image(entry: Entry, image: CatalogueImage) -> str:
    seconds = f"{image.ssh_tenths / TENTHS:.1f} s in an emulated machine"
    rows = (
        ("File", f'<a href="{_text(image.url)}">{_text(image.file)}</a>'),
        ("Size", f"{size_text(image.size)}, disk {image.disk // MIB} MiB"),
        ("sha256", f"<code>{_text(image.sha256)}</code>"),
        *([("Packages", str(image.packages))] if image.packages else []),
        ("Boots to ssh in", seconds),
    )
    listed = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows)
    verify = f"nox -s verify -- {entry.version} --repository {entry.repository}"
    import_ = (
        f"nox -s import -- {entry.version} --repository {entry.repository} "
        f"--variant {image.variant} --region fra1 --via s3://YOUR-BUCKET"
    )
    commands = f"""<p>Verify it first, then import it:</p>
<pre><code>{_text(verify)}</code></pre>
<pre><code>{_text(import_)}</code></pre>
"""
    return f"""\
<section aria-label="Image {_text(image.variant)}">
<h3>{_text(image.variant)}</h3>
<dl>{listed}</dl>
{"" if entry.withdrawn else commands}</section>
"""


def _text(text: str) -> str:
    """Return a text of the catalogue for HTML: nothing of it becomes markup."""
    return escape(printable(text), quote=True)
