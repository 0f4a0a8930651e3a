"""Bundles that an earlier run uploaded: they are kept when they verify, and new ones dropped.

A repeated run signs the same files again, which gives other bundles. A release has one set of
bundles: those of the run that published them first.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from github.GitRelease import GitRelease

from build.edges.download import is_loopback
from build.edges.files import hash_file
from build.edges.progress import Progress
from build.errors import PublishError
from ci.config import ReleaseConfig
from ci.publish.github_release import ReleaseHost
from ci.publish.plan import Present
from ci.publish.release_files import ReleaseFile, ReleaseFiles
from ci.release.manifest import is_bundle

STAGING = ".adopting"
MAX_BUNDLE = 1 << 22
"""Bytes, as in `verify`."""

Verify = Callable[[Path], Sequence[str]]
"""Verifies the release in a folder; returns the failed checks, none when it holds."""


def release_verifier(config: ReleaseConfig, tag: str) -> Verify:
    """Return a function that verifies a release as its users will."""

    def verify(folder: Path) -> Sequence[str]:
        # sigstore takes a second to import, and most runs have nothing to adopt.
        from ci.verify.release import Expectation, verify_release
        from ci.verify.trust.bundles import PUBLIC_ROOT, Trust
        from ci.verify.trust.policy import TrustedSigner

        signer = TrustedSigner(repository=config.repository, issuer=config.sign.issuer)
        # As `verify`: a release of uncommitted changes goes to this machine alone.
        expected = Expectation(
            signer=signer,
            tag=tag,
            now=datetime.now(tz=UTC),
            allow_dirty=is_loopback(config.github_api),
        )
        findings = verify_release(folder, Trust(config.sign.trust_root or PUBLIC_ROOT), expected)
        return [f"{check.name}: {check.found}" for check in findings.failed]

    return verify


def adopt_bundles(
    host: ReleaseHost,
    found: GitRelease,
    release: ReleaseFiles,
    *,
    verify: Verify,
    progress: Progress,
) -> ReleaseFiles:
    """Return `release` with the bundles that `found` has already; dist has them too afterwards.

    Bundles that `found` lacks stay the new ones. A draft whose bundles do not verify together
    with those (of another run, or damaged) loses them: it gets the new ones. Nothing is adopted
    when another file differs: then it is another release.

    Raises:
        PublishError: a published release does not verify with its bundles.
        RemoteError: one cannot be downloaded.
    """
    others = _differing(host.present(found), release)
    if not others:
        return release
    dist = release.files[0].path.parent
    with _staged(dist, release, others) as folder:
        for present in others:
            (folder / present.name).write_bytes(host.read_small(present, MAX_BUNDLE))
        if failed := verify(folder):
            problem = (
                f"{found.html_url}: {len(others)} of its bundles of an earlier run do not verify: "
                f"{failed[0]}"
            )
            if not found.draft:
                raise PublishError(problem, hint="do not announce this release: see SECURITY.md")
            progress.note(f"{problem}; the draft gets the new ones")
            for present in others:
                host.remove(found, present)
            return release
        for present in others:
            (folder / present.name).replace(dist / present.name)
    progress.note(f"bundles of an earlier run verify, and replace the new ones: {len(others)}")
    names = {present.name for present in others}
    files = tuple(_again(file) if file.name in names else file for file in release.files)
    return replace(release, files=files)


def _differing(present: Sequence[Present], release: ReleaseFiles) -> list[Present]:
    """Return the complete bundles that differ; none when any other file differs."""
    files = {file.name: file for file in release.files}
    found = []
    for each in present:
        file = files.get(each.name)
        if not each.complete or (file and each.matches(file)):
            continue
        if file is None or not is_bundle(each.name):
            return []
        found.append(each)
    return found


@contextmanager
def _staged(dist: Path, release: ReleaseFiles, others: Sequence[Present]) -> Iterator[Path]:
    """Yield a folder with the files of the release but for `others`."""
    folder = dist / STAGING
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    skipped = {each.name for each in others}
    try:
        for file in release.files:
            if file.name not in skipped:
                # The same file under a second name: images are large.
                os.link(file.path, folder / file.name)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _again(file: ReleaseFile) -> ReleaseFile:
    digest = hash_file(file.path)
    return replace(file, size=digest.size, sha256=digest.sha256)
