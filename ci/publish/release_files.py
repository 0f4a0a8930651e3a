"""The files of a signed release as dist holds them, each hashed again before it goes anywhere."""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from build.edges.files import hash_file
from build.edges.progress import Progress
from build.errors import ConfigError, PublishError, VerificationError
from ci.config import ReleaseConfig
from ci.release.checksums import parse_checksums
from ci.release.manifest import CHECKSUMS, MANIFEST, Manifest, media_type_of, parse_manifest

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9_-]")
"""A name that GitHub keeps as it is; it renames others (REST API, upload a release asset)."""
LARGEST = 2 * 1024**3 - 1
"""Bytes of one asset: under 2 GiB (GitHub, about releases)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFile:
    """One file of a release, hashed where it lies."""

    path: Path
    size: int
    """In bytes."""
    sha256: str
    """64 lower-case hex digits."""
    media_type: str

    @property
    def name(self) -> str:
        """Return what it is called, here and wherever it is published."""
        return self.path.name


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFiles:
    """All that a release consists of."""

    manifest: Manifest
    files: tuple[ReleaseFile, ...]
    """SHA256SUMS and its bundle last: whoever sees them finds all that they name."""

    @property
    def images(self) -> tuple[str, ...]:
        """Return the names of the disk images."""
        return tuple(image.name for image in self.manifest.of_role("image"))


def read_release(config: ReleaseConfig, progress: Progress) -> ReleaseFiles:
    """Return the signed release in the dist folder, every file read and hashed again.

    Raises:
        PublishError: it is not signed completely, or is not the release of this configuration.
        VerificationError: a file's bytes are not those that SHA256SUMS names.
    """
    dist = config.dist
    sums = parse_checksums(_read(dist / CHECKSUMS))
    manifest = parse_manifest(_read(dist / MANIFEST))
    _check_claims(config, manifest)
    if set(sums) | {CHECKSUMS} != set(manifest.signed_files):
        wrong = min((set(sums) | {CHECKSUMS}) ^ set(manifest.signed_files))
        raise VerificationError(f"{wrong}: {CHECKSUMS} and {MANIFEST} do not agree about it")
    names = _in_order([*manifest.signed_files, *manifest.bundles])
    total = sum((dist / name).stat().st_size for name in names if (dist / name).is_file())
    files = []
    with progress.step(f"Hash {len(names)} files", total=total) as step:
        for name in names:
            files.append(_hashed(dist / name, manifest))
            step.advance(files[-1].size)
    release = ReleaseFiles(manifest=manifest, files=tuple(files))
    _check_bytes(release, sums)
    return release


def require_loopback_if_dirty(manifest: Manifest, *urls: str) -> None:
    """Check that a release of uncommitted changes goes nowhere but to this machine.

    Raises:
        PublishError: the tree was dirty and one of `urls` leads away.
    """
    if not manifest.dirty and not manifest.version.endswith("-dirty"):
        return
    for url in urls:
        if not is_loopback(url):
            raise PublishError(
                f"{manifest.version}: made of changes that no commit holds, expected a clean tree "
                f"for {url}",
                hint="commit the changes and start again from `nox -s build`",
            )


def require_protected(key: str, url: str) -> None:
    """Check that a secret sent to `url` cannot be read on the way.

    Raises:
        ConfigError: it is plain http, and not to this machine.
    """
    if urlsplit(url).scheme != "https" and not is_loopback(url):
        raise ConfigError(f"{key} = {url}: a secret goes there, expected https://")


def is_loopback(url: str) -> bool:
    """Say whether `url` leads to this machine.

    >>> is_loopback("http://127.0.0.1:80/x"), is_loopback("https://127.0.0.1.example.org")
    (True, False)
    """
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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
                hint="sign it anew with `nox -s sign`",
            )


def _in_order(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: (name.startswith(CHECKSUMS), name))


def _hashed(path: Path, manifest: Manifest) -> ReleaseFile:
    if not SAFE_NAME.fullmatch(path.name):
        raise PublishError(
            f"{path.name}: GitHub would rename it, expected letters, digits, dots, dashes and _"
        )
    if not path.is_file():
        raise PublishError(
            f"{path}: no such file, expected what {MANIFEST} implies",
            hint="make it with `nox -s sign`",
        )
    digest = hash_file(path)
    if not 0 < digest.size <= LARGEST:
        raise PublishError(f"{path.name}: {digest.size} bytes, expected 1 to {LARGEST}")
    return ReleaseFile(
        path=path,
        size=digest.size,
        sha256=digest.sha256,
        media_type=media_type_of(path.name, manifest),
    )


def _check_bytes(release: ReleaseFiles, sums: dict[str, str]) -> None:
    expected = {item.name: item.sha256 for item in release.manifest.artifacts}
    for file in release.files:
        for source, digests in ((CHECKSUMS, sums), (MANIFEST, expected)):
            wanted = digests.get(file.name, file.sha256)
            if file.sha256 != wanted:
                raise VerificationError(
                    f"{file.name}: sha256 {file.sha256}, {source} says {wanted}",
                    hint="build and sign it anew: `nox -s build`, `nox -s boot`, `nox -s sign`",
                )
