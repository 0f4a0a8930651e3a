"""Draft, upload, read back, publish: each step keeps the existing files (read first)."""

from dataclasses import dataclass

from github.GitRelease import GitRelease

from build.edges.progress import Progress
from build.errors import PublishError
from build.words import counted
from ci.publish.adopt import Verify, adopt_bundles
from ci.publish.attestations import AttestationStore, State, attest_release, plan_attestation
from ci.publish.drafts import choose, mark_of, read_drafts, remove_surplus, surplus
from ci.publish.github_release import ReleaseHost
from ci.publish.plan import Plan, difference, plan
from ci.publish.release_files import ReleaseFile, ReleaseFiles
from ci.publish.transfer import ProgressCounter
from ci.release.manifest import BUNDLE_SUFFIX, Manifest
from ci.release.version import is_prerelease

IMMUTABLE = "increase `serial` in release.toml and build again: published files are immutable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Result of `publish_release`."""

    url: str
    """URL of the release's page."""
    uploaded: tuple[str, ...]
    kept: tuple[str, ...]
    """Names of files that existed already, with the right digest."""
    before: bool
    """Whether the whole release was published before."""
    immutable: bool
    """Whether GitHub refuses changes of it."""
    attestation: State
    """Whether GitHub's attestation store has the provenance."""


def publish_release(
    host: ReleaseHost,
    store: AttestationStore,
    release: ReleaseFiles,
    notes: str,
    *,
    replace: bool,
    needs_tag: bool = False,
    verify: Verify,
    progress: Progress,
) -> Published:
    """Publish `release`; a repeated run completes an interrupted one.

    Bundles that an earlier run uploaded are kept when `verify` accepts them, and replace those in
    dist. `replace` replaces different files of a draft. A published release is never changed.
    `needs_tag`: the tag must exist; without it, GitHub makes one of the release's commit.

    Raises:
        PublishError: the published release or the draft of its tag has other files.
        RemoteError: GitHub refuses or does not reply; running the command again is safe.
    """
    tag = release.manifest.tag
    tagged = _check_tag(host, release.manifest, required=needs_tag)
    found = host.releases(tag)
    published = _published(found)
    if published:
        return _confirm(host, store, published, release, verify=verify, progress=progress)
    drafts = {item.id: item for item in found}
    chosen = choose(read_drafts(host, found, mark_of(release)), release.files)
    draft = drafts[chosen.number] if chosen else None
    if draft and not replace:
        release = adopt_bundles(host, draft, release, verify=verify, progress=progress)
    draft = draft or host.create_draft(
        tag, None if tagged else release.manifest.commit, notes, mark=mark_of(release)
    )
    done = _upload(host, draft, release, replace=replace, progress=progress)
    _read_back(host, draft, release.files, progress)
    attestation = attest_release(store, release, progress)
    # All that took minutes: another run may have been faster, or the tag may have moved.
    found = host.releases(tag)
    published = _published(found)
    if published and published.id != draft.id:
        return _confirm(host, store, published, release, verify=verify, progress=progress)
    _check_tag(host, release.manifest, required=tagged)
    remove_surplus(host, found, draft, release, progress)
    # Last: the assets of an immutable release cannot be changed after its publication.
    public = host.promote(draft, notes, prerelease=is_prerelease(tag))
    _check_tag(host, release.manifest, required=True)
    return Published(
        url=public.html_url,
        uploaded=tuple(file.name for file in done.upload),
        kept=tuple(file.name for file in done.keep),
        before=False,
        immutable=bool(public.immutable),
        attestation=attestation,
    )


def _published(found: list[GitRelease]) -> GitRelease | None:
    return next((item for item in found if not item.draft), None)


def plan_publication(
    host: ReleaseHost, store: AttestationStore, release: ReleaseFiles, *, replace: bool
) -> list[tuple[str, str]]:
    """Return what `publish_release` would do, and with what: the draft or a file.

    `create`, `upload`, `keep`, `replace` or `refuse`; `verify` for a bundle of an earlier run,
    which is kept when it verifies; `store` for the provenance in the attestation store.

    Raises:
        RemoteError: GitHub refuses or does not reply.
    """
    found = host.releases(release.manifest.tag)
    target = _published(found)
    if target is None:
        chosen = choose(read_drafts(host, found, mark_of(release)), release.files)
        target = next((item for item in found if chosen and item.id == chosen.number), None)
    present = {item.name: item for item in host.present(target)} if target else {}
    public = target is not None and not target.draft
    steps = [] if target else [("create", f"draft {release.manifest.tag}")]
    for file in release.files:
        there = present.pop(file.name, None)
        if there is None:
            action = "refuse" if public else "upload"
        elif there.matches(file):
            action = "keep"
        elif not public and (replace or not there.complete):
            action = "replace"
        else:
            action = "verify" if file.name.endswith(BUNDLE_SUFFIX) else "refuse"
        steps.append((action, file.name))
    removed = not public and replace
    steps += [("remove" if removed else "refuse", name) for name in present]
    drafts = read_drafts(host, found, mark_of(release))
    further = surplus(drafts, target.id if target else 0, release.files)
    steps += [("remove", f"draft {draft.number}") for draft in further]
    return steps + plan_attestation(store, release)


def _check_tag(host: ReleaseHost, manifest: Manifest, *, required: bool) -> bool:
    """Return whether the tag exists; refuse a tag of another commit than the release's."""
    commit = host.commit_of(manifest.tag)
    if commit == manifest.commit or (commit is None and not required):
        return commit is not None
    raise PublishError(
        f"tag {manifest.tag} of {host.repository}: names commit {commit or 'nothing'}, "
        f"expected {manifest.commit}, the commit of the release",
        hint="build and sign from the commit that the tag names",
    )


def _confirm(
    host: ReleaseHost,
    store: AttestationStore,
    published: GitRelease,
    release: ReleaseFiles,
    *,
    verify: Verify,
    progress: Progress,
) -> Published:
    """Compare a published release with `release`, and complete what is beside its files."""
    release = adopt_bundles(host, published, release, verify=verify, progress=progress)
    present = host.present(published)
    remaining = plan(release.files, present, hint=IMMUTABLE)
    if differing := remaining.upload or remaining.remove:
        problem = f"{differing[0].name}: not in the published release {published.html_url}"
        raise PublishError(problem, hint=IMMUTABLE)
    # Only digests that GitHub reports have been compared so far.
    known = {item.name for item in present if item.sha256}
    unknown = tuple(file for file in release.files if file.name not in known)
    _read_back(host, published, unknown, progress)
    remove_surplus(host, host.releases(release.manifest.tag), published, release, progress)
    return Published(
        url=published.html_url,
        uploaded=(),
        kept=tuple(file.name for file in release.files),
        before=True,
        immutable=bool(published.immutable),
        # Stored by now, unless a version without this step published the release.
        attestation=attest_release(store, release, progress),
    )


def _upload(
    host: ReleaseHost,
    draft: GitRelease,
    release: ReleaseFiles,
    *,
    replace: bool,
    progress: Progress,
) -> Plan:
    """Upload the missing files to `draft`; return the completed plan."""
    hint = "replace it in the draft with `--replace`, or delete the draft at GitHub"
    todo = plan(release.files, host.present(draft), replace=replace, hint=hint)
    for stale in todo.remove:
        state = "" if stale.complete else " (an interrupted upload)"
        progress.note(f"remove {stale.name}{state} from the draft")
        host.remove(draft, stale)
    if todo.upload:
        total = sum(file.size for file in todo.upload)
        with progress.step(f"Upload {counted(len(todo.upload), 'file')}", total=total) as step:
            for file in todo.upload:
                host.upload(draft, file, ProgressCounter(step))
    return todo


def _read_back(
    host: ReleaseHost, release: GitRelease, files: tuple[ReleaseFile, ...], progress: Progress
) -> None:
    """Download the files again and check their digests; for a draft, before it becomes public."""
    if not files:
        return
    total = sum(file.size for file in files)
    with progress.step(f"Read back {counted(len(files), 'file')}", total=total) as step:
        present = {item.name: item for item in host.present(release)}
        for file in files:
            uploaded = present.get(file.name)
            if uploaded is None:
                raise PublishError(f"{file.name}: not in the release after its upload")
            if not uploaded.matches(file):
                raise PublishError(difference(uploaded, file))
            sha256 = host.read_back(uploaded, step)
            if sha256 != file.sha256:
                raise PublishError(
                    f"{file.name}: read back with sha256 {sha256}, expected {file.sha256}",
                    hint="delete the draft at GitHub and run the command again",
                )
