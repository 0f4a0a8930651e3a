"""The predicate for the changes of the packages since the previous release."""

from build.snapshot.lock import Lock
from ci.release.lock_diff import compare_locks, document
from ci.release.manifest import Manifest
from ci.release.previous import Previous


def difference_predicate(previous: Previous, manifest: Manifest, lock: Lock) -> dict[str, object]:
    """Return the difference of the locks of two releases, as `nox -s diff -- --json` prints it."""
    names = (previous.tag, manifest.tag)
    return dict(document(compare_locks(previous.lock, lock, names=names)))
