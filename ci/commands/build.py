"""`build`: lock and store -> image and build record; `build --prove` proves that it repeats."""

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from build.errors import ConfigError, NotReproducibleError, StaleLockError
from build.image import Image, compare_images
from build.snapshot.archive import open_archive
from build.snapshot.fetch import Fetcher
from build.snapshot.lock import Lock, check_fresh
from build.snapshot.restore import fill_store
from build.snapshot.store import Store
from ci.config import ReleaseConfig, read_config
from ci.release.build_job import Order, build_variant
from ci.release.checkout import fresh_lock, origin_of
from ci.report.console import Console
from ci.report.table import size_text
from ci.reproduce.prove import DAYS, Proof, prove
from ci.reproduce.vm import find_qemu

HELP = "Build the images that the lock and the sources describe"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `build` takes."""
    parser.add_argument("--variant", help="build only this image of release.toml")
    parser.add_argument(
        "--twice",
        action="store_true",
        help="build again from nothing and compare; exit 3 when the bytes differ",
    )
    parser.add_argument(
        "--prove",
        action="store_true",
        help="build again with everything varied that must not matter; exit 3 when bytes differ",
    )
    parser.add_argument(
        "--another-day",
        action="store_true",
        help=f"with --prove: a third time, in QEMU, {DAYS} days ahead (minutes)",
    )
    parser.add_argument(
        "--snapshot",
        type=Path,
        metavar="ARCHIVE",
        help="take every package from a snapshot archive: no mirror is asked",
    )
    parser.add_argument("--engine", choices=["docker", "podman", "unshare"], help="use only this")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Build each image (again when asked), and tell its digests."""
    if arguments.another_day:
        arguments.prove = True
        find_qemu()
    config = read_config(arguments.config)
    variants = [arguments.variant] if arguments.variant else list(config.build.images)
    for variant in variants:
        if variant not in config.build.images:
            raise ConfigError(
                f"{config.file}: image.{variant}: there is no such variant, "
                f"there is: {', '.join(config.build.images)}"
            )
    store = Store(config.build.store)
    with store.in_use():
        lock = _lock_and_blobs(config, arguments.snapshot, store, console)
        order = Order(
            config=config,
            lock=lock,
            store=store,
            engine=arguments.engine,
            origin=origin_of(config, lock),
        )
        built, proofs = [], {}
        for variant in variants:
            image = build_variant(order, variant, config.dist, console.progress)
            if arguments.twice:
                _build_again(order, variant, image, console)
            _tell(image, console)
            built.append(dict(image.record))
            if arguments.prove:
                proofs[variant] = prove(
                    order, variant, image, console, another_day=arguments.another_day
                )
                _tell_proof(variant, proofs[variant], console)
    console.data(_data(built, proofs))
    found = [error for proof in proofs.values() for error in proof.differences]
    if found:
        raise NotReproducibleError(
            "\n".join(map(str, found)), hint="; or ".join(error.hint for error in found)
        )
    return 0


def _data(built: list[dict[str, Any]], proofs: Mapping[str, Proof]) -> Mapping[str, Any]:
    proved = {variant: proof.data() for variant, proof in proofs.items()}
    return {"images": built, **({"proofs": proved} if proved else {})}


def _lock_and_blobs(
    config: ReleaseConfig, snapshot: Path | None, store: Store, console: Console
) -> Lock:
    """Return the lock to build from, with all that it names in `store`.

    Raises:
        StaleLockError: the archive is that of another lock.
    """
    if snapshot is None:
        lock = fresh_lock(config.build)
        fill_store(config.build, lock, store, Fetcher(time.sleep), console.progress)
        return lock
    archive = open_archive(snapshot)
    if config.build.lock.exists():
        lock = fresh_lock(config.build)
        if archive.lock.id != lock.id:
            raise StaleLockError(
                f"{snapshot}: holds the snapshot {archive.lock.id}, "
                f"{config.build.lock} is {lock.id}",
                hint="take the archive of this lock's release, or the checkout of the archive's",
            )
    else:
        lock = archive.lock
        check_fresh(lock, config.build)
        console.progress.note(f"no {config.build.lock}: building by the lock of {snapshot}")
    archive.fill(store, console.progress)
    return lock


def _build_again(order: Order, variant: str, first: Image, console: Console) -> None:
    with TemporaryDirectory(prefix="again-", dir=order.config.build.work) as folder:
        second = build_variant(order, variant, Path(folder), console.progress)
        compare_images(first, second)
    console.line(f"{variant}: built twice from nothing, the same bytes both times")


def _tell(image: Image, console: Console) -> None:
    record = image.record
    console.line(f"{image.path}: {size_text(record['image']['size'])}")
    for what in ("tree", "raw", "image"):
        name = "qcow2" if what == "image" else what
        console.line(f"  {name:<6}sha256:{record[what]['sha256']}")
    engine = record["engine"]
    console.line(f"  engine {engine['name']} {engine['version']}")
    for refused in engine["refused"]:
        console.line(f"         not {refused['name']}: {refused['reason']}")


def _tell_proof(variant: str, proof: Proof, console: Console) -> None:
    """Print what was varied, what was not and why, and what came of it."""
    titles = [built.title for built in proof.builds]
    console.line()
    console.table(
        [[row.thing, *row.values] for row in proof.rows if row.varied],
        header=["varied", *titles],
    )
    same = [row for row in proof.rows if not row.varied]
    if same:
        console.line()
        console.table(
            [[row.thing, row.values[0], row.why_not] for row in same],
            header=["not varied", "in all", "why"],
        )
    console.line()
    if not proof.differences:
        console.line(
            f"{variant}: tree, raw disk and qcow2 have the same bytes in all {len(titles)} builds"
        )
