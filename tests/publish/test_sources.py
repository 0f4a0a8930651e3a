"""What a build asks for missing files: release.toml, the folder dist and GitHub decide."""

from dataclasses import replace
from pathlib import Path

import pytest

from build.errors import ConfigError, SnapshotError
from build.snapshot.lock import Lock
from ci.config import read_config
from ci.rehearsal.github.state import Fault, World
from ci.release.snapshots import snapshot_sources
from tests.publish.release import write_config
from tests.publish.snapshots import TOKEN, URL, add_release, archive_of, refill, store_of
from tests.snapshot.kept import keep
from tests.snapshot.test_kept import no_pause


def test_the_archive_of_a_former_release_is_found_by_its_lock(
    tmp_path: Path, lock: Lock, world: World, api: str
) -> None:
    """Of two releases only the older one has the files; the archive of the newer is not read."""
    other = keep(store_of(tmp_path), "other", url=URL)
    config = write_config(tmp_path, api=api)
    add_release(world, tmp_path, "v3.24.20261101", lock)
    add_release(world, tmp_path, "v3.24.20261110", other, archive=b"not read")
    for environment in ({}, TOKEN):
        kept, former = refill(config, lock, **environment)
        assert kept.startswith("kept snapshots of octo/snowdrop at GitHub: ")
        assert former == (
            "archives of the releases of octo/snowdrop: "
            "v3.24.20261110: its lock names none of the missing files; "
            "v3.24.20261101: has 3 of 3 missing files"
        )


@pytest.mark.parametrize("environment", [{}, TOKEN])
def test_a_former_release_is_found_behind_the_prereleases_of_a_year(
    environment: dict[str, str], tmp_path: Path, lock: Lock, world: World, api: str
) -> None:
    config = write_config(tmp_path, api=api)
    add_release(world, tmp_path, "v3.24.20251101", lock)
    kept = replace(next(iter(world.releases.values())), prerelease=True, assets=[])
    for day in range(250):
        number = world.next_number()
        world.releases[number] = replace(kept, number=number, tag=f"snapshot-{day:064x}")
    _, former = refill(config, lock, **environment)
    assert former.endswith(": v3.24.20251101: has 3 of 3 missing files")


def test_an_archive_in_dist_is_at_hand(tmp_path: Path, lock: Lock, world: World, api: str) -> None:
    config = write_config(tmp_path, api=api)
    (tmp_path / "dist").mkdir()
    path = tmp_path / "dist" / "snowdrop-v3.24.20261101-snapshot.tar"
    path.write_bytes(archive_of(tmp_path, lock))
    _, line = refill(config, lock)
    assert line == f"archive {path}: has 3 of 3 missing files"


def test_an_empty_list_of_kept_snapshots_asks_nobody_for_one(tmp_path: Path, api: str) -> None:
    config = write_config(tmp_path, api=api)
    text = config.read_text()
    config.write_text(text.replace("[snapshot]", "[snapshot]\nkept = []"))
    names = [each.name for each in snapshot_sources(read_config(config), {}, no_pause)]
    assert names == ["archives of the releases of octo/snowdrop"]
    # A fresh clone names no repository yet.
    config.write_text(text.replace("octo/snowdrop", "OWNER/REPO"))
    assert snapshot_sources(read_config(config), {}, no_pause) == ()
    for wrong in ("ftp://x/y", "https://x.example/y?z", ""):
        config.write_text(text.replace("[snapshot]", f'[snapshot]\nkept = ["{wrong}"]'))
        with pytest.raises(ConfigError, match=r"snapshot.kept = .* expected a list of http"):
            read_config(config)


def test_a_server_that_fails_is_a_result(
    tmp_path: Path, lock: Lock, world: World, api: str
) -> None:
    config = write_config(tmp_path, api=api)
    world.faults += [Fault("repos/list-releases", "502-before")] * 3
    with pytest.raises(SnapshotError, match="has 1 of 4 now") as failure:
        refill(config, lock)
    (line,) = [each for each in str(failure.value).splitlines() if "archives of the" in each]
    assert "/repos/octo/snowdrop/releases: status 502" in line
