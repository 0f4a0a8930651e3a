"""A closure has the same packages in the same order as the real apk's output."""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from build.apk.index import INDEX, Index, read_index
from build.edges.process import PLAIN
from build.snapshot.solve import Solver
from tests.alpine import ALPINE, SMALL
from tests.apk.makers import needs_alpine, real_apk, real_keys
from tests.snapshot.server_sets import SETS
from tests.snapshot.test_pin import PACKAGES, as_root, config, engine_for, pinned

pytestmark = [needs_alpine, as_root]
FULL = [ALPINE / "full" / name for name in ("main", "community")]


def printed(repositories: Sequence[Path], packages: Sequence[str], work: Path) -> str:
    """Return what the real apk prints, started by hand outside of any container of ours."""
    for name in ("apk", "root"):
        (work / name).mkdir(parents=True)
    argv = [*real_apk(work / "apk"), "--arch", "x86_64", "--root", str(work / "root")]
    argv += ["--keys-dir", str(ALPINE / "keys"), "--repositories-file", "/dev/null"]
    for repository in repositories:
        argv += ["--repository", str(repository)]
    argv += ["--no-network", "--no-cache", "--no-progress"]
    subprocess.run([*argv, "--initdb", "add"], env=PLAIN, check=True, capture_output=True)
    done = subprocess.run(
        [*argv, "--simulate", "add", *packages], env=PLAIN, check=True, capture_output=True
    )
    return done.stdout.decode()


def lines(text: str) -> list[str]:
    return [
        f"{name}-{version}" for name, version in re.findall(r"Installing (\S+) \((\S+)\)", text)
    ]


def test_a_pinned_closure_is_what_the_repositorys_own_apk_prints(tmp_path: Path) -> None:
    lock = pinned(config(tmp_path, [SMALL]))
    assert lock.apk_version == "apk-tools 2.14.0"
    theirs = lines(printed([SMALL], [*PACKAGES, "openrc"], tmp_path / "theirs"))
    ours = [f"{package.name}-{package.version}" for package in lock.closure("droplet")]
    assert ours == theirs
    # openrc comes with alpine-base: the four names of the acceptance alone give the same.
    alone = lines(printed([SMALL], PACKAGES, tmp_path / "alone"))
    assert ours == alone
    assert len(ours) > 40


@pytest.fixture(scope="module")
def indexes() -> list[Index]:
    """Alpine's two full indexes; a closure needs no package files."""
    return [
        read_index((folder / "x86_64" / INDEX).read_bytes(), real_keys(), where=str(folder))
        for folder in FULL
    ]


@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param(packages, id=name, marks=[pytest.mark.full] if number else [])
        for number, (name, packages) in enumerate(SETS.items())
    ],
)
def test_on_the_full_indexes_each_apk_chooses_what_it_prints(
    wanted: tuple[str, ...], indexes: list[Index], tmp_path: Path
) -> None:
    theirs = lines(printed(FULL, wanted, tmp_path / "theirs"))
    root = tmp_path / "ours"
    root.mkdir()
    real_apk(root)
    solver = Solver.prepare(root, engine_for, arch="x86_64")
    assert solver.version().startswith("apk-tools 2.")
    offers = solver.solve(wanted, indexes, real_keys().files, tmp_path, closure="droplet")
    ours = [f"{offer.record.name}-{offer.record.version}" for offer in offers]
    assert ours == theirs
    assert len(ours) > 35
