"""release.json: the manifest of a release's artifacts, and the names of all its files.

A release consists of the artifacts, `release.json` that lists them, `SHA256SUMS` over all of
these, and the sigstore bundles. The manifest contains names, sizes and digests, but no URL and no
time, so the same lock and source give the same manifest.
"""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath

from build.errors import VerificationError
from build.tables import Table

FORMAT = 1
MANIFEST = "release.json"
CHECKSUMS = "SHA256SUMS"
LOCK = "release.lock"
"""Name of the lock file in a release; release.toml may use another."""

ARCHIVE_SUFFIX = "-snapshot.tar"
BUNDLE_SUFFIX = ".sigstore.json"
PROVENANCE_BUNDLE = "provenance" + BUNDLE_SUFFIX
SNAPSHOT_BUNDLE = "snapshot" + BUNDLE_SUFFIX
DIFFERENCE_BUNDLE = "difference" + BUNDLE_SUFFIX
INDEX_FILES = (MANIFEST, CHECKSUMS, CHECKSUMS + BUNDLE_SUFFIX)
"""Name and sign all other files."""

MEDIA_TYPES = {
    "archive": "application/x-tar",  # shared-mime-info; tar has no IANA name
    "image": "application/x-qemu-disk",  # shared-mime-info; qcow2 has no IANA name
    "inventory": "application/json",  # RFC 8259
    "lock": "application/toml",  # IANA, TOML 1.0
    "package": "application/gzip",  # RFC 6713; an .apk is gzip members, one after another
    "sbom": "application/vnd.cyclonedx+json",  # IANA, CycloneDX
    "source": "application/x-tar",
}
"""Media type by role; the name of the file does not matter."""
ROLES = tuple(MEDIA_TYPES)
BUNDLE_MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}")
"""No slash and no leading dot: a name from a foreign release cannot leave its folder."""
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}")
VERSION = re.compile(r"[A-Za-z][A-Za-z0-9.-]{0,99}")
MAX_ARTIFACTS = 1000
"""GitHub takes no more files for one release."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file that the manifest names."""

    name: str
    role: str
    """One of ROLES."""
    media_type: str
    size: int
    """In bytes."""
    sha256: str
    """64 lower-case hex digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The contents of release.json."""

    name: str
    """Prefix of the images' names."""
    version: str
    """`v3.24.20261123`; it ends in `-dirty` when the working tree had changes."""
    tag: str
    """The git tag that the release is published under."""
    repository: str
    """OWNER/REPO."""
    commit: str
    dirty: bool
    """Whether the working tree had changes that are not in the commit."""
    lock_id: str
    """sha256 of the lock file."""
    epoch: int
    """Newest build time in the lock, in seconds since 1970: the only clock of the image."""
    artifacts: tuple[Artifact, ...]
    """Sorted by name."""
    previous: str | None = None
    """Tag of the previous release, which the difference statement compares; None for the first."""

    def of_role(self, role: str) -> tuple[Artifact, ...]:
        """Return the artifacts of `role`, sorted by name."""
        return tuple(artifact for artifact in self.artifacts if artifact.role == role)

    @property
    def signed_files(self) -> tuple[str, ...]:
        """Names of all files that are signed one by one, sorted by name as bytes."""
        return tuple(sorted([*(item.name for item in self.artifacts), MANIFEST, CHECKSUMS]))

    @property
    def bundles(self) -> tuple[str, ...]:
        """Names of all bundles that the release must have, sorted by name as bytes."""
        names = [bundle_name(name) for name in self.signed_files]
        for image in self.of_role("image"):
            names += [build_bundle(image.name), boot_bundle(image.name), sbom_bundle(image.name)]
        names += [PROVENANCE_BUNDLE, SNAPSHOT_BUNDLE]
        if self.previous is not None:
            names.append(DIFFERENCE_BUNDLE)
        return tuple(sorted(names))


def archive_name(name: str, version: str) -> str:
    """Return the name of the snapshot archive: `snowdrop-v3.24.20261123-snapshot.tar`."""
    return f"{name}-{version}{ARCHIVE_SUFFIX}"


def source_name(name: str, version: str) -> str:
    """Return the name of the source archive: `snowdrop-v3.24.20261123-source.tar`."""
    return f"{name}-{version}-source.tar"


def image_sbom_name(image: str) -> str:
    """Return the name of the SBOM of `image`: `snowdrop-droplet-v3.24.20261123-x86_64.cdx.json`."""
    return f"{PurePosixPath(image).stem}.cdx.json"


def builder_sbom_name(name: str, version: str) -> str:
    """Return the name of the builder's SBOM: `snowdrop-builder-v3.24.20261123.cdx.json`."""
    return f"{name}-builder-{version}.cdx.json"


def bundle_name(file: str) -> str:
    """Return the name of the bundle that signs `file` itself: `release.json.sigstore.json`."""
    return file + BUNDLE_SUFFIX


def variant_of(manifest: Manifest, image: Artifact) -> str:
    """Return the name of an image's `[image.VARIANT]`, which its file name has."""
    return image.name.removeprefix(f"{manifest.name}-").partition("-")[0]


def build_bundle(image: str) -> str:
    """Return the name of the bundle with the signed build record of `image`."""
    return f"{PurePosixPath(image).stem}.build{BUNDLE_SUFFIX}"


def boot_bundle(image: str) -> str:
    """Return the name of the bundle with the signed boot report of `image`."""
    return f"{PurePosixPath(image).stem}.boot{BUNDLE_SUFFIX}"


def sbom_bundle(image: str) -> str:
    """Return the name of the bundle with the signed SBOM of `image`."""
    return f"{PurePosixPath(image).stem}.sbom{BUNDLE_SUFFIX}"


def is_bundle(name: str) -> bool:
    """Return whether `name` is that of a bundle; bundles are never artifacts."""
    return name.endswith(BUNDLE_SUFFIX)


def media_type_of(name: str, manifest: Manifest) -> str:
    """Return the media type of any file of the release."""
    for artifact in manifest.artifacts:
        if artifact.name == name:
            return artifact.media_type
    if is_bundle(name):
        return BUNDLE_MEDIA_TYPE
    return "application/json" if name == MANIFEST else "text/plain"


def dump_manifest(manifest: Manifest) -> bytes:
    """Return release.json: UTF-8 JSON, keys and artifacts sorted, two spaces, a newline.

    Equal manifests give equal bytes.
    """
    document = {
        "format": FORMAT,
        "name": manifest.name,
        "version": manifest.version,
        "tag": manifest.tag,
        "repository": manifest.repository,
        "source": {"commit": manifest.commit, "dirty": manifest.dirty},
        "lock": {"id": manifest.lock_id},
        "epoch": manifest.epoch,
        "previous": manifest.previous,
        "artifacts": [
            asdict(artifact) for artifact in sorted(manifest.artifacts, key=lambda item: item.name)
        ],
    }
    return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()


def parse_manifest(raw: bytes) -> Manifest:
    """Return the manifest in `raw`, which must be exactly what `dump_manifest` writes.

    Raises:
        VerificationError: it is no such file; the message names the value and the expected one.
    """
    try:
        document = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise VerificationError(f"{MANIFEST}: not UTF-8 JSON ({error})") from None
    if isinstance(document, dict) and document.get("format", FORMAT) != FORMAT:
        raise VerificationError(
            f"{MANIFEST}: format {document['format']!r}, this Snowdrop reads {FORMAT}",
            hint="use the Snowdrop of that release's commit, or a newer one",
        )
    top = Table(MANIFEST, document, VerificationError)
    source, lock = top.table("source"), top.table("lock")
    manifest = Manifest(
        name=top.text("name", pattern=FILE_NAME),
        version=top.text("version", pattern=VERSION),
        tag=top.text("tag", pattern=VERSION),
        repository=top.text("repository", pattern=REPOSITORY),
        commit=source.text("commit", pattern=COMMIT),
        dirty=source.flag("dirty"),
        lock_id=lock.sha256("id"),
        epoch=top.number("epoch"),
        previous=top.text_or_null("previous", pattern=VERSION),
        artifacts=tuple(_artifact(item) for item in top.tables("artifacts")),
    )
    names = [artifact.name for artifact in manifest.artifacts]
    if len(names) > MAX_ARTIFACTS:
        raise VerificationError(
            f"{MANIFEST}: {len(names)} artifacts, expected at most {MAX_ARTIFACTS}"
        )
    for name in names:
        if name in (MANIFEST, CHECKSUMS) or is_bundle(name):
            raise VerificationError(f"{MANIFEST}: {name} is among the artifacts, expected apart")
        if names.count(name) > 1:
            raise VerificationError(f"{MANIFEST}: {name} twice, expected once")
    # One byte form only: two readers can never see different manifests in one signed file.
    if dump_manifest(manifest) != raw:
        raise VerificationError(
            f"{MANIFEST}: unknown keys or another byte form; "
            "expected are sorted keys, sorted artifacts, two spaces and one newline at the end"
        )
    return manifest


def _artifact(table: Table) -> Artifact:
    artifact = Artifact(
        name=table.text("name", pattern=FILE_NAME),
        role=table.text("role", "one of: " + ", ".join(ROLES), pattern=re.compile("|".join(ROLES))),
        media_type=table.text("media_type"),
        size=table.number("size"),
        sha256=table.sha256("sha256"),
    )
    if artifact.media_type != MEDIA_TYPES[artifact.role]:
        raise VerificationError(
            f"{MANIFEST}: {artifact.name} is of type {artifact.media_type}, "
            f"expected {MEDIA_TYPES[artifact.role]}"
        )
    return artifact
