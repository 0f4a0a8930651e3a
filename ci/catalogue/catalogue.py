"""catalogue.json: all releases of a mirror, the newest first."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial

from build.errors import PublishError
from build.snapshot.compare import KINDS
from build.tables import Table
from ci.config import REPOSITORY
from ci.release.manifest import COMMIT, FILE_NAME, VERSION
from ci.release.version import parse_tag

FORMAT = 1
CATALOGUE, PAGE, FEED = "catalogue.json", "index.html", "feed.xml"
"""Names of the files, below the prefix of the mirror."""
MAX_CATALOGUE = 8 << 20
"""Bytes of a catalogue.json that is read."""
URL = re.compile(r"https?://[!-~]{1,2000}")
CHANGES = KINDS
"""Kinds of changes of a package."""
MAX_REASON = 300
REASON = re.compile(rf"[^\x00-\x1f\x7f]{{0,{MAX_REASON}}}")
WORD = re.compile(r"[A-Za-z0-9._+-]{1,100}")
TENTHS = 10
"""JSON has no exact decimal fractions: seconds are whole tenths in the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueImage:
    """One image of a release."""

    variant: str
    file: str
    url: str
    size: int
    """Of the compressed file, in bytes."""
    sha256: str
    disk: int
    """Size of the disk in bytes, which a droplet needs at least."""
    packages: int
    ssh_tenths: int
    """Time from power-on to ssh in tenths of a second, as the boot report measured it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One release."""

    version: str
    """Also its tag."""
    repository: str
    commit: str
    alpine: str
    """Alpine's branch, such as `3.24`."""
    epoch: int
    """Newest build time of a package, in seconds since 1970; the only time that is known."""
    images: tuple[CatalogueImage, ...]
    previous: str
    """Version that `changes` counts from; empty when there is none."""
    changes: Mapping[str, int]
    """Number of packages by kind of change (CHANGES)."""
    withdrawn: str
    """The reason why the release must not be used any more; empty when it may."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The releases of a mirror."""

    entries: tuple[Entry, ...] = ()
    """The newest first."""

    def with_entry(self, entry: Entry) -> "Catalogue":
        """Return the catalogue with `entry` in the place of the one of its version.

        A release that was withdrawn stays so.
        """
        for each in self.entries:
            if each.version == entry.version:
                entry = replace(entry, withdrawn=each.withdrawn)
        others = [each for each in self.entries if each.version != entry.version]
        return Catalogue(tuple(sorted([*others, entry], key=_order, reverse=True)))

    def with_withdrawn(self, version: str, reason: str) -> "Catalogue":
        """Return the catalogue with a release marked as withdrawn.

        Raises:
            PublishError: there is no such release, or the reason is empty or too long.
        """
        if version not in [each.version for each in self.entries]:
            known = ", ".join(each.version for each in self.entries) or "none"
            raise PublishError(f"{version}: not in the catalogue, which has: {known}")
        if not reason or not REASON.fullmatch(reason):
            raise PublishError(f"the reason: expected 1 to {MAX_REASON} printable characters")
        return Catalogue(
            tuple(
                replace(each, withdrawn=reason) if each.version == version else each
                for each in self.entries
            )
        )


def _order(entry: Entry) -> tuple[int, tuple[int, ...], list[int]]:
    """Return the sort key: the newest packages last, then as tags, then by their numbers."""
    tag = parse_tag(entry.version)
    numbers = [int(number) for number in re.findall(r"\d{1,18}", entry.version)]
    return entry.epoch, tag.order if tag else (), numbers


def dump_catalogue(catalogue: Catalogue) -> bytes:
    """Return catalogue.json; equal catalogues give equal bytes."""
    document = {"format": FORMAT, "releases": [asdict(entry) for entry in catalogue.entries]}
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


def parse_catalogue(content: bytes, *, where: str) -> Catalogue:
    """Return the catalogue in catalogue.json.

    Raises:
        PublishError: it is no such document; the message names the key and the value.
    """
    hint = "move the file away; `nox -s mirror` writes a new one with this release"
    fail = partial(PublishError, hint=hint)
    if len(content) > MAX_CATALOGUE:
        raise fail(f"{where}: {len(content)} bytes, expected at most {MAX_CATALOGUE}")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise fail(f"{where}: not JSON: {error}") from None
    top = Table(where, document, fail)
    top.only("format", "releases")
    top.number("format", low=FORMAT, high=FORMAT)
    return Catalogue(tuple(_entry(table) for table in top.tables("releases")))


def _entry(table: Table) -> Entry:
    table.only(*Entry.__dataclass_fields__)
    changes = table.table("changes")
    changes.only(*CHANGES)
    return Entry(
        version=table.text("version", pattern=VERSION),
        repository=table.text("repository", pattern=REPOSITORY),
        commit=table.text("commit", pattern=COMMIT),
        alpine=table.text("alpine", pattern=WORD),
        epoch=table.number("epoch"),
        images=tuple(_image(each) for each in table.tables("images")),
        previous=table.text("previous", pattern=re.compile(rf"(?:{VERSION.pattern})?")),
        changes={kind: changes.number(kind) for kind in CHANGES if kind in changes.values},
        withdrawn=table.text("withdrawn", pattern=REASON),
    )


def _image(table: Table) -> CatalogueImage:
    table.only(*CatalogueImage.__dataclass_fields__)
    return CatalogueImage(
        variant=table.text("variant", pattern=WORD),
        file=table.text("file", pattern=FILE_NAME),
        url=table.text("url", pattern=URL),
        size=table.number("size"),
        sha256=table.sha256("sha256"),
        disk=table.number("disk"),
        packages=table.number("packages"),
        ssh_tenths=table.number("ssh_tenths"),
    )
