"""What a tag is going to release: lock, version, repository, branch, earlier releases."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from github.GitRelease import GitRelease

from build.config import Origin
from build.snapshot.lock import Lock
from ci.config import OWN_INSTANCE, PRIVATE, UNNAMED_REPOSITORY, ReleaseConfig
from ci.preflight.checks import CheckFailed
from ci.publish.github_release import ReleaseHost
from ci.release.checkout import fresh_lock, origin_of
from ci.release.manifest import MANIFEST, Manifest, parse_manifest

MAX_MANIFEST = 1 << 20
NEW_VERSION = "increase `serial` in release.toml, or pin newer packages, and push the new tag"
CORRECT = "correct `github` in [release] and commit it"
KEPT_ELSEWHERE = (
    "enter a Space in `[spaces]`, or name a place that everyone can read with `kept` in "
    "`[snapshot]`; with `kept = []` a build has the mirrors alone"
)


@dataclass(frozen=True)
class Planned:
    """The release that this checkout and this tag would make."""

    config: ReleaseConfig
    tag: str | None
    """None without a tag: that of the version is assumed."""
    running_in: str
    """OWNER/REPO in which a workflow runs; empty elsewhere."""
    host: Callable[[], ReleaseHost]
    """Opens the client of GitHub; raises when there is no token."""

    @cached_property
    def lock(self) -> Lock:
        """The lock, which must agree with release.toml."""
        return fresh_lock(self.config.build)

    @cached_property
    def origin(self) -> Origin:
        """Version and commit."""
        return origin_of(self.config, self.lock)

    @cached_property
    def github(self) -> ReleaseHost:
        """The repository at GitHub."""
        return self.host()

    def check_lock(self) -> str:
        """Return the digest of the lock, which must agree with release.toml."""
        return f"{self.config.build.lock}: {self.lock.id[:16]}, agrees with {self.config.file}"

    def check_tag(self) -> str:
        """Return the version that lock and sources give; the tag must be the same."""
        origin = self.origin
        if origin.dirty:
            raise CheckFailed(
                f"version {origin.version}: the working tree has changes",
                hint="commit or remove them: `git status` lists them",
            )
        if self.tag not in (None, origin.version):
            raise CheckFailed(
                f"tag {self.tag}, but lock and sources give version {origin.version}",
                hint=f"push the tag `{origin.version}`; the other one gets no release",
            )
        return origin.version

    def check_repository(self) -> str:
        """Return the repository of release.toml; a workflow must run in it."""
        found = self.config.repository
        if found == UNNAMED_REPOSITORY:
            raise CheckFailed(f"{self.config.file}: release.github = {found}", hint=CORRECT)
        # A certificate names the repository as GitHub spells it.
        if self.running_in not in ("", found):
            raise CheckFailed(
                f"release.github = {found}, but this workflow runs in {self.running_in}",
                hint=CORRECT,
            )
        return found

    def check_visibility(self) -> str:
        """Return whether the repository is private; a private one needs a log and a place.

        A log that may publish its name, and a place for the kept snapshot: the build job, which
        runs a privileged container, has no token that could read it at GitHub.
        """
        name, private = self.github.name_and_privacy()
        if name != self.config.repository:
            raise CheckFailed(
                f"release.github = {self.config.repository}, but GitHub calls it {name}",
                hint=CORRECT,
            )
        if not private:
            return "public"
        if self.config.sign.only_public:
            raise CheckFailed(f"private; {PRIVATE}", hint=OWN_INSTANCE)
        if self.config.spaces is None and self.config.build.kept is None:
            raise CheckFailed(
                "private; the build job has no token for the snapshot that is kept at GitHub",
                hint=KEPT_ELSEWHERE,
            )
        return "private"

    def check_branch(self) -> str:
        """Return the default branch, which must have the commit; the tag must name it."""
        tagged = self.github.commit_of(self.tag) if self.tag else None
        commit = self.origin.commit
        if tagged not in (None, commit):
            moved = "the tag was moved: start again from the commit that it names now"
            raise CheckFailed(
                f"tag {self.tag} at GitHub names {tagged}, the checkout is {commit}",
                hint=moved if self.running_in else NEW_VERSION,
            )
        if self.tag and self.running_in and tagged is None:
            raise CheckFailed(
                f"tag {self.tag}: not at GitHub any more",
                hint="push it again if this release is still wanted",
            )
        branch = self.github.default_branch()
        if not self.github.contains(branch, commit):
            raise CheckFailed(
                f"{commit} is not on {branch}",
                hint=f"merge it into {branch} first, then tag the merged commit",
            )
        return f"{commit[:12]} is on {branch}"

    def check_unpublished(self) -> str:
        """Return whether the tag has no release yet, or one of the same lock and commit."""
        tag = self.tag or self.origin.version
        found = self.github.releases(tag)
        published = next((each for each in found if not each.draft), None)
        if published is None:
            # GitHub shows drafts to a token that may write, which this job of a workflow has not.
            drafts = f"{tag}: a draft, which `publish` completes if it is of the same release"
            return drafts if found else f"{tag}: none published"
        manifest = published_manifest(self.github, published)
        if manifest is None:
            raise CheckFailed(
                f"{published.html_url}: published, without {MANIFEST}", hint=NEW_VERSION
            )
        expected = (self.lock.id, self.origin.commit)
        if (manifest.lock_id, manifest.commit) != expected:
            raise CheckFailed(
                f"{published.html_url}: published from commit {manifest.commit[:12]}, "
                f"this one is {self.origin.commit[:12]}",
                hint=NEW_VERSION,
            )
        return f"{tag}: published before, from the same commit and lock"

    def checks(self) -> tuple[tuple[str, Callable[[], str]], ...]:
        """Return all checks of this class, by name."""
        return (
            ("lock", self.check_lock),
            ("tag and version", self.check_tag),
            ("repository", self.check_repository),
            ("visibility", self.check_visibility),
            ("default branch", self.check_branch),
            ("earlier release", self.check_unpublished),
        )


def published_manifest(host: ReleaseHost, release: GitRelease) -> Manifest | None:
    """Return the manifest of a release at GitHub, None when it has none."""
    present = next((each for each in host.present(release) if each.name == MANIFEST), None)
    return parse_manifest(host.read_small(present, MAX_MANIFEST)) if present else None


def workflow_repository(environment: Mapping[str, str]) -> str:
    """Return OWNER/REPO of the workflow that runs this process; empty outside of one."""
    return environment.get("GITHUB_REPOSITORY", "")
