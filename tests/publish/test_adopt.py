"""A repeated run with new signatures finishes the release of the run before it."""

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from build.errors import PublishError, RemoteError
from ci.config import ReleaseConfig, read_config
from ci.publish.adopt import release_verifier
from ci.publish.attestations import AttestationStore
from ci.publish.github_release import ReleaseHost
from ci.publish.publish import Published, publish_release
from ci.publish.release_files import read_release
from ci.rehearsal.github.server import running
from ci.rehearsal.github.state import Fault, Kind, World
from ci.release.manifest import BUNDLE_SUFFIX, MANIFEST
from tests.publish.release import CONFIG as OTHER_CONFIG
from tests.publish.release import REPOSITORY as OTHER_REPOSITORY
from tests.publish.release import Counted, world_in
from tests.verify.conftest import _stage  # noqa: F401 (the fixture `stage`)
from tests.verify.mint import Mint
from tests.verify.stage import IMAGE, NEW, REPOSITORY, Stage

UPLOAD, UPDATE = "repos/upload-release-asset", "repos/update-release"
CONFIG = OTHER_CONFIG.replace(OTHER_REPOSITORY, REPOSITORY)


def sign_again(dist: Path, mint: Mint) -> None:
    """Replace each bundle by one of a second attempt: the same files, other signatures."""
    second = mint.claiming(run_attempt="2")
    for path in sorted(dist.glob(f"*{BUNDLE_SUFFIX}")):
        bundle: dict[str, Any] = json.loads(path.read_bytes())
        if envelope := bundle.get("dsseEnvelope"):
            payload = base64.b64decode(envelope["payload"])
            made = second.statement(payload.replace(b"/attempts/1", b"/attempts/2"))
        else:
            digest = bundle["messageSignature"]["messageDigest"]["digest"]
            made = second.file(base64.b64decode(digest).hex())
        path.write_text(json.dumps(made))


class Run:
    """A maintainer's folder with the signed release, and GitHub's double."""

    def __init__(self, folder: Path, api: str, stage: Stage, world: World) -> None:
        self.world = world
        self.dist = folder / "dist"
        self.stage = stage
        self.api = api
        shutil.copytree(stage.new, self.dist)
        text = f'{CONFIG}[github]\napi = "{api}"\n[sign]\n'
        text += f'trust_root = "{stage.trust_root}"\nsigning_config = "{stage.trust_root}"\n'
        (folder / "release.toml").write_text(text)
        self.config: ReleaseConfig = read_config(folder / "release.toml")
        self.notes: list[str] = []

    def publish(self) -> Published:
        """Publish as the command does."""
        progress = Counted()
        try:
            return publish_release(
                ReleaseHost(self.api, REPOSITORY, "token", wait=lambda seconds: None),
                AttestationStore(self.api, REPOSITORY, "token", wait=lambda seconds: None),
                read_release(self.config, progress),
                "notes",
                replace=False,
                verify=release_verifier(self.config, NEW),
                progress=progress,
            )
        finally:
            self.notes = progress.notes

    def stop_at(self, name: str, kind: Kind = "starter") -> None:
        """End a run at the upload of `name` or, with an empty one, at the publication."""
        fault = Fault(UPLOAD, kind, name) if name else Fault(UPDATE, "502-before")
        self.world.faults += [fault] * 9
        with pytest.raises(RemoteError):
            self.publish()
        self.world.faults.clear()
        (release,) = self.world.releases.values()
        assert release.draft

    def served(self) -> dict[str, bytes]:
        """Return the files of the only release at GitHub."""
        (release,) = self.world.releases.values()
        return {each.name: self.world.blob(each.number).read_bytes() for each in release.assets}

    def files(self) -> dict[str, bytes]:
        """Return the files in dist."""
        return {path.name: path.read_bytes() for path in self.dist.iterdir()}


@pytest.fixture
def run(tmp_path: Path, stage: Stage) -> Iterator[Run]:
    world = world_in(tmp_path)
    world.repository = REPOSITORY
    world.tags[NEW] = stage.commits[NEW]
    with running(world) as api:
        yield Run(tmp_path, api, stage, world)
    assert world.violations == []


@pytest.mark.parametrize(
    "name",
    [
        f"{IMAGE}{BUNDLE_SUFFIX}",
        # Each is a signed release and a whole verification: a second or two.
        pytest.param("", marks=pytest.mark.full),
        pytest.param(MANIFEST, marks=pytest.mark.full),
        pytest.param("SHA256SUMS", marks=pytest.mark.full),
    ],
)
def test_a_run_that_signed_again_finishes_the_release(name: str, run: Run) -> None:
    first = run.files()
    run.stop_at(name)
    uploaded = run.served()
    sign_again(run.dist, run.stage.mint)
    second = run.files()
    assert second[MANIFEST] == first[MANIFEST]
    changed = {each for each in first if first[each] != second[each]}
    assert changed == {each for each in first if each.endswith(BUNDLE_SUFFIX)}

    run.publish()

    served = run.served()
    (release,) = run.world.releases.values()
    assert not release.draft
    assert served[MANIFEST] == first[MANIFEST]
    # A draft that was complete is published as it is; one that was not has, of each bundle, the
    # first or the second, as they verify together.
    bundles = {each for each in served if each.endswith(BUNDLE_SUFFIX)}
    if uploaded == first:
        assert served == first
    assert all(served[each] in (first[each], second[each]) for each in bundles)
    assert run.files() == served
    assert release_verifier(run.config, NEW)(run.dist) == []


def test_a_published_release_is_adopted_whole(run: Run) -> None:
    first = run.files()
    run.publish()
    sign_again(run.dist, run.stage.mint)
    again = run.publish()
    assert again.before
    assert run.served() == run.files() == first
    assert any("bundles of an earlier run verify" in note for note in run.notes)


def foreign(run: Run) -> None:
    """Sign with a sigstore that is not trusted."""
    sign_again(run.dist, run.stage.foreign)


def swapped(run: Run) -> None:
    """Give the image the bundle of another file: valid, but of other bytes."""
    (run.dist / f"{IMAGE}{BUNDLE_SUFFIX}").write_bytes(
        (run.dist / f"{MANIFEST}{BUNDLE_SUFFIX}").read_bytes()
    )


@pytest.mark.full
@pytest.mark.parametrize("attack", [foreign, swapped])
def test_a_draft_loses_bundles_that_do_not_verify(attack: Callable[[Run], None], run: Run) -> None:
    honest = run.files()
    attack(run)
    run.stop_at("")
    for name, content in honest.items():
        (run.dist / name).write_bytes(content)
    run.publish()
    assert run.served() == run.files() == honest
    assert any("do not verify" in note for note in run.notes)


def test_a_published_release_that_does_not_verify_is_reported(run: Run) -> None:
    honest = run.files()
    foreign(run)
    run.publish()
    for name, content in honest.items():
        (run.dist / name).write_bytes(content)
    with pytest.raises(PublishError, match="bundles of an earlier run do not verify"):
        run.publish()
    assert run.files() == honest
