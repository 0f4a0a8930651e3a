"""What a release says of itself, in GitHub's Markdown: how to check it comes first."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path

from build.errors import VerificationError
from ci.config import ReleaseConfig
from ci.publish.plan import import_urls
from ci.publish.release_files import ReleaseFiles
from ci.release.lock_diff import Difference, format_markdown, read_document
from ci.release.manifest import (
    CHECKSUMS,
    DIFFERENCE_BUNDLE,
    MANIFEST,
    Manifest,
    bundle_name,
    is_bundle,
)
from ci.report.table import markdown_table, size_text
from ci.verify.trust.policy import Policy

WHAT = {MANIFEST: "manifest", CHECKSUMS: "checksums"}
"""What the files are that are no artifacts themselves."""


def release_notes(config: ReleaseConfig, release: ReleaseFiles) -> str:
    """Return the notes of `release`; equal releases have equal notes.

    Raises:
        VerificationError: the statement of what changed cannot be read.
    """
    manifest = release.manifest
    parts = [_verify(manifest, config.sign.issuer)]
    if config.spaces:
        parts.append(_import(import_urls(config.spaces, release)))
    parts.append(_artifacts(release))
    parts += [_changes(file.path) for file in release.files if file.name == DIFFERENCE_BUNDLE]
    parts.append(_source(manifest))
    return "\n\n".join(parts) + "\n"


def _verify(manifest: Manifest, issuer: str) -> str:
    policy = Policy(
        repository=manifest.repository, tag=manifest.tag, commit=manifest.commit, issuer=issuer
    )
    return f"""\
## Check it first

From a checkout of `{manifest.repository}`, with nothing but nox installed; it downloads the
release and says of every claim whether it holds:

```sh
nox -s verify -- {manifest.tag} --repository {manifest.repository}
```

Without our tool, in a folder with the files of this release:

```sh
cosign verify-blob \\
  --bundle {bundle_name(CHECKSUMS)} \\
  --certificate-identity {policy.build_signer} \\
  --certificate-oidc-issuer {issuer} \\
  {CHECKSUMS}
sha256sum -c {CHECKSUMS}
```

(`sha256sum -c --ignore-missing {CHECKSUMS}` when you took only some of the files.)"""


def _import(urls: Sequence[str]) -> str:
    listed = "\n".join(urls)
    return f"""\
## Import it

DigitalOcean imports the disk image from this URL, once you have checked it:

```
{listed}
```"""


def _artifacts(release: ReleaseFiles) -> str:
    roles = {artifact.name: artifact.role for artifact in release.manifest.artifacts}
    rows = [
        [
            f"`{file.name}`",
            roles.get(file.name, WHAT.get(file.name, "")),
            size_text(file.size),
            file.sha256,
        ]
        for file in sorted(release.files, key=lambda file: file.name)
        if not is_bundle(file.name)
    ]
    table = markdown_table(rows, ["file", "what", "size", "sha256"])
    return f"## Files\n\n{table}\n\nEach has its signature beside it, as `FILE.sigstore.json`."


def _changes(bundle: Path) -> str:
    return f"## What changed\n\n{format_markdown(signed_difference(bundle))}"


def signed_difference(bundle: Path) -> Difference:
    """Return what the statement in `bundle` says, out of its DSSE envelope (DSSE, version 1).

    For showing what was signed; whoever relies on it verifies the bundle.

    Raises:
        VerificationError: it is no such statement.
    """
    try:
        envelope = json.loads(bundle.read_bytes())["dsseEnvelope"]
        statement = json.loads(base64.b64decode(envelope["payload"]))
        predicate = statement["predicate"]
    except (KeyError, TypeError, ValueError, RecursionError):
        raise VerificationError(f"{bundle.name}: no bundle with a statement in it") from None
    return read_document(predicate, where=bundle.name)


def _source(manifest: Manifest) -> str:
    return (
        f"Built from commit `{manifest.commit}` and the lock with sha256 `{manifest.lock_id}`; "
        "both give the same bytes again."
    )
