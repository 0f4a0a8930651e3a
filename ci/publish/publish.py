"""Draft, upload, read back, publish: each step looks first at what is there already."""

from dataclasses import dataclass

from github.GitRelease import GitRelease

from build.edges.progress import Progress
from build.errors import PublishError
from ci.publish.github_release import ReleaseHost
from ci.publish.plan import Present, difference, plan
from ci.publish.release_files import ReleaseFile, ReleaseFiles
from ci.publish.transfer import HighWater
from ci.release.manifest import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What has been done for a release."""

    url: str
    """Its page."""
    uploaded: tuple[str, ...]
    kept: tuple[str, ...]
    """Names of what was there already, with the right digest."""
    before: bool
    """Whether all was published before, so that nothing was left to do."""
    immutable: bool
    """Whether GitHub now refuses to change it."""


def publish_release(
    host: ReleaseHost, release: ReleaseFiles, notes: str, *, replace: bool, progress: Progress
) -> Published:
    """Publish `release`, or find that it is; running it again finishes what was interrupted.

    `replace` exchanges files of a draft that differ. What is published is never changed.

    Raises:
        PublishError: something else is published, or stands in the draft, under its tag.
        RemoteError: GitHub refuses or does not answer; running it again is safe.
    """
    tag = release.manifest.tag
    tagged = _check_tag(host, release.manifest, there=False)
    found = host.releases(tag)
    published = next((item for item in found if not item.draft), None)
    if published:
        return _compare(host, published, release, progress)
    draft = _one_draft(host, found, progress)
    draft = draft or host.create_draft(tag, None if tagged else release.manifest.commit, notes)
    work = _fill(host, draft, release, replace=replace, progress=progress)
    _read_back(host, draft, release.files, progress)
    public = host.promote(draft, notes)
    _check_tag(host, release.manifest, there=True)
    return Published(
        url=public.html_url,
        uploaded=tuple(file.name for file in work[0]),
        kept=tuple(file.name for file in work[1]),
        before=False,
        immutable=bool(public.immutable),
    )


def _check_tag(host: ReleaseHost, manifest: Manifest, *, there: bool) -> bool:
    """Say whether the tag is there; refuse one that names other sources than the release's."""
    commit = host.commit_of(manifest.tag)
    if commit == manifest.commit or (commit is None and not there):
        return commit is not None
    raise PublishError(
        f"tag {manifest.tag} of {host.repository}: names commit {commit or 'nothing'}, "
        f"expected {manifest.commit}, from which the release was made",
        hint="build and sign from the commit that the tag names",
    )


def _compare(
    host: ReleaseHost, published: GitRelease, release: ReleaseFiles, progress: Progress
) -> Published:
    present = host.present(published)
    try:
        left = plan(release.files, present)
    except PublishError as error:
        error.hint = "what is published stays: count up `serial` in release.toml and build anew"
        raise
    if not left.done:
        name = (left.upload or left.remove)[0].name
        raise PublishError(
            f"{name}: not in the published release {published.html_url}, expected it there",
            hint="what is published stays: count up `serial` in release.toml and build anew",
        )
    known = {item.name for item in present if item.sha256}
    unknown = tuple(file for file in release.files if file.name not in known)
    _read_back(host, published, unknown, progress)
    return Published(
        url=published.html_url,
        uploaded=(),
        kept=tuple(file.name for file in release.files),
        before=True,
        immutable=bool(published.immutable),
    )


def _one_draft(
    host: ReleaseHost, drafts: list[GitRelease], progress: Progress
) -> GitRelease | None:
    """Return the draft to work on; empty ones besides are what lost answers have left."""
    if len(drafts) < 2:
        return drafts[0] if drafts else None
    filled = [draft for draft in drafts if host.present(draft)]
    if len(filled) > 1:
        raise PublishError(
            f"{drafts[0].tag_name}: {len(filled)} drafts hold files, expected one draft",
            hint=f"delete all but one at https://github.com/{host.repository}/releases",
        )
    ours = (filled or drafts)[0]
    for draft in drafts:
        if draft.id != ours.id:
            progress.note(f"remove the empty draft {draft.id} of {draft.tag_name}")
            host.delete_draft(draft)
    return ours


def _fill(
    host: ReleaseHost,
    draft: GitRelease,
    release: ReleaseFiles,
    *,
    replace: bool,
    progress: Progress,
) -> tuple[tuple[ReleaseFile, ...], tuple[ReleaseFile, ...]]:
    """Return which files were uploaded into `draft`, and which were there."""
    try:
        work = plan(release.files, host.present(draft), replace=replace)
    except PublishError as error:
        error.hint = "exchange it in the draft with `--replace`, or delete the draft at GitHub"
        raise
    for gone in work.remove:
        progress.note(f"remove {_shown(gone)} from the draft")
        host.remove(draft, gone)
    if not work.upload:
        return work.upload, work.keep
    total = sum(file.size for file in work.upload)
    with progress.step(f"Upload {len(work.upload)} files", total=total) as step:
        for file in work.upload:
            host.upload(draft, file, HighWater(step))
    return work.upload, work.keep


def _shown(gone: Present) -> str:
    return gone.name if gone.complete else f"{gone.name} (a broken-off upload)"


def _read_back(
    host: ReleaseHost, release: GitRelease, files: tuple[ReleaseFile, ...], progress: Progress
) -> None:
    """Check that a download gives every byte, before (if it can be) anybody else can have it."""
    if not files:
        return
    total = sum(file.size for file in files)
    with progress.step(f"Read back {len(files)} files", total=total) as step:
        present = {item.name: item for item in host.present(release)}
        for file in files:
            there = present.get(file.name)
            if there is None or not there.holds(file):
                raise PublishError(
                    difference(there, file) if there else f"{file.name}: gone, expected it there"
                )
            sha256 = host.read_back(there, step)
            if sha256 != file.sha256:
                raise PublishError(
                    f"{file.name}: read back with sha256 {sha256}, expected {file.sha256}",
                    hint="delete the draft at GitHub and run it again",
                )
