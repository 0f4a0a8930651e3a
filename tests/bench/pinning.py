"""Whole pins for the bench: on the small repository, and solving on the full indexes."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from build.apk.index import read_index
from build.config import BuildConfig
from build.edges.container import Engine, choose_engine
from build.edges.progress import Silent
from build.snapshot.lock import Lock
from build.snapshot.pin import PinRequest, pin
from build.snapshot.solve import Solver
from build.snapshot.store import Store
from tests.alpine import ALPINE, SMALL
from tests.apk.makers import real_apk, real_keys
from tests.snapshot.served import mirror_of
from tests.snapshot.test_pin import config

FULL_SET = ("alpine-base", "linux-virt", "openssh", "chrony", "e2fsprogs-extra", "docker", "nginx")


def engine_for(root: Path, argv: Sequence[str]) -> Engine:
    """Return what pin itself would run apk with on this machine."""
    return choose_engine(root, argv, caller=os.environ).engine


def pinned(wanted: BuildConfig, *, previous: Lock | None = None) -> Lock:
    """Return a lock of what is served now."""
    return pin(
        PinRequest(
            config=wanted,
            store=Store(wanted.store),
            engine_for=engine_for,
            progress=Silent(),
            previous=previous,
        )
    )


def first_and_warm(folder: Path) -> tuple[float, float]:
    """Return the seconds of a first pin, and of the best of three with nothing new."""
    wanted = config(folder, [SMALL])
    start = time.perf_counter()
    lock = pinned(wanted)
    first = time.perf_counter() - start
    times = []
    for _ in range(3):
        start = time.perf_counter()
        assert pinned(wanted, previous=lock).id == lock.id
        times.append(time.perf_counter() - start)
    return first, min(times)


def check_of_unchanged_mirrors(folder: Path) -> float:
    """Return the seconds of the best of three pins whose mirror answers 304 to everything."""
    with mirror_of(SMALL.parents[1]) as mirror:
        wanted = config(folder, [f"{mirror.url}/{SMALL.parent.name}/{SMALL.name}"])
        lock = pinned(wanted)
        mirror.asked.clear()
        times = []
        for _ in range(3):
            start = time.perf_counter()
            assert pinned(wanted, previous=lock).id == lock.id
            times.append(time.perf_counter() - start)
        assert all("If-None-Match" in headers for _, headers in mirror.asked)
        assert len(mirror.asked) == len(times)
    return min(times)


def memory_of_solving() -> int:
    """Return the most memory in MB that a process of its own takes for the full indexes.

    The packages of those are not at hand, so this is pin up to the moment of fetching.
    """
    root = Path(__file__).resolve().parents[2]
    argv = [sys.executable, "-m", "tests.bench.pinning"]
    done = subprocess.run(argv, cwd=root, capture_output=True, text=True, check=True)
    return int(done.stdout)


def solve_on_full_indexes() -> int:
    """Verify and parse both indexes, solve on them, and return the number of packages."""
    keys = real_keys()
    indexes = [
        read_index(
            (ALPINE / "full" / name / "x86_64/APKINDEX.tar.gz").read_bytes(), keys, where=name
        )
        for name in ("main", "community")
    ]
    with TemporaryDirectory() as folder:
        work, apk = Path(folder) / "work", Path(folder) / "apk"
        work.mkdir()
        apk.mkdir()
        real_apk(apk)
        solver = Solver.prepare(apk, engine_for, arch="x86_64")
        return len(solver.solve(FULL_SET, indexes, keys.files, work, closure="bench"))


if __name__ == "__main__":
    assert solve_on_full_indexes() > 50
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
