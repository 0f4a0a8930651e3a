"""A release is published completely or not at all; a repeated run completes it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from build.edges.files import hash_file
from build.errors import (
    ConfigError,
    PublishError,
    RemoteError,
    RunningError,
    VerificationError,
)
from ci.commands import one_run
from ci.commands import publish as command
from ci.config import read_config
from ci.publish.attestations import AttestationStore
from ci.publish.github_release import ReleaseHost
from ci.publish.publish import Published, publish_release
from ci.publish.release_files import read_release
from ci.rehearsal.github.state import Fault, StoredRelease, World
from tests.publish.conftest import Outcome
from tests.publish.release import (
    COMMIT,
    IMAGE,
    REPOSITORY,
    VERSION,
    Counted,
    write_config,
    write_release,
)

TOKEN = {"GITHUB_TOKEN": "no-secret-at-all"}
CREATE, UPLOAD, UPDATE = (
    "repos/create-release",
    "repos/upload-release-asset",
    "repos/update-release",
)


@pytest.fixture
def publish(tmp_path: Path, api: str) -> Callable[..., Published]:
    """Return a function that publishes the release in dist without waiting."""

    def publisher(
        *, replace: bool = False, needs_tag: bool = False, progress: Counted | None = None
    ) -> Published:
        progress = progress or Counted()
        release = read_release(read_config(write_config(tmp_path, api=api)), progress)
        host = ReleaseHost(api, REPOSITORY, "token", wait=lambda seconds: None)
        store = AttestationStore(api, REPOSITORY, "token", wait=lambda seconds: None)
        return publish_release(
            host,
            store,
            release,
            "notes",
            replace=replace,
            needs_tag=needs_tag,
            verify=refuse,
            progress=progress,
        )

    return publisher


def refuse(folder: Path) -> list[str]:
    """Verify nothing: the bundles of these tests are not real."""
    return [f"{folder.name}: not verified"]


def release_of(world: World) -> StoredRelease:
    """Return the only release."""
    (release,) = world.releases.values()
    return release


def stored(world: World) -> dict[str, str]:
    """Return the sha256 of every file that the one release at GitHub serves."""
    release = release_of(world)
    return {asset.name: hash_file(world.blob(asset.number)).sha256 for asset in release.assets}


def digests(dist: Path) -> dict[str, str]:
    return {path.name: hash_file(path).sha256 for path in dist.iterdir()}


def test_a_second_run_is_refused_before_github_is_asked_to_change_anything(
    tmp_path: Path, world: World, api: str, call: Callable[..., Outcome]
) -> None:
    write_release(tmp_path)
    config = write_config(tmp_path, api=api)
    with one_run(config, "publish"), pytest.raises(RunningError, match="another publish runs"):
        call(command, config, environment=TOKEN)
    assert world.releases == {}
    # A plan changes nothing, so that it may be printed meanwhile.
    with one_run(config, "publish"):
        assert call(command, config, "--dry-run", environment=TOKEN).status == 0


def test_the_published_files_are_the_signed_files(
    tmp_path: Path, world: World, api: str, call: Callable[..., Outcome]
) -> None:
    dist = write_release(tmp_path)
    config = write_config(tmp_path, api=api)

    outcome = call(command, config, environment=TOKEN)

    (release,) = world.releases.values()
    assert (release.draft, release.immutable, world.tags) == (False, True, {VERSION: COMMIT})
    assert f"/releases/tag/{VERSION}: published, 15 files uploaded" in outcome.text
    for name in digests(dist):
        address = f"{api}/{REPOSITORY}/releases/download/{VERSION}/{name}"
        assert requests.get(address, timeout=5).content == (dist / name).read_bytes()
    assert release.body.startswith("## Verify it first")
    assert f"build.yml@refs/tags/{VERSION}" in release.body


def test_a_second_run_changes_nothing(
    tmp_path: Path, publish: Callable[..., Published], world: World
) -> None:
    dist = write_release(tmp_path)
    first, second = publish(), publish()
    assert (first.before, second.before) == (False, True)
    assert (second.uploaded, set(second.kept)) == ((), set(digests(dist)))
    assert len(world.releases) == 1


def test_a_published_release_is_never_changed(
    tmp_path: Path, publish: Callable[..., Published], world: World
) -> None:
    write_release(tmp_path)
    publish()
    before = stored(world)
    dist = write_release(tmp_path, salt="other bytes")

    with pytest.raises(PublishError) as refused:
        publish(replace=True)

    name = str(refused.value).split(":")[0]
    assert f"published with sha256 {before[name]} " in str(refused.value)
    assert f"expected sha256 {digests(dist)[name]} " in str(refused.value)
    assert "serial" in refused.value.hint
    assert stored(world) == before


def test_a_different_draft_is_replaced_only_on_request(
    tmp_path: Path, publish: Callable[..., Published], world: World
) -> None:
    write_release(tmp_path)
    world.faults += [Fault(UPDATE, "502-before")] * 9
    with pytest.raises(RemoteError):
        publish()
    world.faults.clear()
    dist = write_release(tmp_path, salt="other bytes")

    with pytest.raises(PublishError) as refused:
        publish()
    assert "--replace" in refused.value.hint
    publish(replace=True)
    assert stored(world) == digests(dist)


def test_bytes_that_change_at_github_are_not_published(
    tmp_path: Path, publish: Callable[..., Published], world: World
) -> None:
    write_release(tmp_path)
    world.faults += [Fault(UPDATE, "502-before")] * 9
    with pytest.raises(RemoteError):
        publish()
    world.faults.clear()
    blob = world.blob(next(a.number for a in release_of(world).assets if a.name == IMAGE))
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")

    with pytest.raises(PublishError, match=f"{IMAGE}: read back with sha256"):
        publish()
    assert release_of(world).draft


@pytest.mark.parametrize("annotated", [False, True])
def test_a_tag_of_another_commit_is_refused(
    annotated: bool, tmp_path: Path, publish: Callable[..., Published], world: World
) -> None:
    write_release(tmp_path)
    world.tags[VERSION] = "6" * 40
    world.annotated = {VERSION} if annotated else set()
    with pytest.raises(PublishError, match="names commit 6666"):
        publish()
    assert not world.releases
    world.tags[VERSION] = COMMIT
    publish()
    # A workflow's token may be refused a target whose workflows differ from the main branch's.
    assert release_of(world).commitish == "main"


def test_a_tag_that_was_deleted_to_stop_a_release_is_not_made_again(
    tmp_path: Path, publish: Callable[..., Published], world: World
) -> None:
    write_release(tmp_path)
    with pytest.raises(PublishError, match="names commit nothing, expected"):
        publish(needs_tag=True)
    assert (world.releases, world.tags) == ({}, {})
    world.tags[VERSION] = COMMIT
    publish(needs_tag=True)
    assert not release_of(world).draft


def test_a_changed_byte_in_dist_is_not_published(
    tmp_path: Path, publish: Callable[..., Published], world: World
) -> None:
    image = write_release(tmp_path) / IMAGE
    image.write_bytes(image.read_bytes()[:-1] + b"x")
    with pytest.raises(VerificationError, match=f"{IMAGE}: sha256 .* SHA256SUMS has"):
        publish()
    (tmp_path / "dist" / f"{IMAGE}.sigstore.json").unlink()
    with pytest.raises(PublishError, match=r"qcow2.sigstore.json: no such file"):
        publish()
    assert not world.releases


def test_a_missing_token_is_named(tmp_path: Path, call: Callable[..., Outcome]) -> None:
    write_release(tmp_path)
    with pytest.raises(ConfigError, match=r"^GITHUB_TOKEN"):
        call(command, write_config(tmp_path))
    with pytest.raises(ConfigError, match=r"^github.api .* expected https"):
        call(command, write_config(tmp_path, api="http://git.example.org"), environment=TOKEN)


def test_uncommitted_changes_are_published_on_this_machine_only(
    tmp_path: Path, api: str, call: Callable[..., Outcome]
) -> None:
    write_release(tmp_path, version=f"{VERSION}-dirty")
    with pytest.raises(PublishError, match="uncommitted changes"):
        call(command, write_config(tmp_path), environment=TOKEN)
    assert call(command, write_config(tmp_path, api=api), environment=TOKEN).status == 0


def test_a_dry_run_prints_the_plan_and_changes_nothing(
    tmp_path: Path, world: World, api: str, call: Callable[..., Outcome]
) -> None:
    def plan() -> tuple[int, dict[str, str]]:
        outcome = call(command, config, "--dry-run", environment=TOKEN)
        lines = [line.split(maxsplit=1) for line in outcome.text.splitlines() if line]
        return outcome.status, {name: action for action, name in lines}

    write_release(tmp_path)
    config = write_config(tmp_path, api=api)
    status, actions = plan()
    assert (status, actions.pop(f"draft {VERSION}"), world.releases) == (0, "create", {})
    assert actions.pop("attestation of 2 files") == "store"
    assert (set(actions.values()), len(actions)) == ({"upload"}, 15)
    call(command, config, environment=TOKEN)
    status, actions = plan()
    assert (status, set(actions.values())) == (0, {"keep"})
    write_release(tmp_path, salt="other bytes")
    status, actions = plan()
    assert (status, actions[IMAGE], actions["release.lock"]) == (1, "refuse", "keep")
    assert actions["SHA256SUMS.sigstore.json"] == "verify"
