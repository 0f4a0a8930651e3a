"""The entry of a release, from its manifest and the statements beside it."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from build.errors import VerificationError
from build.tables import Table
from ci.attest.statements import REPORT_FIELD
from ci.catalogue.catalogue import TENTHS, WORD, CatalogueImage, Entry
from ci.config import SpacesConfig
from ci.publish.plan import mirror_url
from ci.release.lock_diff import read_document
from ci.release.manifest import DIFFERENCE_BUNDLE, Artifact, Manifest, boot_bundle, build_bundle
from ci.release.statements import read_predicate

BRANCH = re.compile(r"v?(\d+\.\d+|[a-z]+)")
"""Alpine's branch at the start of a version: `v3.24.20261123`, `edge.20261123`."""
NO_IMAGE = {"builder", "apk"}
"""Closures that are in no image."""


def make_entry(folder: Path, manifest: Manifest, spaces: SpacesConfig) -> Entry:
    """Return the entry of the signed release in `folder`, with the URLs of its mirror.

    The statements were verified or made by the caller: here they are only read.

    Raises:
        VerificationError: a statement has another form.
    """
    branch = BRANCH.match(manifest.version)
    return Entry(
        version=manifest.version,
        repository=manifest.repository,
        commit=manifest.commit,
        alpine=branch[1] if branch else manifest.version,
        epoch=manifest.epoch,
        images=tuple(
            _image(folder, manifest, image, mirror_url(spaces, manifest.version, image.name))
            for image in manifest.of_role("image")
        ),
        previous=manifest.previous or "",
        changes=_changes(folder) if manifest.previous else {},
        withdrawn="",
    )


def _image(folder: Path, manifest: Manifest, image: Artifact, url: str) -> CatalogueImage:
    record, report = (
        Table(name, read_predicate(folder / name), VerificationError)
        for name in (build_bundle(image.name), boot_bundle(image.name))
    )
    # A test result (in-toto, test-result v0.1) with the report beside its own keys.
    seconds = report.table(REPORT_FIELD).table("seconds").get("ssh", "seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        raise report.fail(f"{REPORT_FIELD}.seconds.ssh", "seconds", seconds)
    return CatalogueImage(
        variant=record.text("variant", pattern=WORD),
        file=image.name,
        url=url,
        size=image.size,
        sha256=image.sha256,
        disk=record.table("raw").number("size"),
        packages=_count_packages(folder, manifest, image),
        ssh_tenths=round(seconds * TENTHS),
    )


def _count_packages(folder: Path, manifest: Manifest, image: Artifact) -> int:
    """Return the number of packages in the image, 0 without an image.json."""
    for inventory in manifest.of_role("inventory"):
        if inventory.name.startswith(f"{Path(image.name).stem}."):
            document = json.loads((folder / inventory.name).read_bytes())
            return len(Table(inventory.name, document, VerificationError).tables("packages"))
    return 0


def _changes(folder: Path) -> Mapping[str, int]:
    """Return how many packages of the images changed in which way."""
    predicate = read_predicate(folder / DIFFERENCE_BUNDLE)
    changes = {
        (change.name, change.kind)
        for closure in read_document(predicate, where=DIFFERENCE_BUNDLE).closures
        if closure.name not in NO_IMAGE
        for change in closure.changes
    }
    return dict(Counter(kind for _, kind in sorted(changes)))
