"""`python -m tests.bench [GROUP]`: print each ratio with its bound; 1 when one is missed.

Times of one machine say nothing about another; ratios of one run do. Each time is the best
of several. What is measured is the real data beside the project.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from build.apk.index import read_index
from build.apk.package import read_package
from build.apk.signature import Keyring
from tests.alpine import ALPINE
from tests.apk.makers import real_keys, real_packages
from tests.bench.building import build_rows

ROUNDS = 7
FULL = [ALPINE / "full" / name / "x86_64/APKINDEX.tar.gz" for name in ("main", "community")]


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement: what, how much, and how much it may be."""

    what: str
    found: str
    bound: str
    holds: bool | None
    """None for what is told and not demanded."""


def best(work: Callable[[], object]) -> float:
    """Return the shortest time that `work` took, in seconds."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def ratio(what: str, ours: float, floor: float, bound: float | None, of: str) -> Row:
    """Return the row of a ratio."""
    found = f"{ours / floor:.1f} x ({ours * 1000:.0f} ms to {floor * 1000:.0f} ms of {of})"
    if bound is None:
        return Row(what, found, "", None)
    return Row(what, found, f"under {bound:g} x", ours < bound * floor)


def hashed_by_programs(paths: Sequence[Path]) -> None:
    """Run sha256sum over the files."""
    subprocess.run(["sha256sum", *paths], stdout=subprocess.DEVNULL, check=True)


def unpacked_by_programs(paths: Sequence[Path]) -> None:
    """Run `zcat FILES | sha256sum`."""
    with subprocess.Popen(["zcat", *paths], stdout=subprocess.PIPE) as zcat:
        subprocess.run(["sha256sum"], stdin=zcat.stdout, stdout=subprocess.DEVNULL, check=True)


def verify_indexes(raws: Iterable[bytes], keys: Keyring) -> int:
    """Verify and parse indexes, as pin does."""
    return sum(len(read_index(raw, keys, where="index").records) for raw in raws)


def verify_packages(paths: Sequence[Path], keys: Keyring, *, look_inside: bool) -> int:
    """Verify packages, as pin does."""
    for path in paths:
        read_package(path.read_bytes(), keys, where=path.name, look_inside=look_inside)
    return len(paths)


def index_rows(keys: Keyring) -> list[Row]:
    """Return what the two full indexes cost."""
    raws = [path.read_bytes() for path in FULL]

    def in_process() -> None:
        for raw in raws:
            unpacker = zlib.decompressobj(31)
            hashlib.sha256(unpacker.decompress(raw)).digest()
            hashlib.sha256(zlib.decompress(unpacker.unused_data, 31)).digest()

    ours = best(partial(verify_indexes, raws, keys))
    what = "verify and parse both full indexes (23,030 packages)"
    return [
        ratio(what, ours, best(partial(unpacked_by_programs, FULL)), 6, "zcat | sha256sum"),
        ratio(
            "  the same to the same in one process", ours, best(in_process), 3, "zlib and sha256"
        ),
    ]


def package_rows(keys: Keyring) -> list[Row]:
    """Return what the hundred real packages cost."""
    paths = real_packages()
    floor = best(partial(hashed_by_programs, paths))
    chain = best(partial(verify_packages, paths, keys, look_inside=False))
    files = best(partial(verify_packages, paths, keys, look_inside=True))
    contents = [path.read_bytes() for path in paths]
    inflate = best(lambda: [inflated(content) for content in contents])
    hashed = best(lambda: [hashlib.sha256(content).digest() for content in contents])
    rows = [
        ratio("verify 100 packages: signatures and member hashes", chain, floor, 4, "sha256sum"),
        ratio("verify 100 packages: every file's own sha1 too", files, floor, 9, "sha256sum"),
        ratio("  for comparison: inflating them", inflate, floor, None, "sha256sum"),
        ratio("  for comparison: sha256 in one process", hashed, floor, None, "sha256sum"),
    ]
    cores = os.cpu_count() or 1
    shares = [paths[start::cores] for start in range(cores)]
    with ProcessPoolExecutor(cores) as pool:
        for look_inside, bound in ((False, 4.0), (True, 9.0)):
            job = partial(verify_packages, keys=keys, look_inside=look_inside)
            list(pool.map(job, shares))
            taken = best(lambda job=job: list(pool.map(job, shares)))  # type: ignore[misc]
            what = f"  {'with every file' if look_inside else 'members only'}, {cores} processes"
            rows.append(ratio(what, taken, floor, bound, "sha256sum"))
    return rows


def inflated(content: bytes) -> int:
    """Return how much the members of a package hold."""
    size = 0
    while content:
        unpacker = zlib.decompressobj(31)
        size += len(unpacker.decompress(content))
        content = unpacker.unused_data
    return size


def pin_rows() -> list[Row]:
    """Return what a pin of a warm store costs, and what memory one of the full indexes takes."""
    from tests.bench.pinning import (
        check_of_unchanged_mirrors,
        first_and_warm,
        memory_of_solving,
    )

    with tempfile.TemporaryDirectory() as folder:
        first, warm = first_and_warm(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        check = check_of_unchanged_mirrors(Path(folder))
    memory = memory_of_solving()
    return [
        Row("pin, first", f"{first:.2f} s", "", None),
        Row("pin of a warm store, nothing new", f"{warm:.2f} s", "under 1.5 s", warm < 1.5),
        Row("pin --check, mirror answers 304", f"{check:.2f} s", "under 1.0 s", check < 1.0),
        Row("pin on the full indexes: most memory", f"{memory} MB", "under 250 MB", memory < 250),
    ]


def verify_rows() -> list[Row]:
    """Return what it costs to verify a release of two images."""
    from tests.bench.verifying import seconds_and_memory

    with tempfile.TemporaryDirectory() as folder:
        floor, costs = seconds_and_memory(Path(folder))
    bound = 2 * floor + 1.0
    rows = []
    for cost in costs:
        what = f"verify {cost.options} a release, 200 MB".replace("  ", " ")
        found = f"{cost.seconds:.2f} s (sha256sum {floor:.2f} s)"
        rows.append(Row(what, found, f"under {bound:.2f} s", cost.seconds < bound))
        memory = f"{cost.memory} MB"
        rows.append(Row("  most memory", memory, "under 120 MB", cost.memory < 120))
    return rows


def mirror_rows() -> list[Row]:
    """Return what it costs to mirror a release, and to mirror it again."""
    from tests.bench.mirroring import seconds_and_memory

    with tempfile.TemporaryDirectory() as folder:
        cost = seconds_and_memory(Path(folder))
    again = f"{cost.again:.2f} s, {cost.uploaded_again} bytes sent"
    holds = cost.again < 2 and not cost.uploaded_again
    memory = max(cost.memory, cost.memory_large)
    return [
        ratio("mirror 100 MB, upload", cost.upload, cost.plain, 1.2, "boto3's upload_file"),
        Row("  the download without an account", f"{cost.read_back:.2f} s", "", None),
        Row("mirror 100 MB again, nothing to do", again, "under 2 s", holds),
        Row(
            "mirror 100 MB and 400 MB: most memory",
            f"{cost.memory} MB, {cost.memory_large} MB",
            "under 200 MB",
            memory < 200,
        ),
    ]


GROUPS: Mapping[str, Callable[[], list[Row]]] = {
    "index": lambda: index_rows(real_keys()),
    "package": lambda: package_rows(real_keys()),
    "pin": pin_rows,
    "verify": verify_rows,
    "mirror": mirror_rows,
    "build": lambda: [Row(*told) for told in build_rows()],
}
"""What is measured, by the word that chooses it."""


def main(chosen: Sequence[str]) -> int:
    """Print the table, or the chosen groups of it."""
    if unknown := sorted(set(chosen) - set(GROUPS)):
        print(f"bench: {', '.join(unknown)}: expected {', '.join(GROUPS)}")
        return 2
    if not ALPINE.is_dir():
        print("bench: no folder `shared` with real Alpine packages beside the project")
        return 2
    rows = [row for name in chosen or GROUPS for row in GROUPS[name]()]
    width = max(len(row.what) for row in rows)
    for row in rows:
        verdict = {True: "ok", False: "MISSED", None: ""}[row.holds]
        print(f"{row.what:{width}}  {row.found:48}  {row.bound:12}  {verdict}".rstrip())
    return 1 if any(row.holds is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
