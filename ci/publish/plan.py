"""What is left to do until a release is published, and where its files will be; pure.

The same plan serves the first run, a run after an interrupted one, and one that finds all done.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from build.errors import PublishError
from ci.config import SpacesConfig
from ci.publish.release_files import ReleaseFile, ReleaseFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """One file that is there already."""

    number: int
    """What the release host calls it."""
    name: str
    size: int
    """In bytes."""
    sha256: str | None
    """None when the release host does not say."""
    complete: bool
    """False for what an upload that broke off has left behind."""

    def holds(self, file: ReleaseFile) -> bool:
        """Say whether it is `file`, as far as can be told without reading it back."""
        same = self.sha256 in (file.sha256, None)
        return self.complete and same and self.size == file.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is left to do."""

    remove: tuple[Present, ...]
    upload: tuple[ReleaseFile, ...]
    keep: tuple[ReleaseFile, ...]

    @property
    def done(self) -> bool:
        """Say whether nothing is left to do."""
        return not self.remove and not self.upload


def plan(
    wanted: Sequence[ReleaseFile], present: Iterable[Present], *, replace: bool = False
) -> Plan:
    """Return what turns `present` into `wanted`.

    What is there with the right digest is left alone, a broken-off upload is removed. With
    `replace` what differs is removed too.

    Raises:
        PublishError: without `replace`: a file differs, with both digests, or is not of this
            release.
    """
    files = {file.name: file for file in wanted}
    kept: dict[str, Present] = {}
    remove = []
    for found in present:
        file = files.get(found.name)
        if file and file.name not in kept and found.holds(file):
            kept[file.name] = found
        elif replace or not found.complete:
            remove.append(found)
        else:
            raise PublishError(difference(found, file))
    return Plan(
        remove=tuple(remove),
        upload=tuple(file for file in wanted if file.name not in kept),
        keep=tuple(file for file in wanted if file.name in kept),
    )


def difference(found: Present, file: ReleaseFile | None) -> str:
    """Return in one line how what is published differs from what this release holds."""
    there = f"sha256 {found.sha256 or 'unknown'} ({found.size} bytes)"
    if file is None:
        return f"{found.name}: published with {there}, expected no such file in this release"
    return f"{file.name}: published with {there}, expected sha256 {file.sha256} ({file.size} bytes)"


def mirror_key(spaces: SpacesConfig, version: str, name: str) -> str:
    """Return the key of a file in the bucket; the version in it makes it one that never changes."""
    return f"{spaces.prefix}{version}/{name}"


def mirror_url(spaces: SpacesConfig, version: str, name: str) -> str:
    """Return where a reader without an account gets a file of the mirror."""
    return f"{spaces.public_url}/{mirror_key(spaces, version, name)}"


def import_urls(spaces: SpacesConfig, release: ReleaseFiles) -> tuple[str, ...]:
    """Return the URLs that DigitalOcean can import, one an image: no query, the name last."""
    return tuple(mirror_url(spaces, release.manifest.version, name) for name in release.images)
