"""The inputs of a build, and the build of one variant."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
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
class BuildJob:
    """The inputs that all images of one command share."""

    config: ReleaseConfig
    lock: Lock
    store: Store
    engine: str | None
    """The only engine that may be used, or None for the first that works."""
    origin: Origin
    caller: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    """The environment from which the engine gets its settings (see `choose_engine`)."""


def build_variant(
    job: BuildJob, variant: str, out: Path, progress: Progress, variation: Variation = USUAL
) -> Image:
    """Build one variant into `out`, with its image.json beside it, and return the image.

    Raises:
        VerificationError: a blob of the store differs from the lock.
        BuildError: no engine works here, or a step failed.
        ImageError: the image has findings; it is left without a build record.
    """
    config = job.config
    config.build.work.mkdir(parents=True, exist_ok=True)
    image = build_image(
        config.build,
        variant,
        job.lock,
        job.store,
        job.origin,
        wanted_engine=job.engine,
        caller=job.caller,
        work=config.build.work,
        out=out,
        progress=progress,
        clock=time.monotonic,
        variation=variation,
    )
    # A build without a rule exists to show the differences that the rule prevents.
    if not variation.without_rules:
        try:
            with progress.step("Inspect the disk"):
                _inspect(job, variant, image)
        except BaseException:
            # An image without a record is not booted or signed. An incomplete inspection must
            # have the same effect as findings.
            image.record_path.unlink()
            raise
    return image


def _inspect(job: BuildJob, variant: str, image: Image) -> None:
    """Write image.json; raise ImageError for findings.

    qemu-img and e2fsck have checked the disk in the builder already.
    """
    work = job.config.build.work
    options = InspectOptions(
        boot_code=read_boot_code(job.lock, job.store, work),
        build_paths=(BUILD_TREE, *searchable_paths(work, ROOT)),
        tree_sha256=image.record["tree"]["sha256"],
        accept=job.config.build.images[variant].accept,
    )
    inspection = inspect_image(image.path, options)
    check_findings(inspection)
    write_image_json(inspection, image.path.with_suffix(SUFFIX))
