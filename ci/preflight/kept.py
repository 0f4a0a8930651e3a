"""The snapshot of the lock is kept where the build looks for it.

The mirrors have the packages of a lock for days only, and the runner that builds has no store.
"""

from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

import requests

from build.edges.download import bearer
from build.errors import RemoteError
from build.snapshot.fetch import locate
from build.snapshot.kept import kept_name
from build.snapshot.lock import Lock
from ci.config import ReleaseConfig
from ci.preflight.checks import CheckFailed
from ci.publish.github_release import ReleaseHost
from ci.publish.transfer import CONNECT, SILENCE
from ci.release.snapshots import kept_places, kept_tag

PUSH = (
    "run `nox -s store -- push` on the machine that pinned; without kept snapshots (`kept = []` in "
    "`[snapshot]`) a build has the mirrors alone"
)
ABSENT = {HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN, HTTPStatus.GONE}
"""A bucket that does not let strangers list it answers 403 for a key that is not there."""


def check_kept(config: ReleaseConfig, lock: Lock, github: Callable[[], ReleaseHost]) -> str:
    """Return where the snapshot of `lock` is kept.

    Raises:
        CheckFailed: it is in none of the places that release.toml gives.
        RemoteError: a place does not answer.
    """
    name, places = kept_name(lock.id), kept_places(config)
    if places is None:
        tag = kept_tag(lock.id)
        for release in github().releases(tag):
            if not release.draft and name in (asset.name for asset in github().present(release)):
                return f"prerelease {tag[:25]}... at GitHub"
        raise CheckFailed(f"GitHub has no prerelease {tag} with {name}", hint=PUSH)
    if not places:
        return "kept = []: a build has the mirrors alone"
    for written in places:
        place = locate(written, config.build.file.parent)
        found = (place / name).is_file() if isinstance(place, Path) else _exists(f"{place}/{name}")
        if found:
            return f"{name[:16]}... in {place}"
    raise CheckFailed(f"{name} is not in {', '.join(places)}", hint=PUSH)


def _exists(url: str) -> bool:
    """Return whether a stranger may read `url`."""
    try:
        answer = requests.head(url, auth=bearer(None), timeout=(CONNECT, SILENCE))
    except requests.RequestException as error:
        raise RemoteError(f"{url}: {error}", hint="run it again when the server replies") from None
    if answer.status_code in ABSENT:
        return False
    # A redirect leads to a place that the build follows under its own rules.
    if answer.status_code >= HTTPStatus.BAD_REQUEST:
        raise RemoteError(f"{url}: HEAD returns {answer.status_code}, expected 200 or 404")
    return True
