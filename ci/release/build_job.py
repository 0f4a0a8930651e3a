"""What the images of one command are built from, and the building of one of them."""

import time
from dataclasses import dataclass
from pathlib import Path

from build.config import Origin
from build.edges.progress import Progress
from build.edges.variation import USUAL, Variation
from build.image import Image, build_image
from build.inspect.boot_code import read_boot_code
from build.inspect.inspection import (
    SUFFIX,
    InspectOptions,
    check_findings,
    inspect_image,
    write_image_json,
)
from build.inspect.secrets import BUILD_TREE, searchable_paths
from build.snapshot.lock import Lock
from build.snapshot.store import Store
from ci.config import ReleaseConfig
from ci.release.checkout import ROOT


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What all images of one command are built from."""

    config: ReleaseConfig
    lock: Lock
    store: Store
    engine: str | None
    """The only engine that may be used, or None for the first that works."""
    origin: Origin


def build_variant(
    order: Order, variant: str, out: Path, progress: Progress, variation: Variation = USUAL
) -> Image:
    """Return the image of one variant, written to `out` with its image.json beside it.

    Raises:
        VerificationError: a blob of the store is not what the lock says.
        BuildError: no engine works here, or a step failed.
        ImageError: the image holds what none may; it is left without a build record.
    """
    config = order.config
    config.build.work.mkdir(parents=True, exist_ok=True)
    image = build_image(
        config.build,
        variant,
        order.lock,
        order.store,
        order.origin,
        wanted_engine=order.engine,
        work=config.build.work,
        out=out,
        progress=progress,
        clock=time.monotonic,
        variation=variation,
    )
    # A build that leaves out a rule is there to show what comes of it.
    if not variation.without_rules:
        with progress.step("Judge the disk"):
            _judge(order, variant, image)
    return image


def _judge(order: Order, variant: str, image: Image) -> None:
    """Write image.json, or take back the record: without it nothing is booted or signed.

    qemu-img and e2fsck have looked at the disk in the builder already.
    """
    try:
        _inspect(order, variant, image)
    except BaseException:
        # Whatever kept it from being judged: what was not judged is not released.
        image.record_path.unlink()
        raise


def _inspect(order: Order, variant: str, image: Image) -> None:
    work = order.config.build.work
    measures = InspectOptions(
        boot_code=read_boot_code(order.lock, order.store, work),
        build_paths=(BUILD_TREE, *searchable_paths(work, ROOT)),
        tree_sha256=image.record["tree"]["sha256"],
        accept=order.config.build.images[variant].accept,
    )
    inspection = inspect_image(image.path, measures)
    check_findings(inspection)
    write_image_json(inspection, image.path.with_suffix(SUFFIX))
