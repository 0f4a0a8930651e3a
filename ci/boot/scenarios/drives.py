"""Drives for a droplet: a disk that keeps what one boot wrote for the next, the config drive."""

import json
from collections.abc import Mapping
from pathlib import Path

from build.edges.process import run
from build.errors import MissingToolError
from ci.boot.metadata import Metadata, document
from ci.boot.scenarios.iso9660 import iso9660

LABEL = "config-2"
"""By which a droplet finds its config drive."""
DRIVE_FILE = "digitalocean_meta_data.json"
INSTALL = "run `apt-get install --no-install-recommends qemu-utils`"
TOOL_SECONDS = 60


def make_overlay(
    overlay: Path, below: Path, environment: Mapping[str, str], *, size: int | None = None
) -> None:
    """Make a qcow2 disk that begins as `below` is and takes all writes.

    `below` must not change from now on. `size` in bytes makes the disk larger than it.

    Raises:
        MissingToolError: there is no qemu-img.
    """
    words = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2"]
    words += ["-b", str(below.absolute()), str(overlay), *([str(size)] if size else [])]
    try:
        run(words, environment=environment, timeout=TOOL_SECONDS)
    except MissingToolError as error:
        raise MissingToolError(str(error), hint=INSTALL) from None


def make_config_drive(image: Path, metadata: Metadata) -> None:
    """Write the ISO 9660 image that a custom image's droplet finds as its second disk."""
    content = json.dumps(document(metadata)).encode()
    image.write_bytes(iso9660(LABEL, DRIVE_FILE, content))
