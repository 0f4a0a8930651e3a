"""An `import` that is killed, or that finds its disk full, is complete after one plain run more."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from build.edges.files import hash_file
from ci.rehearsal.digitalocean.server import running
from ci.rehearsal.digitalocean.state import Account
from tests.commands.test_at_once import ON_A_SMALL_DISK
from tests.publish.killing import ROOT, Case, ten_kills
from tests.publish.release import CONFIG
from tests.verify.stage import NEW, REPOSITORY
from tests.verify.test_import import (  # noqa: F401 - fixtures
    TOKEN,
    World,
    _mirror,
    _store,
    _world,
    signed,
)

pytestmark = pytest.mark.full
REGIONS = ("fra1", "nyc3", "sgp1")


def words(world: World, config: Path) -> list[str]:
    """Return the command of an import by the bucket to all regions."""
    given = ["--repository", REPOSITORY, "--trust-root", str(world.trust_root)]
    chosen = [word for region in REGIONS for word in ("--region", region)]
    target = f"{world.mirror.url}/{NEW}"
    return [
        *("import", target, *given, "--config", str(config), "--variant", "droplet"),
        *(*chosen, *world.via),
    ]


@pytest.mark.timeout(1800)
def test_ten_random_kills_of_an_import_end_with_the_same_image(
    world: World, tmp_path: Path
) -> None:
    @contextmanager
    def case(number: int) -> Iterator[Case]:
        folder = tmp_path / f"{number}"
        account = Account(folder / "account", TOKEN, lambda: datetime(2026, 11, 26, tzinfo=UTC))

        def state() -> dict[str, object]:
            images = [
                {
                    "name": image.name,
                    "tags": image.tags,
                    "regions": sorted(image.regions),
                    "sha256": hash_file(account.path(image)).sha256,
                }
                for image in account.images.values()
                if image.status != "deleted"
            ]
            assert [each["sha256"] for each in images] == [signed(world)]
            return {"images": images, "objects": world.objects()}

        with running(account) as api:
            config = folder / "release.toml"
            config.write_text(
                f'{CONFIG}[import]\napi = "{api}"\nregions = []\nname = "own"\ntags = ["own"]\n'
            )
            yield Case(words(world, config), {}, state)

    ten_kills(case)


@pytest.mark.root
def test_a_full_disk_while_the_release_is_read_is_one_line(world: World) -> None:
    work = world.config.parent / ".snowdrop" / "work"
    work.mkdir(parents=True)
    argv = [sys.executable, "-m", "ci", *words(world, world.config)]
    environment = {**os.environ, "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", ON_A_SMALL_DISK, "sh", str(work), *argv],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 1, done.stderr
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert (world.imported(), world.objects()) == ([], [])
    again = subprocess.run(argv, cwd=ROOT, capture_output=True, check=False, env=environment)
    assert again.returncode == 0, again.stderr
    ((image, sha256),) = world.imported()
    assert (sha256, sorted(image.regions)) == (signed(world), sorted(REGIONS))
