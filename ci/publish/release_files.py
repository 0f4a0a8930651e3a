"""Files of a signed release in the dist folder; each is hashed again before it is published."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from build.edges.download import is_loopback
from build.edges.files import hash_file
from build.edges.progress import Progress
from build.errors import ConfigError, PublishError, VerificationError
from build.words import counted
from ci.config import ReleaseConfig
from ci.release.checksums import parse_checksums
from ci.release.manifest import CHECKSUMS, MANIFEST, Manifest, media_type_of, parse_manifest

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9_-]")
"""A name that GitHub does not change (REST API, upload a release asset)."""
MAX_SIZE = 2 * 1024**3 - 1
"""Limit of one asset in bytes: under 2 GiB (GitHub, about releases)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFile:
    """One file of a release."""

    path: Path
    size: int
    """In bytes."""
    sha256: str
    """64 lower-case hex digits."""
    media_type: str

    @property
    def name(self) -> str:
        """File name, the same wherever it is published."""
        return self.path.name


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFiles:
    """All files of a release."""

    manifest: Manifest
    files: tuple[ReleaseFile, ...]
    """SHA256SUMS and its bundle last: when they appear, all files that they name exist."""


def read_release(config: ReleaseConfig, progress: Progress) -> ReleaseFiles:
    """Return the signed release in the dist folder, every file read and hashed again.

    Raises:
        PublishError: it is not signed completely, or belongs to another configuration.
        VerificationError: a file does not have its digest in SHA256SUMS or in the manifest.
    """
    dist = config.dist
    sums = parse_checksums(_read(dist / CHECKSUMS))
    manifest = parse_manifest(_read(dist / MANIFEST))
    _check_claims(config, manifest)
    if differing := (set(sums) | {CHECKSUMS}) ^ set(manifest.signed_files):
        raise VerificationError(f"{min(differing)}: listed in only one of {CHECKSUMS}, {MANIFEST}")
    names = sorted(
        [*manifest.signed_files, *manifest.bundles],
        key=lambda name: (name.startswith(CHECKSUMS), name),
    )
    total = sum((dist / name).stat().st_size for name in names if (dist / name).is_file())
    files = []
    with progress.step(f"Hash {counted(len(names), 'file')}", total=total) as step:
        for name in names:
            files.append(_read_file(dist / name, manifest))
            step.advance(files[-1].size)
    release = ReleaseFiles(manifest=manifest, files=tuple(files))
    _check_bytes(release, sums)
    return release


def require_loopback_if_dirty(manifest: Manifest, *urls: str) -> None:
    """Check that a release of uncommitted changes is published on this machine only.

    Raises:
        PublishError: the tree was dirty and one of `urls` is on another machine.
    """
    if not manifest.dirty and not manifest.version.endswith("-dirty"):
        return
    for url in urls:
        if not is_loopback(url):
            raise PublishError(
                f"{manifest.version}: built from uncommitted changes, expected a clean tree "
                f"for {url}",
                hint="commit the changes and start again from `nox -s build`",
            )


def require_protected(key: str, url: str) -> None:
    """Check that a secret sent to `url` is encrypted.

    Raises:
        ConfigError: it is plain http to another machine.
    """
    # The rehearsal's doubles serve plain http on this machine.
    if urlsplit(url).scheme != "https" and not is_loopback(url):
        raise ConfigError(f"{key} = {url}: a secret is sent there, expected https://")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise PublishError(
            f"{path}: no such file, expected a signed release",
            hint="make it with `nox -s sign`",
        ) from None


def _check_claims(config: ReleaseConfig, manifest: Manifest) -> None:
    for what, found, expected in (
        ("repository", manifest.repository, config.repository),
        ("name", manifest.name, config.name),
        ("tag", manifest.tag, manifest.version),
    ):
        if found != expected:
            raise PublishError(
                f"{config.dist / MANIFEST}: {what} is {found}, expected {expected}",
                hint="sign it again with `nox -s sign`",
            )


def _read_file(path: Path, manifest: Manifest) -> ReleaseFile:
    if not SAFE_NAME.fullmatch(path.name):
        raise PublishError(
            f"{path.name}: GitHub would rename it, expected letters, digits, dots, dashes and _"
        )
    if not path.is_file():
        raise PublishError(
            f"{path}: no such file, expected by {MANIFEST}",
            hint="make it with `nox -s sign`",
        )
    digest = hash_file(path)
    if not 0 < digest.size <= MAX_SIZE:
        raise PublishError(f"{path.name}: {digest.size} bytes, expected 1 to {MAX_SIZE}")
    return ReleaseFile(
        path=path,
        size=digest.size,
        sha256=digest.sha256,
        media_type=media_type_of(path.name, manifest),
    )


def _check_bytes(release: ReleaseFiles, sums: dict[str, str]) -> None:
    artifacts = {item.name: item.sha256 for item in release.manifest.artifacts}
    for file in release.files:
        for source, digests in ((CHECKSUMS, sums), (MANIFEST, artifacts)):
            expected = digests.get(file.name, file.sha256)
            if file.sha256 != expected:
                raise VerificationError(
                    f"{file.name}: sha256 {file.sha256}, {source} has {expected}",
                    hint="build and sign it again: `nox -s build`, `nox -s boot`, `nox -s sign`",
                )
