"""The target of `verify`: a folder, an image, a tag or a URL; and the download of a release."""

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from build.edges.download import Request
from build.edges.progress import Progress
from build.errors import ConfigError
from ci.release.locks import RELEASE_PAGE
from ci.release.manifest import CHECKSUMS, MANIFEST, VERSION, Manifest, bundle_name
from ci.verify.private import ReleaseDownloader
from ci.verify.safe_io import MAX_SMALL

INDEX_FILES = (MANIFEST, CHECKSUMS, bundle_name(CHECKSUMS))
"""Name and sign all other files: fetched and verified before anything large."""
IMAGE_PAGE = re.compile(r"(https?://.+)/[^/]+\.qcow2")
TAG_FOLDER = re.compile(r"v[0-9]+\.[A-Za-z0-9.-]+")
"""A folder of a mirror with the name of a release must contain that release."""
HINT = "check the tag and the repository; a private one needs GITHUB_TOKEN in the environment"


@dataclass(frozen=True, slots=True)
class Remote:
    """The URL below which the files of a release are served, each under its name."""

    base: str
    """Without a slash at the end."""
    tag: str | None
    """The release that the target names, if it names one."""


def locate(target: str, *, repository: str, web: str) -> Path | Remote:
    """Return the folder, the image file or the URL that `target` means.

    A target is a folder, an image file, an http(s) URL (a release's page, an image, or the
    folder of SHA256SUMS), or a tag of `repository` at `web`.

    Raises:
        ConfigError: it is none of these.
    """
    if target.startswith(("http://", "https://")):
        return _parse_url(target)
    if (path := find_local(target)) is not None:
        return path
    if VERSION.fullmatch(target):
        return Remote(f"{web}/{repository}/releases/download/{target}", target)
    raise ConfigError(f"{target}: neither a folder, nor an image, nor an http(s) URL, nor a tag")


def find_local(target: str) -> Path | None:
    """Return the folder or file on this machine that `target` names, None without one."""
    with suppress(OSError):  # a name longer than the file system allows
        path = Path(target)
        if path.is_dir() or path.is_file():
            return path
    return None


def _parse_url(url: str) -> Remote:
    if match := RELEASE_PAGE.fullmatch(url.removesuffix("/")):
        return Remote(f"{match[1]}/releases/download/{match[2]}", match[2])
    if match := IMAGE_PAGE.fullmatch(url):
        url = match[1]
    base = url.removesuffix(f"/{CHECKSUMS}").rstrip("/")
    last = base.rpartition("/")[2]
    return Remote(base, last if TAG_FOLDER.fullmatch(last) else None)


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
