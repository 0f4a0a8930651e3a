"""The download of a release."""

from pathlib import Path

from build.edges.download import Request
from build.edges.progress import Progress
from ci.release.manifest import INDEX_FILES, Manifest
from ci.verify.private import ReleaseDownloader
from ci.verify.safe_io import MAX_SMALL
from ci.verify.target import Remote

HINT = "check the tag and the repository; a private one needs GITHUB_TOKEN in the environment"


def save_index(remote: Remote, folder: Path, downloader: ReleaseDownloader) -> None:
    """Write the INDEX_FILES of the release into `folder`.

    Raises:
        RemoteError: one is not served, or is larger than such a file can be.
    """
    for name in INDEX_FILES:
        downloader.save(Request(url=f"{remote.base}/{name}", limit=MAX_SMALL), folder / name)


def save_other_files(
    remote: Remote,
    manifest: Manifest,
    folder: Path,
    downloader: ReleaseDownloader,
    progress: Progress,
) -> None:
    """Write every other file that `manifest` implies into `folder`, none larger than listed.

    Raises:
        RemoteError: one is not served, or is longer than the manifest lists.
    """
    sizes = dict.fromkeys(manifest.bundles, MAX_SMALL)
    sizes |= {artifact.name: artifact.size for artifact in manifest.artifacts}
    total = sum(artifact.size for artifact in manifest.artifacts)
    with progress.step(f"Download {remote.base}", total=total) as step:
        for name in sorted(sizes.keys() - set(INDEX_FILES)):
            request = Request(url=f"{remote.base}/{name}", limit=sizes[name])
            downloader.save(request, folder / name, step.advance)
