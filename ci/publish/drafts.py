"""The drafts of one release: which one is filled, and which are removed.

GitHub allows several drafts of a tag. A lost reply leaves a second one, and so do two runs at once.
The first line of its notes marks a draft as that of a release; the notes of a published release do
not have it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from github.GitRelease import GitRelease

from build.edges.progress import Progress
from build.errors import PublishError
from ci.publish.github_release import ReleaseHost
from ci.publish.plan import Present
from ci.publish.release_files import ReleaseFile, ReleaseFiles
from ci.release.manifest import MANIFEST, is_bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One draft."""

    number: int
    marked: bool
    """Whether a run for the same release.json made it."""
    files: tuple[Present, ...]

    def matching(self, wanted: Sequence[ReleaseFile]) -> int:
        """Return how many of the wanted files it has."""
        files = {file.name: file for file in wanted}
        return sum(each.name in files and each.matches(files[each.name]) for each in self.files)


def mark_of(release: ReleaseFiles) -> str:
    """Return the line that marks the drafts of a release, invisible in GitHub's pages."""
    (sha256,) = (file.sha256 for file in release.files if file.name == MANIFEST)
    return f"<!-- snowdrop: a draft of {MANIFEST} sha256:{sha256} -->\n"


def choose(drafts: Sequence[Draft], wanted: Sequence[ReleaseFile]) -> Draft | None:
    """Return the draft to fill, None without any: of the marked ones that with the most files.

    Raises:
        PublishError: there are several, and none is marked.
    """
    marked = [draft for draft in drafts if draft.marked]
    if not marked and len(drafts) > 1:
        numbers = ", ".join(str(draft.number) for draft in drafts)
        raise PublishError(
            f"drafts {numbers} have the same tag, and none of them is of this release",
            hint="delete all but one, or all, on the page of releases at GitHub",
        )
    return max(
        marked or drafts, key=lambda each: (each.matching(wanted), -each.number), default=None
    )


def surplus(drafts: Sequence[Draft], kept: int, wanted: Sequence[ReleaseFile]) -> tuple[Draft, ...]:
    """Return the drafts besides `kept`, which has all wanted files, that carry nothing else.

    A marked draft of the same files is surplus, whatever interrupted uploads and other signatures
    of these files it has.
    """
    files = {file.name: file for file in wanted}

    def is_there(present: Present) -> bool:
        file = files.get(present.name)
        return not present.complete or (
            file is not None and (present.matches(file) or is_bundle(file.name))
        )

    return tuple(
        draft
        for draft in drafts
        if draft.marked and draft.number != kept and all(map(is_there, draft.files))
    )


def read_drafts(host: ReleaseHost, found: Sequence[GitRelease], mark: str) -> list[Draft]:
    """Return the drafts among the releases of a tag.

    Raises:
        RemoteError: GitHub refuses or does not reply.
    """
    return [
        Draft(
            number=item.id,
            marked=mark.strip() in (item.body or ""),
            files=tuple(host.present(item)),
        )
        for item in found
        if item.draft
    ]


def remove_surplus(
    host: ReleaseHost,
    found: Sequence[GitRelease],
    kept: GitRelease,
    release: ReleaseFiles,
    progress: Progress,
) -> None:
    """Delete the surplus drafts among `found`, which are in the way of nobody; note any others.

    Raises:
        RemoteError: GitHub refuses or does not reply.
    """
    others = [item for item in found if item.draft and item.id != kept.id]
    if not others:
        return
    drafts = read_drafts(host, others, mark_of(release))
    numbers = {draft.number for draft in surplus(drafts, kept.id, release.files)}
    for item in others:
        if item.id in numbers:
            progress.note(f"remove the further draft {item.id} of {item.tag_name}")
            host.delete_draft(item)
        else:
            progress.note(f"draft {item.id} of {item.tag_name} is not of this release: it stays")
