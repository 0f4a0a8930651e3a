"""Release notes in GitHub's Markdown; they begin with how to verify the release."""

from collections.abc import Iterator
from pathlib import Path
from string import Template

from build.errors import VerificationError
from build.tables import Table
from ci.attest.statements import REPORT_FIELD
from ci.config import ReleaseConfig, SpacesConfig
from ci.publish.contents import format_contents, read_contents
from ci.publish.plan import import_urls
from ci.publish.release_files import ReleaseFiles
from ci.release.lock_diff import Difference, format_markdown, read_document
from ci.release.manifest import (
    CHECKSUMS,
    DIFFERENCE_BUNDLE,
    MANIFEST,
    Manifest,
    boot_bundle,
    build_bundle,
    is_bundle,
    variant_of,
)
from ci.release.statements import read_predicate
from ci.report.table import markdown_table, size_text
from ci.verify.trust.policy import build_identity

VERIFY_NOTES, IMPORT_NOTES = (
    Template(Path(__file__).with_name(name).read_text(encoding="utf-8"))
    for name in ("verify_notes.md", "import_notes.md")
)
INVENTORY = ".image.json"
"""End of the file with the content of an image."""
OTHER_ROLES = {MANIFEST: "manifest", CHECKSUMS: "checksums"}
"""Roles of the files that are not artifacts of the manifest."""


def release_notes(config: ReleaseConfig, release: ReleaseFiles) -> str:
    """Return the notes of `release`; equal releases have equal notes.

    Raises:
        VerificationError: a statement or an image.json cannot be read.
    """
    manifest = release.manifest
    parts = [
        format_verification(manifest.repository, manifest.tag, config.sign.issuer),
        *_contents(config, manifest),
    ]
    if config.spaces:
        parts.append(f"## Import it\n\n{format_import(config.spaces, manifest)}")
    parts.append(_artifacts(release))
    parts += [
        f"## What changed\n\n{format_markdown(signed_difference(file.path))}"
        for file in release.files
        if file.name == DIFFERENCE_BUNDLE
    ]
    parts.append(
        f"Built from commit `{manifest.commit}` and the lock with sha256 `{manifest.lock_id}`; "
        "a rebuild from both gives the same bytes."
    )
    return "\n\n".join(parts) + "\n"


def format_verification(repository: str, tag: str, issuer: str) -> str:
    """Return how to verify a release, in commands that can be pasted."""
    return VERIFY_NOTES.substitute(
        repository=repository,
        folder=repository.partition("/")[2],
        tag=tag,
        identity=build_identity(repository, tag),
        issuer=issuer,
    ).rstrip()


def format_import(spaces: SpacesConfig, manifest: Manifest) -> str:
    """Return how to import the first image; the URLs of all images, each for one import."""
    images, urls = manifest.of_role("image"), import_urls(spaces, manifest)
    steps = IMPORT_NOTES.substitute(
        tag=manifest.tag,
        repository=manifest.repository,
        variant=variant_of(manifest, images[0]),
        name=manifest.name,
        url=urls[0],
    ).rstrip()
    return "\n".join(["URLs of the mirror:", "", "```", *urls, "```", "", steps])


def _contents(config: ReleaseConfig, manifest: Manifest) -> Iterator[str]:
    """Yield what is in each image, from its signed statements."""
    for image in manifest.of_role("image"):
        record, report = (
            Table(bundle, read_predicate(config.dist / bundle), VerificationError).values
            for bundle in (build_bundle(image.name), boot_bundle(image.name))
        )
        variant = config.build.images.get(variant_of(manifest, image))
        found = read_contents(
            config.dist / f"{Path(image.name).stem}{INVENTORY}",
            record,
            report.get(REPORT_FIELD) or {},
        )
        if found:
            listed = format_contents(found, variant.packages if variant else ())
            yield f"## What is in {image.name}\n\n{listed}"


def _artifacts(release: ReleaseFiles) -> str:
    roles = OTHER_ROLES | {item.name: item.role for item in release.manifest.artifacts}
    rows = [
        [
            f"`{file.name}`",
            roles.get(file.name, ""),
            size_text(file.size),
            file.sha256,
        ]
        for file in sorted(release.files, key=lambda file: file.name)
        if not is_bundle(file.name)
    ]
    table = markdown_table(rows, ["file", "role", "size", "sha256"])
    return f"## Files\n\n{table}\n\nThe signature of each file is `FILE.sigstore.json`."


def signed_difference(bundle: Path) -> Difference:
    """Return the difference in the statement of `bundle`, whose signature is not verified.

    Raises:
        VerificationError: it is not such a statement.
    """
    return read_document(read_predicate(bundle), where=bundle.name)
