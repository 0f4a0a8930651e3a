"""A whole build of Alpine's own packages for the bench, and the least that any build must do.

The least is: unpack the same packages with tar, write them with `mke2fs -d`, and compress that
with qemu-img. It runs on this machine, in memory as a build does, with the host's programs.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from build.apk.index import read_index
from build.config import Origin
from build.edges.progress import Silent
from build.firstboot.packages import DEPENDS
from build.snapshot.lock import Lock, write_lock
from build.snapshot.lock_reader import read_lock
from build.snapshot.pin import PinRequest, pin
from build.snapshot.store import Store
from ci.config import ReleaseConfig, read_config
from ci.rehearsal.configuration import SAMPLE_IMAGE, Addresses, Contents, release_toml
from ci.rehearsal.contents import SAMPLE_WORK
from ci.rehearsal.sample import package_lists as lists
from ci.rehearsal.sample.make import make_sample
from ci.release.build_job import BuildJob, build_variant
from tests.alpine import ALPINE, SMALL
from tests.apk.makers import real_keys
from tests.bench.pinning import engine_for

ROOT = Path(__file__).resolve().parents[2]
VARIANT = "droplet"
NOBODY = Addresses(github="http://127.0.0.1:1", s3="http://127.0.0.1:1")
ORIGIN = Origin(name="snowdrop", version="v3.19.20261123", commit="c" * 40, dirty=False)
BUILDS = 5
SHOWN_STEPS = 5
MORE = 0.03
"""What the image may have more than the packages' files, of their size."""
MB = 1024 * 1024
MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
OUTSIDE = ("unpack", "collect", "engine")
"""Steps of a build that are taken before the builder's container is there."""
PAUSE = 0.02
"""Seconds between two looks at how much memory is taken."""

Told = tuple[str, str, str, bool | None]
"""What was measured, what was found, the bound in words, and whether it holds."""


@dataclass(frozen=True, slots=True)
class Built:
    """What one build took."""

    seconds: float
    """All of it, on the host."""
    steps: Mapping[str, float]
    size: int
    """Bytes of the image."""
    initramfs: int
    """Bytes of the initramfs in it, which is compressed already."""

    @property
    def steps_inside(self) -> list[str]:
        """The steps in the container."""
        return [step for step in self.steps if step not in OUTSIDE]

    @property
    def inside(self) -> float:
        """Seconds of the steps in the container."""
        return sum(self.steps[step] for step in self.steps_inside)


@dataclass(frozen=True, slots=True)
class Least:
    """What the programs alone took."""

    unpack: float
    disk: float
    compress: float
    size: int
    """Bytes of the compressed image."""

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.unpack + self.disk + self.compress


def build_rows() -> list[Told]:
    """Return what a build costs in time, memory and space."""
    with TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        config, lock = snapshot(folder)
        memory = memory_of_building(folder)
        builds = [build_apart(folder) for _ in range(BUILDS)]
        floors = [programs_alone(config, lock) for _ in range(BUILDS)]
    best = min(builds, key=lambda built: built.inside)
    whole = min(built.seconds for built in builds)
    least = min(floors, key=lambda floor: floor.seconds)
    return [*time_rows(best, whole, least), memory_row(memory), *size_rows(best, least)]


def time_rows(best: Built, whole: float, least: Least) -> list[Told]:
    """Return the ratio of the times, and where the time went."""
    ratio = best.inside / least.seconds
    steps = sorted(best.steps_inside, key=best.steps.__getitem__, reverse=True)
    told = ", ".join(f"{name} {best.steps[name]:.2f}" for name in steps[:SHOWN_STEPS])
    floor = f"unpack {least.unpack:.2f}, disk {least.disk:.2f}, qcow2 {least.compress:.2f}"
    return [
        (
            "build Alpine 3.19, in the container",
            f"{ratio:.2f} x ({best.inside:.2f} s to {least.seconds:.2f} s of the least)",
            "under 2 x",
            ratio < 2,
        ),
        ("  its longest steps, in seconds", told, "", None),
        ("  the least: tar, mke2fs, qemu-img", floor, "", None),
        (
            "  the whole command: container made, disk inspected",
            f"{whole / least.seconds:.2f} x ({whole:.2f} s)",
            "",
            None,
        ),
    ]


def memory_row(most: int) -> Told:
    """Return what memory a build takes; the tree and the disk lie in it."""
    return (
        "  most memory of processes and tmpfs",
        f"{most / MB:.0f} MB",
        "under 600 MB",
        most < 600 * MB,
    )


def size_rows(built: Built, least: Least) -> list[Told]:
    """Return how much larger the image is than the packages' files alone would be.

    No package has the initramfs, which is compressed already: it is the larger part of what
    an image has besides, so that the bound is on the rest.
    """
    alone = built.size - built.initramfs
    whole, rest = built.size / least.size - 1, alone / least.size - 1
    return [
        (
            "  size of the image",
            f"{whole:+.1%} ({built.size / MB:.1f} MB to {least.size / MB:.1f} MB of the files)",
            "" if whole <= MORE else "over 3 %, by its initramfs",
            None,
        ),
        (
            "  the same without its initramfs",
            f"{rest:+.1%} ({alone / MB:.1f} MB)",
            "at most 3 %",
            rest <= MORE,
        ),
    ]


def snapshot(folder: Path) -> tuple[ReleaseConfig, Lock]:
    """Return a release of Alpine's packages in `folder`, pinned, with everything in its store.

    The builder, and what the small repository lacks, come from the sample.
    """
    index = read_index(
        (SMALL / "x86_64/APKINDEX.tar.gz").read_bytes(), real_keys(), where="the small repository"
    )
    sample = make_sample(
        out=folder / "sample",
        work=ROOT / SAMPLE_WORK,
        mirror=None,
        without=frozenset(record.name for record in index.records),
        progress=Silent(),
    )
    keys = shutil.copytree(ALPINE / "keys", folder / "keys")
    shutil.copytree(sample.keys, keys, dirs_exist_ok=True)
    contents = Contents(
        name="snowdrop",
        branch="v3.19",
        repositories=(str(SMALL), str(sample.image)),
        keys=str(keys),
        images=(SAMPLE_IMAGE,),
        builder_repositories=(str(sample.builder),),
        builder_keys=str(sample.keys),
        builder_packages=lists.BUILDER_PACKAGES,
    )
    file = folder / "release.toml"
    file.write_text(release_toml(contents, NOBODY, state=folder, dist="dist"))
    config = read_config(file)
    lock = pin(
        PinRequest(
            config=config.build,
            store=Store(config.build.store),
            engine_for=engine_for,
            extra_packages=DEPENDS,
            progress=Silent(),
        )
    )
    write_lock(config.build.lock, lock)
    return config, lock


def build_apart(folder: Path) -> Built:
    """Return what a build in a process of its own took."""
    with building(folder) as process:
        said, _ = process.communicate()
    check(process)
    return Built(**json.loads(said))


def memory_of_building(folder: Path) -> int:
    """Return the most bytes that a build takes at one moment; looking makes it slower."""
    found = [0]
    with building(folder) as process:
        while process.poll() is None:
            found.append(memory_of(process.pid, folder / "dist"))
            time.sleep(PAUSE)
    check(process)
    return max(found)


def building(folder: Path) -> "subprocess.Popen[str]":
    """Return the process of a build."""
    argv = [sys.executable, "-m", "tests.bench.building", str(folder)]
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def check(process: "subprocess.Popen[str]") -> None:
    """End the bench when a build failed; it has told why."""
    if process.returncode:
        sys.exit(f"bench: a build ended with {process.returncode}")


def build_here(folder: Path) -> dict[str, Any]:
    """Build, and return all of `Built` that the build itself knows."""
    config = read_config(folder / "release.toml")
    lock, store = read_lock(config.build.lock), Store(config.build.store)
    job = BuildJob(config=config, lock=lock, store=store, engine=None, origin=ORIGIN)
    start = time.perf_counter()
    image = build_variant(job, VARIANT, config.dist, Silent())
    taken = time.perf_counter() - start
    lines = [line.split("\t") for line in image.listing.decode().splitlines()]
    return {
        "seconds": taken,
        "steps": image.record["seconds"],
        "size": image.record["image"]["size"],
        "initramfs": sum(int(line[5]) for line in lines if line[0].startswith("boot/initramfs")),
    }


def programs_alone(config: ReleaseConfig, lock: Lock) -> Least:
    """Return what tar, mke2fs and qemu-img take for the packages of the image."""
    store, megabytes = Store(config.build.store), config.build.images[VARIANT].disk // MB
    paths = [store.path(package.sha256) for package in lock.closure(VARIANT)]
    tar = ("tar", "--warning=no-unknown-keyword", "--exclude=.[A-Z]*", "--exclude=.p[or]*", "-xzf")
    with TemporaryDirectory(prefix="bench-", dir=MEMORY if MEMORY.is_dir() else None) as name:
        tree, raw, image = (Path(name) / part for part in ("tree", "raw", "qcow2"))
        tree.mkdir()
        moments = [time.perf_counter()]
        for path in paths:
            run(*tar, path, "-C", tree)
        moments.append(time.perf_counter())
        run("mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, raw, f"{megabytes}m")
        moments.append(time.perf_counter())
        run("qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", raw, image)
        moments.append(time.perf_counter())
        unpack, disk, compress = (end - start for start, end in pairwise(moments))
        return Least(unpack, disk, compress, image.stat().st_size)


def run(*words: str | Path) -> None:
    """Run a program of the host; where it fails, the bench ends with what it said."""
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def memory_of(pid: int, out: Path) -> int:
    """Return the bytes that a build takes: its processes' own share, and what is in its tmpfs.

    Whoever sees the folder of results as `/out` is in the container, whatever engine runs it
    and whose child it is. Linux: proc_pid_smaps(5), `Pss`.
    """
    results = {folder.stat().st_ino for folder in out.glob(".build-*")}
    parents, builders = {}, set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # PID (COMMAND) STATE PPID: the command may have spaces.
            parents[folder.name] = (folder / "stat").read_text().rpartition(") ")[2].split()[1]
            if (folder / "root/out").stat().st_ino in results:
                builders.add(folder.name)
        except OSError:
            continue
    family = {str(pid)} | builders
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(share_of(each) for each in family) + max(map(tree_of, builders), default=0)


def share_of(pid: str) -> int:
    """Return the bytes of a process, 0 when it is gone."""
    try:
        lines = Path("/proc", pid, "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def tree_of(pid: str) -> int:
    """Return the bytes in the tmpfs in which tree and disk grow, as a process in there sees it."""
    try:
        status = os.statvfs(f"/proc/{pid}/root/apk/build")
    except OSError:
        return 0
    return (status.f_blocks - status.f_bfree) * status.f_frsize


if __name__ == "__main__":
    print(json.dumps(build_here(Path(sys.argv[1]))))
