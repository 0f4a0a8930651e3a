"""`build`: lock and store -> image and build record; `build --twice` proves that it repeats."""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from build.errors import ConfigError, StaleLockError
from build.image import Image, build_image, compare_images
from build.snapshot.archive import open_archive
from build.snapshot.fill import fill_store
from build.snapshot.lock import Lock, check_fresh
from build.snapshot.mirror import Fetcher
from build.snapshot.store import Store
from ci.config import ReleaseConfig, read_config
from ci.release.checkout import fresh_lock, origin_of
from ci.report.console import Console
from ci.report.table import size_text

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
        "--snapshot",
        type=Path,
        metavar="ARCHIVE",
        help="take every package from a snapshot archive: no mirror is asked",
    )
    parser.add_argument("--engine", choices=["docker", "podman", "unshare"], help="use only this")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Build each image (twice when asked), and tell its digests."""
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
        order = _Order(config, lock, store, arguments.engine)
        built = []
        for variant in variants:
            image = _build(order, variant, config.dist, console)
            if arguments.twice:
                _build_again(order, variant, image, console)
            _tell(image, console)
            built.append(dict(image.record))
    console.data({"images": built})
    return 0


@dataclass(frozen=True, slots=True)
class _Order:
    """What all images of one command are built from."""

    config: ReleaseConfig
    lock: Lock
    store: Store
    engine: str | None


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


def _build(order: _Order, variant: str, out: Path, console: Console) -> Image:
    config = order.config
    config.build.work.mkdir(parents=True, exist_ok=True)
    return build_image(
        config.build,
        variant,
        order.lock,
        order.store,
        origin_of(config, order.lock),
        wanted_engine=order.engine,
        work=config.build.work,
        out=out,
        progress=console.progress,
        clock=time.monotonic,
    )


def _build_again(order: _Order, variant: str, first: Image, console: Console) -> None:
    with TemporaryDirectory(prefix="again-", dir=order.config.build.work) as folder:
        second = _build(order, variant, Path(folder), console)
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
