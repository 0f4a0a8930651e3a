"""What changed in the packages since the release before."""

from dataclasses import dataclass
from pathlib import Path

from build.edges.progress import Progress
from build.errors import ConfigError
from build.snapshot.lock import Lock
from ci.release.checkout import git
from ci.release.lock_diff import Side, difference_of, document
from ci.release.locks import revision_lock
from ci.release.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Previous:
    """A release that was before."""

    tag: str
    lock: Lock


def previous_release(
    lock: Path, *, checkout: Path, commit: str, progress: Progress
) -> Previous | None:
    """Return the newest release before `commit`: the tag `v*` on its way that holds a lock.

    `lock` is where the configuration keeps its lock. None when there is none, and when the
    checkout is too shallow to know, which is said.
    """
    if git("rev-parse", "--is-shallow-repository", folder=checkout).text.strip() == "true":
        progress.note("a shallow checkout: the release before is not known, none is compared")
        return None
    # The commit's own tags are this release, or the same sources under another name.
    words = ("--merged", commit, "--no-contains", commit, "refs/tags/v*")
    order = ("--sort=-version:refname", "--sort=-creatordate", "--format=%(refname:strip=2)")
    listed = git("for-each-ref", *order, *words, folder=checkout, check=False)
    for tag in listed.text.split() if listed.status == 0 else ():
        try:
            found = revision_lock(tag, lock)
        except ConfigError as error:
            progress.note(f"{error}: that release is not compared")
            continue
        if found is not None:
            return Previous(tag, found)
    return None


def difference_predicate(previous: Previous, manifest: Manifest, lock: Lock) -> dict[str, object]:
    """Return what differs between the locks of two releases, closure by closure.

    It is what `nox -s diff -- --json` prints.
    """
    before, after = Side(previous.tag, previous.lock), Side(manifest.tag, lock)
    return dict(document(difference_of(before, after)))
