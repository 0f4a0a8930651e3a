"""`preflight` reports every fault of a release before it begins, each with what to do."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from build.config import Origin
from build.snapshot.kept import kept_name
from build.snapshot.lock import write_lock
from ci.__main__ import main
from ci.commands import preflight as command
from ci.config import read_config
from ci.preflight import machine, release
from ci.rehearsal.github.server import running
from ci.rehearsal.github.state import StoredAsset, StoredRelease, World
from ci.release.manifest import MANIFEST, dump_manifest, parse_manifest
from ci.release.snapshots import kept_tag
from ci.release.version import version_of
from tests.attest.conftest import git
from tests.publish.release import COMMIT, REPOSITORY, world_in, write_config, write_release
from tests.snapshot.conftest import lock_of, locked

OTHER = "6" * 40


@dataclass
class Scene:
    """A checkout that is ready for a release, and GitHub's double."""

    folder: Path
    config: Path
    world: World
    tag: str
    origin: Origin

    def publish(
        self,
        *,
        tag: str = "",
        commit: str = "",
        previous: str | None = None,
        draft: bool = False,
        name: str = MANIFEST,
    ) -> None:
        """Put a release at GitHub, by default of this tag; its manifest is a file called `name`."""
        tag = tag or self.tag
        dist = write_release(self.folder, version=tag)
        manifest = parse_manifest((dist / MANIFEST).read_bytes())
        commit = commit or self.origin.commit
        manifest = replace(manifest, commit=commit, lock_id=self.lock_id, previous=previous)
        self._put(tag, name, dump_manifest(manifest), draft=draft)

    def keep(self) -> None:
        """Put the prerelease at GitHub that keeps the snapshot of the lock."""
        self._put(kept_tag(self.lock_id), kept_name(self.lock_id), b"an archive")

    def _put(self, tag: str, name: str, content: bytes, *, draft: bool = False) -> None:
        """Put a release with one file at GitHub."""
        number = self.world.next_number()
        self.world.blob(number).write_bytes(content)
        asset = StoredAsset(
            number=number,
            name=name,
            label="",
            content_type="application/json",
            size=len(content),
            sha256=None,
            state="uploaded",
            created=self.world.now(),
        )
        known = [each.number for each in self.world.releases.values() if each.tag == tag]
        release_number = known[0] if known else 1000 + number
        self.world.releases[release_number] = StoredRelease(
            number=release_number,
            tag=tag,
            commitish="main",
            name=tag,
            body="",
            draft=draft,
            prerelease=False,
            created=self.world.now(),
            published=None if draft else self.world.now(),
            assets=[asset],
        )

    lock_id: str = ""

    def at(self, commit: str) -> None:
        """Let the checkout and GitHub's branch and tag be at `commit`."""
        self.origin = replace(self.origin, commit=commit)
        self.world.branches["main"] = self.world.tags[self.tag] = commit


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    world = world_in(tmp_path)
    with running(world) as url:
        config = write_config(tmp_path, api=url)
        lock = lock_of(locked("musl", 1))
        lock = replace(lock, choice_sha256=read_config(config).build.choice_sha256)
        write_lock(tmp_path / "release.lock", lock)
        tag = version_of(lock, serial=0, dirty=False)
        world.branches["main"] = world.tags[tag] = COMMIT
        origin = Origin(name="snowdrop", version=tag, commit=COMMIT, dirty=False)
        scene = Scene(tmp_path, config, world, tag, origin, lock.id)
        monkeypatch.setattr(release, "origin_of", lambda *_: scene.origin)
        scene.keep()
        git(tmp_path, "init", "--quiet")
        monkeypatch.setattr(command, "ROOT", tmp_path)
        monkeypatch.setattr(machine, "is_installed", lambda _: True)
        monkeypatch.setenv("GITHUB_TOKEN", "token-of-a-test")
        monkeypatch.setenv("GITHUB_REPOSITORY", REPOSITORY)
        yield scene
    assert world.violations == []


@pytest.fixture
def check(scene: Scene, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, str]]:
    """Return a function that runs the session: found texts by name of the checks that failed."""

    def run(tag: str = scene.tag) -> dict[str, str]:
        capsys.readouterr()
        status = main(["preflight", tag, "--part", "release", "--config", str(scene.config)])
        lines = capsys.readouterr().out.splitlines()
        failed = {}
        for line, following in zip(lines, [*lines[1:], ""], strict=True):
            if line.startswith("FAILED"):
                name, _, found = line.removeprefix("FAILED").strip().partition("  ")
                failed[name] = found.strip()
                assert "do: " in following, line
        assert status == (1 if failed else 0)
        assert (lines[-1] == "ready for a release") is not bool(failed)
        return failed

    return run


def test_a_ready_release_passes(check: Callable[..., dict[str, str]]) -> None:
    assert check() == {}


def dirty(scene: Scene) -> None:
    scene.origin = replace(scene.origin, version=f"{scene.tag}-dirty", dirty=True)


def placeholder(scene: Scene) -> None:
    scene.config.write_text(scene.config.read_text().replace(REPOSITORY, "OWNER/REPO"))


def stale(scene: Scene) -> None:
    scene.config.write_text(scene.config.read_text().replace("alpine-base", "alpine-other"))


def moved(scene: Scene) -> None:
    scene.world.tags[scene.tag] = OTHER


def on_a_branch(scene: Scene) -> None:
    scene.world.branches["main"] = OTHER


def in_other_case(scene: Scene) -> None:
    # A certificate would name the repository as GitHub spells it.
    scene.config.write_text(scene.config.read_text().replace(REPOSITORY, REPOSITORY.upper()))


def private(scene: Scene) -> None:
    scene.world.settings.private = True


def private_log_allowed(scene: Scene) -> None:
    private(scene)
    scene.config.write_text(scene.config.read_text() + "\n[sign]\npublic_log = true\n")


def deleted(scene: Scene) -> None:
    del scene.world.tags[scene.tag]


def not_kept(scene: Scene) -> None:
    scene.world.releases.clear()


def kept_elsewhere(scene: Scene) -> None:
    (scene.folder / "kept").mkdir()
    text = scene.config.read_text()
    scene.config.write_text(text.replace("[snapshot]", '[snapshot]\nkept = ["kept"]'))


def no_rights(scene: Scene) -> None:
    scene.world.refused = {"repos/list-releases"}


@pytest.mark.parametrize(
    ("fault", "name", "found"),
    [
        (dirty, "tag and version", "the working tree has changes"),
        (placeholder, "repository", "release.github = OWNER/REPO"),
        (stale, "lock", "made from another choice of packages"),
        (moved, "default branch", f"names {OTHER}"),
        (on_a_branch, "default branch", "is not on main"),
        (in_other_case, "repository", f"but this workflow runs in {REPOSITORY}"),
        (in_other_case, "visibility", f"but GitHub calls it {REPOSITORY}"),
        (private, "visibility", "would write its name, workflow and commit into a public log"),
        (private_log_allowed, "visibility", "no token for the snapshot that is kept at GitHub"),
        (deleted, "default branch", "not at GitHub any more"),
        (no_rights, "earlier release", "403"),
        (not_kept, "kept snapshot", "GitHub has no prerelease snapshot-"),
        (kept_elsewhere, "kept snapshot", ".tar is not in kept"),
        (lambda scene: scene.publish(commit=OTHER), "earlier release", "published from commit 666"),
    ],
)
def test_a_fault_is_one_line(
    fault: Callable[[Scene], Any],
    name: str,
    found: str,
    scene: Scene,
    check: Callable[..., dict[str, str]],
) -> None:
    fault(scene)
    assert found in check()[name]


def test_the_same_fault_is_not_described_twice(
    scene: Scene, check: Callable[..., dict[str, str]]
) -> None:
    (scene.folder / "release.lock").write_text("<<<<<<< ours\n")
    failed = check()
    assert "merge conflict markers" in failed["lock"]
    assert {failed[name] for name in ("tag and version", "default branch")} == {
        "not checked: the check `lock` failed"
    }


def test_a_wrong_tag_and_everything_else_is_reported_at_once(
    scene: Scene, check: Callable[..., dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_branch(scene)
    monkeypatch.setenv("GITHUB_REPOSITORY", "fork/snowdrop")
    monkeypatch.setattr(machine, "is_installed", lambda name: name != "engine")
    monkeypatch.setattr(machine, "OTHER_ROOM", 1 << 60)
    failed = check("v1")
    assert failed["tag and version"].startswith("tag v1, but lock and sources give version v3.")
    assert "runs in fork/snowdrop" in failed["repository"]
    assert failed["programs"] == "missing: podman"
    assert "free, expected" in failed["room"]
    assert len(failed) == 5


def test_a_release_that_is_there_already_is_completed_or_left_alone(
    scene: Scene, check: Callable[..., dict[str, str]]
) -> None:
    for draft in (True, False):
        scene.publish(draft=draft)
        assert check() == {}


def test_a_private_repository_with_a_place_for_its_snapshots_is_ready(
    scene: Scene, check: Callable[..., dict[str, str]]
) -> None:
    private_log_allowed(scene)
    text = scene.config.read_text()
    scene.config.write_text(text.replace("[snapshot]", "[snapshot]\nkept = []"))
    assert check() == {}


def test_a_tag_is_checked_before_it_is_pushed(
    scene: Scene, check: Callable[..., dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_REPOSITORY")
    deleted(scene)
    assert check() == {}


def test_a_missing_token_fails_the_checks_that_need_it(
    check: Callable[..., dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_TOKEN")
    needing = {"visibility", "default branch", "earlier release", "previous release"}
    assert set(check()) == {*needing, "kept snapshot"}


def test_a_later_job_learns_whether_there_is_a_mirror(
    scene: Scene, check: Callable[..., dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = scene.folder / "output"
    monkeypatch.setenv("GITHUB_OUTPUT", str(output))
    check()
    assert "mirror=false\n" in output.read_text()


FIRST, FAILED = "v3.24.20251101", "v3.24.20251102"


@pytest.fixture
def previous(
    scene: Scene, check: Callable[..., dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> Callable[[], str]:
    """Return what runs the session after two tags and returns its output for the attest job."""
    output = scene.folder / "output"
    monkeypatch.setenv("GITHUB_OUTPUT", str(output))
    git(scene.folder, "add", "release.lock")
    for tag in (FIRST, FAILED, scene.tag):
        git(scene.folder, "commit", "-qm", tag, "--allow-empty")
        git(scene.folder, "tag", tag)
    scene.at(git(scene.folder, "rev-parse", "HEAD"))

    def run() -> str:
        output.unlink(missing_ok=True)
        assert check() == {}
        lines = dict(line.split("=", 1) for line in output.read_text().splitlines())
        return lines["previous"]

    return run


def test_a_tag_that_became_no_release_is_not_the_previous_release(
    scene: Scene, previous: Callable[[], str]
) -> None:
    scene.publish(tag=FIRST)
    assert previous() == FIRST
    scene.publish(tag=FAILED, draft=True)
    assert previous() == FIRST
    scene.publish(tag=FAILED, name="notes.txt")
    assert previous() == FIRST
    scene.publish(tag=FAILED)
    assert previous() == FAILED


def test_without_a_published_release_there_is_no_previous_one(
    scene: Scene, previous: Callable[[], str]
) -> None:
    """As in a fork, which has the tags of the repository that it was made from."""
    assert previous() == ""
    git(scene.folder, "tag", "v3.25.20251201")  # of the same commit
    git(scene.folder, "commit", "-qm", "A later one", "--allow-empty")
    git(scene.folder, "tag", "v3.25.20251202")
    for tag in ("v3.25.20251201", "v3.25.20251202"):
        scene.publish(tag=tag)
    assert previous() == ""


def test_a_release_that_is_published_keeps_its_previous_release(
    scene: Scene, previous: Callable[[], str]
) -> None:
    """A failed tag may become a release after this one; a repeated run must sign the same."""
    for tag in (FIRST, FAILED):
        scene.publish(tag=tag)
    for kept in (FIRST, None):
        scene.publish(previous=kept)
        assert previous() == (kept or "")


def test_a_previous_release_whose_tag_is_gone_is_named(
    scene: Scene, previous: Callable[[], str], check: Callable[..., dict[str, str]]
) -> None:
    scene.publish(previous=FIRST)
    assert previous() == FIRST
    git(scene.folder, "tag", "--delete", FIRST)
    assert f"previous release {FIRST}: no tag of a release" in check()["previous release"]


def test_without_the_history_there_is_no_answer(
    scene: Scene,
    previous: Callable[[], str],
    check: Callable[..., dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene.publish(tag=FIRST)
    assert previous() == FIRST
    shallow = scene.folder / "shallow"
    git(scene.folder, "clone", "-q", "--depth=1", f"file://{scene.folder}", str(shallow))
    monkeypatch.setattr(command, "ROOT", shallow)
    output = scene.folder / "output"
    output.unlink()
    assert "a shallow checkout" in check()["previous release"]
    assert "previous=" not in output.read_text()
