"""What can go wrong while a release is published: one row for each fault."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from build.edges.files import hash_file
from build.edges.progress import Silent
from ci.config import read_config
from ci.publish.attestations import AttestationStore
from ci.publish.drafts import mark_of
from ci.publish.github_release import ReleaseHost
from ci.publish.notes import release_notes
from ci.publish.publish import Published, publish_release
from ci.publish.release_files import read_release
from ci.publish.transfer import ProgressCounter
from ci.rehearsal.github.state import Fault, Kind, StoredAsset, StoredRelease, World
from tests.publish.release import COMMIT, IMAGE, REPOSITORY, VERSION, Counted, write_config

LIST = "repos/list-releases"
CREATE, UPLOAD = "repos/create-release", "repos/upload-release-asset"
STORE, UPDATE = "repos/create-attestation", "repos/update-release"
LOST: tuple[Kind, ...] = (
    *("500-before", "502-before", "reset-before"),
    *("500-after", "502-after", "reset-after"),
)
WRITES = {CREATE: "create", UPLOAD: "upload", STORE: "store", UPDATE: "publish"}


@dataclass
class Run:
    """A publisher's folder with the signed release, and GitHub's double."""

    folder: Path
    api: str
    world: World
    pauses: list[float] = field(default_factory=list)
    """Seconds that the publisher would have waited."""

    @property
    def dist(self) -> Path:
        """The folder of the release."""
        return self.folder / "dist"

    @property
    def config(self) -> Path:
        """The configuration, written anew."""
        return write_config(self.folder, api=self.api)

    def publish(
        self, *, progress: Counted | None = None, api: str = "", accept: bool = False
    ) -> Published:
        """Publish as the command does, without waiting.

        `accept`: bundles of an earlier run verify, which here are not real ones.
        """
        progress = progress or Counted()
        release = read_release(read_config(self.config), progress)
        clients = (api or self.api, REPOSITORY, "token")
        return publish_release(
            ReleaseHost(*clients, wait=self.pauses.append),
            AttestationStore(*clients, wait=self.pauses.append),
            release,
            "notes",
            replace=False,
            verify=lambda folder: [] if accept else [f"{folder.name}: not verified"],
            progress=progress,
        )

    def draft(self, *names: str) -> None:
        """Make a draft of the release with some of its files, as an interrupted run leaves it."""
        release = read_release(read_config(self.config), Counted())
        host = ReleaseHost(self.api, REPOSITORY, "token", wait=self.pauses.append)
        draft = host.create_draft(VERSION, COMMIT, "notes", mark=mark_of(release))
        for file in release.files:
            if file.name in names:
                host.upload(draft, file, ProgressCounter(Silent()))

    def digests(self) -> dict[str, str]:
        """Return the sha256 of the files of the release, by name."""
        return {path.name: hash_file(path).sha256 for path in self.dist.iterdir()}

    def release(self) -> StoredRelease:
        """Return the only release at GitHub."""
        (release,) = self.world.releases.values()
        return release

    def command_notes(self) -> str:
        """Return the notes that the command writes, where `publish` has a short text."""
        config = read_config(self.config)
        return release_notes(config, read_release(config, Counted()))

    def check_complete(self, notes: str = "notes") -> None:
        """Check that one complete release with these notes is public, and nothing else is there."""
        release = self.release()
        assert (release.draft, release.immutable, release.prerelease) == (False, True, False)
        assert (release.tag, self.world.tags[VERSION]) == (VERSION, COMMIT)
        assert release.body == notes
        served = [
            (each.name, each.state, hash_file(self.world.blob(each.number)).sha256)
            for each in release.assets
        ]
        assert sorted(served) == sorted((n, "uploaded", d) for n, d in self.digests().items())
        blobs = {path.name for path in (self.world.folder / "assets").iterdir()}
        assert blobs == {str(each.number) for each in release.assets}
        bundles = [each.bundle for each in self.world.attestations]
        assert bundles
        assert all(each == bundles[0] for each in bundles)


Arrange = Callable[[Run], None]


@dataclass(frozen=True)
class Row:
    """One fault."""

    name: str
    arrange: Arrange
    error: str = ""
    """Pattern of what the run reports; empty: it recovers by itself."""
    repair: Arrange = lambda run: None
    """What has to be put right before the next run."""
    quick: bool = False
    """Whether it runs in the quick tests; the others are much like one that does."""


def once(operation: str, kind: Kind, times: int = 1) -> Arrange:
    """Return what makes the next requests of an operation fail; of uploads, that of the image."""
    name = IMAGE if operation == UPLOAD else ""
    return lambda run: run.world.faults.extend([Fault(operation, kind, name)] * times)


def meanwhile(operation: str, act: Callable[[Run], object], name: str = "") -> Arrange:
    """Return what lets something happen just before an operation runs."""
    return lambda run: run.world.faults.append(
        Fault(operation, "meanwhile", name, lambda: act(run))
    )


def clear(run: Run) -> None:
    """Take away the faults that are left."""
    run.world.faults.clear()


def release_it(run: Run) -> None:
    """Publish the only draft, as somebody can at GitHub's page."""
    release = run.release()
    release.draft, release.immutable, release.published = False, True, run.world.now()
    run.world.tags[release.tag] = release.commitish


def add_asset(*, whole: bool) -> Callable[[Run], None]:
    """Return what adds the image to the draft: whole, or the rest of an interrupted upload."""

    def act(run: Run) -> None:
        world, content = run.world, (run.dist / IMAGE).read_bytes()
        asset = StoredAsset(
            number=world.next_number(),
            name=IMAGE,
            label=None,
            content_type="application/octet-stream",
            size=len(content) if whole else 0,
            sha256=run.digests()[IMAGE] if whole else None,
            state="uploaded" if whole else "starter",
            created=world.now(),
        )
        world.blob(asset.number).write_bytes(content if whole else b"")
        run.release().assets.append(asset)

    return act


def move_tag(run: Run) -> None:
    """Let the tag name another commit."""
    run.world.tags[VERSION] = "6" * 40


def tag_first(run: Run) -> None:
    """Let the tag exist, as it does in a workflow, and move while the files are uploaded."""
    run.world.tags[VERSION] = COMMIT
    meanwhile(STORE, move_tag)(run)


def tag_back(run: Run) -> None:
    """Let the tag name the commit of the release."""
    run.world.tags[VERSION] = COMMIT


def two_drafts(*first: str) -> Arrange:
    """Return what leaves two drafts: one with some files, one with two of them."""

    def arrange(run: Run) -> None:
        run.draft(*first)
        run.draft("release.lock", IMAGE)

    return arrange


def rows() -> Iterator[Row]:
    """Yield the table."""
    for operation, word in WRITES.items():
        for kind in LOST:
            yield Row(f"{kind}, {word}", once(operation, kind), quick=kind == "502-after")
        yield Row(f"403 rate limit, {word}", once(operation, "403-limit"))
        yield Row(f"429 Retry-After, {word}", once(operation, "429"))
        right = "attestations: write" if operation == STORE else "contents: write"
        hint = f"the permission `{right}`"
        yield Row(f"403 no right, {word}", once(operation, "403"), hint, quick=word == "store")
        yield Row(f"401, {word}", once(operation, "401"), "set a valid GITHUB_TOKEN")
        yield Row(f"404, {word}", once(operation, "404"), f"check {REPOSITORY}")
    yield Row("403 no right, list", once(LIST, "403"), "the permission `contents: write`")
    yield Row("401, list", once(LIST, "401"), "set a valid GITHUB_TOKEN")
    yield Row("404 repository", once(LIST, "404"), f"check {REPOSITORY}", quick=True)
    yield Row("502 all the time", once(CREATE, "502-before", 9), "run the command again", clear)
    yield from _uploads()
    yield from _others()


def _uploads() -> Iterator[Row]:
    yield Row("reset half-way", once(UPLOAD, "reset-midway"))
    yield Row("starter", once(UPLOAD, "starter"))
    yield Row("starter all the time", once(UPLOAD, "starter", 9), "502", clear, quick=True)
    yield Row("stored wrongly", once(UPLOAD, "damaged"), quick=True)
    yield Row("stalled", once(UPLOAD, "stalled"))
    yield Row(
        "422 already_exists, a starter",
        meanwhile(UPLOAD, add_asset(whole=False), IMAGE),
        quick=True,
    )
    yield Row("422 already_exists, the file", meanwhile(UPLOAD, add_asset(whole=True), IMAGE))


def _others() -> Iterator[Row]:
    yield Row("two drafts, one empty", two_drafts())
    yield Row("two drafts of the same files", two_drafts("release.lock", IMAGE))
    yield Row(
        "two drafts, one with more", two_drafts(IMAGE, "release.lock", "release.json"), quick=True
    )
    yield Row("two drafts of other files", two_drafts("release.json", "SHA256SUMS"))
    for operation, word in {
        LIST: "list",
        CREATE: "create",
        STORE: "store",
        UPDATE: "publish",
    }.items():
        yield Row(
            f"two publishers, {word}", meanwhile(operation, Run.publish), quick=word == "create"
        )
    yield Row("two publishers, upload", meanwhile(UPLOAD, Run.publish, IMAGE))
    yield Row("released by somebody, whole", meanwhile(STORE, release_it), quick=True)
    yield Row("tag moved", tag_first, "names commit 6666", tag_back, quick=True)
    yield Row("tag moved before", move_tag, "names commit 6666", tag_back)


ROWS = {row.name: row for row in rows()}
