"""Plan of the remaining uploads of a release, and the URLs of its files (pure).

The same plan serves a first run, a run after an interruption, and a run after completion.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from build.errors import PublishError
from ci.config import SpacesConfig
from ci.publish.release_files import ReleaseFile
from ci.release.manifest import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """One file that the release host has already."""

    number: int
    """Its id at the release host."""
    name: str
    size: int
    """In bytes."""
    sha256: str | None
    """None when the release host does not report it."""
    complete: bool
    """False for the remains of an interrupted upload."""

    def matches(self, file: ReleaseFile) -> bool:
        """Return whether its size and reported digest are those of `file`."""
        same = self.sha256 in (file.sha256, None)
        return self.complete and same and self.size == file.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Files to remove, to upload and to keep."""

    remove: tuple[Present, ...]
    upload: tuple[ReleaseFile, ...]
    keep: tuple[ReleaseFile, ...]


def plan(
    wanted: Sequence[ReleaseFile],
    present: Iterable[Present],
    *,
    replace: bool = False,
    hint: str = "",
) -> Plan:
    """Return the steps from `present` to `wanted`.

    A file with the right digest is kept, an interrupted upload is removed. With `replace` a
    different file is removed too. `hint` is that of the error.

    Raises:
        PublishError: without `replace`: a file differs (with both digests) or does not belong to
            this release.
    """
    files = {file.name: file for file in wanted}
    kept: dict[str, Present] = {}
    remove = []
    for found in present:
        file = files.get(found.name)
        if file and file.name not in kept and found.matches(file):
            kept[file.name] = found
        elif replace or not found.complete:
            remove.append(found)
        else:
            raise PublishError(difference(found, file), hint=hint)
    return Plan(
        remove=tuple(remove),
        upload=tuple(file for file in wanted if file.name not in kept),
        keep=tuple(file for file in wanted if file.name in kept),
    )


def difference(found: Present, file: ReleaseFile | None) -> str:
    """Return a line that compares the published file with the file of this release."""
    published = f"published with sha256 {found.sha256 or 'unknown'} ({found.size} bytes)"
    if file is None:
        return f"{found.name}: {published}, expected no such file in this release"
    return f"{file.name}: {published}, expected sha256 {file.sha256} ({file.size} bytes)"


def mirror_key(spaces: SpacesConfig, version: str, name: str) -> str:
    """Return the key of a file in the bucket; it contains the version, so it never changes."""
    return f"{spaces.prefix}{version}/{name}"


def mirror_url(spaces: SpacesConfig, version: str, name: str) -> str:
    """Return the public URL of a file of the mirror."""
    return f"{spaces.public_url}/{mirror_key(spaces, version, name)}"


def import_urls(spaces: SpacesConfig, manifest: Manifest) -> tuple[str, ...]:
    """Return the URLs that DigitalOcean can import, one for each image, without a query."""
    images = manifest.of_role("image")
    return tuple(mirror_url(spaces, manifest.version, image.name) for image in images)
