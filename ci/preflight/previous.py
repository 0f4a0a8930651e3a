"""The previous release: the one that the release of a tag is compared with."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from build.edges.progress import Progress
from ci.preflight.checks import CheckFailed
from ci.preflight.release import Planned, published_manifest
from ci.release.manifest import MANIFEST
from ci.release.previous import (
    SHALLOW,
    UNSHALLOW,
    earlier_tags,
    is_shallow,
    previous_release,
)


@dataclass(frozen=True)
class PreviousRelease:
    """The newest published release before the planned one.

    A tag alone is none: it stays when its workflow failed, and a fork inherits those of others.
    """

    planned: Planned
    checkout: Path
    progress: Progress

    @cached_property
    def tag(self) -> str | None:
        """Its tag; None when nothing was published before.

        Raises:
            CheckFailed: the checkout has no history.
            ConfigError: the planned release is published, and compared with a tag that is gone.
            RemoteError: GitHub does not say what is published.
        """
        origin, lock = self.planned.origin, self.planned.config.build.lock
        if is_shallow(self.checkout):
            raise CheckFailed(f"{SHALLOW}: the tags before this one are not known", hint=UNSHALLOW)
        published = self.planned.github.published()
        own = published.get(self.planned.tag or origin.version)
        manifest = published_manifest(self.planned.github, own) if own else None
        if manifest is not None:
            # Its release.json does not change, even if an older tag was published since.
            kept = previous_release(
                lock,
                checkout=self.checkout,
                commit=origin.commit,
                progress=self.progress,
                wanted=manifest.previous or "",
            )
            return kept.tag if kept else None
        for earlier in earlier_tags(
            lock, checkout=self.checkout, commit=origin.commit, progress=self.progress
        ):
            found = published.get(earlier.tag)
            names = [each.name for each in self.planned.github.present(found)] if found else []
            if MANIFEST in names:
                return earlier.tag
        return None

    def check(self) -> str:
        """Return which release the planned one is compared with."""
        return self.tag or "none published: nothing is compared"
