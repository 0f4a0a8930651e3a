"""feed.xml: the releases as an Atom feed (RFC 4287)."""

from datetime import UTC, datetime
from xml.sax.saxutils import escape, quoteattr

from ci.catalogue.catalogue import FEED, PAGE, Catalogue, Entry
from ci.report.table import escape as printable


def format_feed(catalogue: Catalogue, *, title: str, base: str) -> bytes:
    """Return the feed; `base` is the URL of the folder with the catalogue, without a slash.

    The time of an entry is the epoch of its release: equal catalogues give equal bytes.
    """
    newest = max((entry.epoch for entry in catalogue.entries), default=0)
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<feed xmlns="http://www.w3.org/2005/Atom">',
        f"<title>{_text(title)}</title>",
        f"<id>{_text(base)}/</id>",
        f"<link rel={quoteattr('self')} href={quoteattr(f'{base}/{FEED}')}/>",
        f"<link href={quoteattr(f'{base}/{PAGE}')}/>",
        f"<updated>{_time(newest)}</updated>",
        f"<author><name>{_text(title)}</name></author>",
        *(line for entry in catalogue.entries for line in _entry(entry, base)),
        "</feed>",
    ]
    return ("\n".join(lines) + "\n").encode()


def _entry(entry: Entry, base: str) -> list[str]:
    page = printable(f"{base}/{PAGE}#{entry.version}")
    state = f"Withdrawn: {entry.withdrawn}. " if entry.withdrawn else ""
    images = "; ".join(f"{image.file} sha256 {image.sha256}" for image in entry.images)
    return [
        "<entry>",
        f"<title>{_text(entry.version)}</title>",
        f"<id>{_text(page)}</id>",
        f"<link href={quoteattr(page)}/>",
        f"<updated>{_time(entry.epoch)}</updated>",
        f"<summary>{_text(f'{state}Alpine {entry.alpine}: {images}')}</summary>",
        "</entry>",
    ]


def _text(text: str) -> str:
    # XML 1.0 has no form at all for most control characters (section 2.2).
    return escape(printable(text))


def _time(epoch: int) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
