"""`build`: lock and store -> image and build record; with --prove, a proof that it repeats."""

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

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
    """Add the arguments of `build`."""
    parser.add_argument("--variant", help="build only this image of release.toml")
    parser.add_argument(
        "--twice",
        action="store_true",
        help="build a second time and compare; exit 3 when the bytes differ",
    )
    parser.add_argument(
        "--prove",
        action="store_true",
        help="build again, vary all that must not change bytes; exit 3 when they differ",
    )
    parser.add_argument(
        "--another-day",
        action="store_true",
        help=f"with --prove: build a third time in QEMU, {DAYS} days ahead (takes minutes)",
    )
    parser.add_argument(
        "--snapshot",
        type=Path,
        metavar="ARCHIVE",
        help="read all packages from a snapshot archive instead of the mirrors",
    )
    parser.add_argument(
        "--engine", choices=["docker", "podman", "unshare"], help="use only this container engine"
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Build each image, again when asked, and print its digests."""
    if arguments.another_day:
        arguments.prove = True
        find_qemu()
    config = read_config(arguments.config)
    variants = [arguments.variant] if arguments.variant else list(config.build.images)
    for variant in variants:
        if variant not in config.build.images:
            raise ConfigError(
                f"{config.file}: image.{variant}: no such variant, "
                f"expected one of: {', '.join(config.build.images)}"
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
            _print_image(image, console)
            built.append(dict(image.record))
            if arguments.prove:
                proofs[variant] = prove(
                    order, variant, image, console, another_day=arguments.another_day
                )
                _print_proof(variant, proofs[variant], console)
    data = {variant: proof.data() for variant, proof in proofs.items()}
    console.data({"images": built, **({"proofs": data} if data else {})})
    found = [error for proof in proofs.values() for error in proof.differences]
    if found:
        raise NotReproducibleError(
            "\n".join(map(str, found)), hint="; or ".join(error.hint for error in found)
        )
    return 0


def _lock_and_blobs(
    config: ReleaseConfig, snapshot: Path | None, store: Store, console: Console
) -> Lock:
    """Return the lock to build from; everything that it names is in `store` afterwards.

    Raises:
        StaleLockError: the archive belongs to another lock.
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
                f"{snapshot}: snapshot {archive.lock.id}, {config.build.lock}: {lock.id}",
                hint="use the archive of this lock's release, or the checkout of the other",
            )
    else:
        lock = archive.lock
        check_fresh(lock, config.build)
        console.progress.note(f"no {config.build.lock}: using the lock of {snapshot}")
    archive.fill(store, console.progress)
    return lock


def _build_again(order: Order, variant: str, first: Image, console: Console) -> None:
    with TemporaryDirectory(prefix="again-", dir=order.config.build.work) as folder:
        second = build_variant(order, variant, Path(folder), console.progress)
        compare_images(first, second)
    console.line(f"{variant}: built twice, the same bytes both times")


def _print_image(image: Image, console: Console) -> None:
    record = image.record
    console.line(f"{image.path}: {size_text(record['image']['size'])}")
    for title, key in (("tree", "tree"), ("raw", "raw"), ("qcow2", "image")):
        console.line(f"  {title:<6}sha256:{record[key]['sha256']}")
    engine = record["engine"]
    console.line(f"  engine {engine['name']} {engine['version']}")
    for refused in engine["refused"]:
        console.line(f"         not {refused['name']}: {refused['reason']}")


def _print_proof(variant: str, proof: Proof, console: Console) -> None:
    """Print what was varied, what was not and why, and the result."""
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
