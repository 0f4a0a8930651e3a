"""Release notes in GitHub's Markdown; they begin with how to verify the release."""

from collections.abc import Sequence
from pathlib import Path
from string import Template

from ci.config import ReleaseConfig
from ci.publish.plan import import_urls
from ci.publish.release_files import ReleaseFiles
from ci.release.lock_diff import Difference, format_markdown, read_document
from ci.release.manifest import (
    CHECKSUMS,
    DIFFERENCE_BUNDLE,
    MANIFEST,
    is_bundle,
)
from ci.release.statements import read_predicate
from ci.report.table import markdown_table, size_text
from ci.verify.trust.policy import build_identity

VERIFY_NOTES = Template(Path(__file__).with_name("verify_notes.md").read_text(encoding="utf-8"))
OTHER_ROLES = {MANIFEST: "manifest", CHECKSUMS: "checksums"}
"""Roles of the files that are not artifacts of the manifest."""


def release_notes(config: ReleaseConfig, release: ReleaseFiles) -> str:
    """Return the notes of `release`; equal releases have equal notes.

    Raises:
        VerificationError: the statement with the changes cannot be read.
    """
    manifest = release.manifest
    parts = [
        VERIFY_NOTES.substitute(
            repository=manifest.repository,
            tag=manifest.tag,
            identity=build_identity(manifest.repository, manifest.tag),
            issuer=config.sign.issuer,
        ).rstrip()
    ]
    if config.spaces:
        parts.append(_import(import_urls(config.spaces, manifest)))
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


def _import(urls: Sequence[str]) -> str:
    listed = "\n".join(urls)
    return f"""\
## Import it

DigitalOcean can import the disk image from this URL, after you have verified it:

```
{listed}
```"""


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
