"""The proof with real builds: the same bytes, or each leak reported with the name of its rule."""

import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from build.config import Origin
from build.edges.progress import Silent
from build.edges.variation import Variation
from build.errors import NotReproducibleError
from build.inside.normalise import RULES
from build.snapshot.lock import Lock
from build.snapshot.store import Store
from ci.boot.machine import QEMU
from ci.config import ReleaseConfig
from ci.release.build_job import BuildJob, build_variant
from ci.report.console import Console
from ci.reproduce.environment_report import SAME
from ci.reproduce.prove import KEPT, Proof, prove
from tests import skips

ORIGIN = Origin(name="snowdrop", version="v13.20251115", commit="c" * 40, dirty=False)
ONLY_ANOTHER_DAY = {"day", "kernel", "umask of the builder"}
NEVER = {"user", "Python of the host"}
EXCUSED = {
    "container engine",
    "cores",
    "file system of the tree",
    "first package in its folder",
    "processor",
}
"""Things that some machines cannot vary; the report then gives the reason."""
LEAKS_AT_ONCE = ("times",)
LEAKS_ANOTHER_DAY = ("shadow-days",)
"""Rules for which the sample has a leak; `tests/inside/test_normalise.py` makes one for each."""

pytestmark = [
    pytest.mark.full,
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("apt-get") is None, reason=skips.TOOL),
]
needs_qemu = pytest.mark.skipif(shutil.which(QEMU) is None, reason=skips.QEMU)


@pytest.fixture
def job(release: ReleaseConfig, lock: Lock, tmp_path: Path) -> Iterator[BuildJob]:
    """Return the job of the sample's image; only kept images may be left in `work`."""
    work = tmp_path / "work"
    yield BuildJob(
        config=replace(release, build=replace(release.build, work=work)),
        lock=lock,
        store=Store(release.build.store),
        engine=None,
        origin=ORIGIN,
    )
    assert [path.name for path in work.iterdir() if path.name != KEPT] == []


def proof_of(job: BuildJob, *without: str, another_day: bool = False) -> Proof:
    out = job.config.build.work.with_name("dist")
    first = build_variant(job, "droplet", out, Silent(), Variation(without_rules=without))
    console = Console(sys.stdout, sys.stderr, {}, json=True, progress=Silent())
    return prove(job, "droplet", first, console, another_day=another_day, without_rules=without)


def check_named(errors: tuple[NotReproducibleError, ...], *names: str) -> None:
    """Check that these rules, and no others, explain all differences."""
    (error,) = errors
    reasons = {rule.name: rule.reason for rule in RULES}
    printed = [line.strip() for line in str(error).splitlines() if line.startswith("  rule ")]
    assert printed == [f"rule `{name}`: {reasons[name]}" for name in names]
    assert "not covered by any rule" not in str(error)
    kept = Path(error.hint.rstrip("`").rpartition(" ")[2])
    assert kept.stat().st_size > 0


def test_varied_builds_give_the_same_bytes(job: BuildJob) -> None:
    proof = proof_of(job)
    assert proof.differences == ()
    plain, varied = (built.image for built in proof.builds)
    for what in ("tree", "raw", "image"):
        assert plain.record[what] == varied.record[what]
    same = {row.name: row.reason for row in proof.rows if not row.varied}
    assert set(same) <= ONLY_ANOTHER_DAY | NEVER | EXCUSED
    assert SAME not in same.values()


@needs_qemu
def test_another_day_under_another_kernel_gives_the_same_bytes(job: BuildJob) -> None:
    proof = proof_of(job, another_day=True)
    assert proof.differences == ()
    rows = {row.name: row.values for row in proof.rows if row.varied}
    assert rows.keys() >= ONLY_ANOTHER_DAY
    plain, _, later = (date.fromisoformat(day) for day in rows["day"])
    assert later - plain > timedelta(days=400)


@pytest.mark.parametrize("name", LEAKS_AT_ONCE)
def test_without_its_rule_a_leak_fails_the_proof_and_is_named(name: str, job: BuildJob) -> None:
    check_named(proof_of(job, name).differences, name)


@needs_qemu
@pytest.mark.parametrize("name", LEAKS_ANOTHER_DAY)
def test_a_leak_that_depends_on_the_day_is_named(name: str, job: BuildJob) -> None:
    proof = proof_of(job, name, another_day=True)
    check_named(proof.differences, name)
    plain, varied, later = (built.image.record["tree"] for built in proof.builds)
    assert plain == varied != later
