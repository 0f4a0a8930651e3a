"""What the images of one command are built from, and the building of one of them."""

import time
from dataclasses import dataclass
from pathlib import Path

from build.config import Origin
from build.edges.manner import USUAL, Manner
from build.edges.progress import Progress
from build.image import Image, build_image
from build.snapshot.lock import Lock
from build.snapshot.store import Store
from ci.config import ReleaseConfig


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
    order: Order, variant: str, out: Path, progress: Progress, manner: Manner = USUAL
) -> Image:
    """Return the image of one variant, written to `out`.

    Raises:
        VerificationError: a blob of the store is not what the lock says.
        BuildError: no engine works here, or a step failed.
    """
    config = order.config
    config.build.work.mkdir(parents=True, exist_ok=True)
    return build_image(
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
        manner=manner,
    )
