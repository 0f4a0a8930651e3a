"""Without a Space, `store push` keeps a snapshot in a prerelease at GitHub; a build finds it."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from build.errors import PublishError, RemoteError
from build.snapshot.archive import open_archive
from build.snapshot.kept import kept_name
from build.snapshot.lock import Lock
from ci.commands import store as store_command
from ci.rehearsal.github.state import Fault, World
from ci.release.snapshots import kept_tag
from tests.publish.conftest import Outcome
from tests.publish.release import write_config
from tests.publish.snapshots import TOKEN, flip, refill
from tests.snapshot.test_kept import no_pause

UPLOAD, CREATE, UPDATE = (
    "repos/upload-release-asset",
    "repos/create-release",
    "repos/update-release",
)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("ci.commands.store", "ci.release.snapshots"):
        monkeypatch.setattr(f"{module}.time", SimpleNamespace(sleep=no_pause))


def test_a_snapshot_at_github_serves_a_build_without_a_mirror(
    tmp_path: Path, lock: Lock, world: World, api: str, call: Callable[..., Outcome]
) -> None:
    config = write_config(tmp_path, api=api)
    outcome = call(store_command, config, "push", environment=TOKEN)
    (release,) = world.releases.values()
    assert f"/releases/tag/{kept_tag(lock.id)}: uploaded, " in outcome.text
    assert (release.tag, release.draft, release.prerelease) == (kept_tag(lock.id), False, True)
    assert (release.latest, [asset.name for asset in release.assets]) == (
        "false",
        [kept_name(lock.id)],
    )
    # Without an account, and with a token as a private repository needs it.
    for environment in ({}, TOKEN):
        (line,) = refill(config, lock, **environment)
        assert line == "kept snapshots of octo/snowdrop at GitHub: has 3 of 3 missing files"
    (asset,) = release.assets
    before = asset.number
    outcome = call(store_command, config, "push", environment=TOKEN)
    assert ": kept, " in outcome.text
    assert [each.number for each in release.assets] == [before]


@pytest.mark.parametrize(
    "fault",
    [
        *(Fault(CREATE, kind) for kind in ("502-after", "reset-after")),
        *(Fault(UPLOAD, kind) for kind in ("starter", "reset-midway", "502-after", "damaged")),
        *(Fault(UPDATE, kind) for kind in ("502-before", "502-after")),
    ],
    ids=lambda fault: f"{fault.operation} {fault.kind}",
)
def test_a_push_that_was_interrupted_is_completed(
    fault: Fault, tmp_path: Path, lock: Lock, world: World, api: str, call: Callable[..., Outcome]
) -> None:
    """Once by the retry of the same command, once by the next command."""
    config = write_config(tmp_path, api=api)
    world.faults += [fault] * (1 if fault.kind.endswith("after") else 9)
    try:
        call(store_command, config, "push", environment=TOKEN)
    except RemoteError:
        assert all(release.draft for release in world.releases.values())
    world.faults.clear()
    call(store_command, config, "push", environment=TOKEN)
    (release,) = world.releases.values()
    (asset,) = release.assets
    assert (release.draft, asset.name, asset.state) == (False, kept_name(lock.id), "uploaded")
    assert open_archive(world.blob(asset.number)).lock == lock


def test_a_damaged_archive_at_github_is_replaced_unless_that_is_forbidden(
    tmp_path: Path, lock: Lock, world: World, api: str, call: Callable[..., Outcome]
) -> None:
    config = write_config(tmp_path, api=api)
    call(store_command, config, "push", environment=TOKEN)
    (release,) = world.releases.values()
    blob = world.blob(release.assets[0].number)
    blob.write_bytes(flip(blob.read_bytes()))
    with pytest.raises(PublishError, match="is damaged, and GitHub does not let it be replaced"):
        call(store_command, config, "push", environment=TOKEN)
    release.immutable = False
    outcome = call(store_command, config, "push", environment=TOKEN)
    assert ": replaced, " in outcome.text
    assert open_archive(world.blob(release.assets[0].number)).lock == lock
