"""The predicate for the changes of the packages since the previous release."""

from dataclasses import dataclass
from pathlib import Path

from build.edges.progress import Progress
from build.errors import ConfigError
from build.snapshot.lock import Lock
from ci.release.checkout import git, release_tags
from ci.release.lock_diff import compare_locks, document
from ci.release.locks import revision_lock
from ci.release.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Previous:
    """The previous release."""

    tag: str
    lock: Lock


def previous_release(
    lock: Path, *, checkout: Path, commit: str, progress: Progress
) -> Previous | None:
    """Return the newest release before `commit`: the tag `v*` among its ancestors with a lock.

    `lock` is the path of the lock in the configuration. Return None when there is no such tag,
    and, with a note, when the checkout is shallow, so that the ancestors are not known.
    """
    if git("rev-parse", "--is-shallow-repository", folder=checkout).text.strip() == "true":
        progress.note("a shallow checkout: the previous release is not known, none is compared")
        return None
    # The commit's own tags are this release, or the same sources under another name.
    for tag in release_tags(checkout, "--merged", commit, "--no-contains", commit):
        try:
            found = revision_lock(tag, lock)
        except ConfigError as error:
            progress.note(f"{error}: that release is not compared")
            continue
        if found is not None:
            return Previous(tag, found)
    return None


def difference_predicate(previous: Previous, manifest: Manifest, lock: Lock) -> dict[str, object]:
    """Return the difference of the locks of two releases, as `nox -s diff -- --json` prints it."""
    names = (previous.tag, manifest.tag)
    return dict(document(compare_locks(previous.lock, lock, names=names)))
