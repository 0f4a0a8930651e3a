"""`build`: lock and store -> image and build record; with `--prove` again, and compared."""

import argparse
from pathlib import Path

from build.compare import compare_images
from build.edges.temporary import temporary_folder
from build.errors import NotReproducibleError, StaleLockError
from build.image import Image
from build.snapshot.archive import open_archive
from build.snapshot.lock import Lock, check_fresh
from build.snapshot.store import Store
from ci.commands import one_run
from ci.config import ReleaseConfig, read_config
from ci.preflight.abilities import require_ability_to_build
from ci.publish.summary import format_summary, read_summary
from ci.release.build_job import BuildJob, build_variant
from ci.release.checkout import chosen_variants, fresh_lock, origin_of
from ci.release.snapshots import complete_store
from ci.report.actions import write_summary
from ci.report.console import Console
from ci.report.table import size_text
from ci.reproduce.prove import DAYS, Proof, prove
from ci.reproduce.vm import find_qemu

HELP = "Build the images that the lock and the sources describe"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `build`."""
    parser.add_argument("--variant", help="build only this image of release.toml")
    parser.add_argument(
        "--twice",
        action="store_true",
        help="build a second time and compare; exit 3 when the bytes differ",
    )
    parser.add_argument(
        "--prove",
        action="store_true",
        help="build again, with every variation that must not change the output, and compare; "
        "exit 3 when the bytes differ",
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
        help="read every package from a snapshot archive, and use no mirror",
    )
    parser.add_argument(
        "--engine", choices=["docker", "podman", "unshare"], help="use only this container engine"
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Build each image (again when requested) and print its digests."""
    if arguments.another_day:
        find_qemu()
    config = read_config(arguments.config)
    variants = chosen_variants(config, arguments.variant)
    if arguments.engine is None:
        require_ability_to_build(config, console.environment)
    store = Store(config.build.store)
    images, proofs = [], {}
    with one_run(config.file, "build"), store.in_use():
        lock = _prepare_lock(config, arguments.snapshot, store, console)
        job = BuildJob(
            config=config,
            lock=lock,
            store=store,
            engine=arguments.engine,
            origin=origin_of(config, lock),
        )
        for variant in variants:
            image = build_variant(job, variant, config.dist, console.progress)
            if arguments.twice:
                _build_again(job, variant, image, console)
            _print_image(image, console)
            images.append(dict(image.record))
            if arguments.prove or arguments.another_day:
                proof = prove(job, variant, image, console, another_day=arguments.another_day)
                _print_proof(variant, proof, console)
                proofs[variant] = proof
    write_summary(console.environment, format_summary(read_summary(config)))
    data = {variant: proof.data() for variant, proof in proofs.items()}
    result: dict[str, object] = {"images": images, **({"proofs": data} if data else {})}
    errors = [error for proof in proofs.values() for error in proof.differences]
    if errors:
        failure = NotReproducibleError(
            "\n".join(map(str, errors)), hint="; or ".join(error.hint for error in errors)
        )
        failure.data = result
        raise failure
    console.data(result)
    return 0


def _prepare_lock(
    config: ReleaseConfig, snapshot: Path | None, store: Store, console: Console
) -> Lock:
    """Return the lock to build from, after putting its blobs into `store`.

    Raises:
        StaleLockError: the archive belongs to another lock.
    """
    if snapshot is None:
        lock = fresh_lock(config.build)
        complete_store(config, lock, store, console)
        return lock
    archive = open_archive(snapshot)
    if config.build.lock.exists():
        lock = fresh_lock(config.build)
        if archive.lock.id != lock.id:
            raise StaleLockError(
                f"{snapshot}: has the snapshot {archive.lock.id}, {config.build.lock} is {lock.id}",
                hint="use the archive of this lock's release, or the checkout of the archive's",
            )
    else:
        lock = archive.lock
        check_fresh(lock, config.build)
        console.progress.note(f"no {config.build.lock}: building from the lock in {snapshot}")
    archive.fill(store, console.progress)
    return lock


def _build_again(job: BuildJob, variant: str, first: Image, console: Console) -> None:
    with temporary_folder("again-", job.config.build.work) as folder:
        second = build_variant(job, variant, folder, console.progress)
        compare_images(first, second)
    console.line(f"{variant}: built twice, the same bytes both times")


def _print_image(image: Image, console: Console) -> None:
    record, engine = image.record, image.record["engine"]
    console.line(f"{image.path}: {size_text(record['image']['size'])}")
    for name, title in (("tree", "tree"), ("raw", "raw"), ("image", "qcow2")):
        console.line(f"  {title:<6}sha256:{record[name]['sha256']}")
    console.line(f"  engine {engine['name']} {engine['version']}")
    # Before a container engine it matters to nobody that another one does not run; the record
    # has the reasons in any case.
    if engine["name"] == "unshare":
        for refused in engine["refused"]:
            console.line(f"         not {refused['name']}: {refused['reason']}")


def _print_proof(variant: str, proof: Proof, console: Console) -> None:
    """Print the varied properties, the others with reasons, and whether the bytes are equal."""
    titles = [build.title for build in proof.builds]
    console.line()
    varied = [[row.name, *row.values] for row in proof.rows if row.varied]
    console.table(varied, header=["varied", *titles])
    if same := [[row.name, row.values[0], row.reason] for row in proof.rows if not row.varied]:
        console.line()
        console.table(same, header=["not varied", "in all", "why"])
    console.line()
    if not proof.differences:
        console.line(
            f"{variant}: tree, raw disk and qcow2 have the same bytes in all {len(titles)} builds"
        )
