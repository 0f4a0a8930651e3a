"""The release before a commit, which its release is compared with."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from build.edges.progress import Progress
from build.errors import ConfigError
from build.snapshot.lock import Lock
from ci.release.checkout import git, release_tags
from ci.release.locks import revision_lock

SHALLOW = "a shallow checkout"
UNSHALLOW = "fetch the history with `git fetch --unshallow --tags`"


@dataclass(frozen=True, slots=True)
class Previous:
    """The previous release."""

    tag: str
    lock: Lock


def previous_release(
    lock: Path, *, checkout: Path, commit: str, progress: Progress, wanted: str | None = None
) -> Previous | None:
    """Return the release to compare `commit` with, None when there is none.

    It is the one of the tag `wanted`; with the empty string there is none. Without `wanted` it is
    the newest of `earlier_tags`, published or not, and in a shallow checkout there is none, with a
    note. `lock` is the path of the lock in the configuration.

    Raises:
        ConfigError: `wanted` is none of these tags, or the checkout is shallow.
    """
    if wanted == "":
        return None
    if is_shallow(checkout):
        if wanted is not None:
            raise ConfigError(f"previous release {wanted}: {SHALLOW}", hint=UNSHALLOW)
        progress.note(f"{SHALLOW}: the previous release is not known, none is compared")
        return None
    if wanted is not None:
        return _named_release(wanted, lock, checkout=checkout, commit=commit)
    return next(earlier_tags(lock, checkout=checkout, commit=commit, progress=progress), None)


def is_shallow(checkout: Path) -> bool:
    """Return whether ancestors of the commit are missing in `checkout`."""
    found = git("rev-parse", "--is-shallow-repository", folder=checkout)
    return found.text.strip() == "true"


def earlier_tags(
    lock: Path, *, checkout: Path, commit: str, progress: Progress
) -> Iterator[Previous]:
    """Yield the releases' tags among the ancestors of `commit` with a lock, the newest first.

    A lock that cannot be read is passed over, with a note.
    """
    for tag in _tags_before(commit, checkout):
        try:
            found = revision_lock(tag, lock)
        except ConfigError as error:
            progress.note(f"{error}: that release is not compared")
            continue
        if found is not None:
            yield Previous(tag, found)


def _named_release(tag: str, lock: Path, *, checkout: Path, commit: str) -> Previous:
    where = f"previous release {tag}"
    if tag not in _tags_before(commit, checkout):
        raise ConfigError(
            f"{where}: no tag of a release before {commit[:12]}",
            hint="fetch the tags with `git fetch --tags`, or name another one",
        )
    found = revision_lock(tag, lock)
    if found is None:
        raise ConfigError(f"{where}: has no {lock.name}", hint="name a tag that has a lock")
    return Previous(tag, found)


def _tags_before(commit: str, checkout: Path) -> list[str]:
    # The commit's own tags are this release, or the same sources under another name.
    return release_tags(checkout, "--merged", commit, "--no-contains", commit)
