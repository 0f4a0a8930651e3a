"""Drives of a droplet: a disk that persists from boot to boot, and the config drive."""

import json
from collections.abc import Mapping
from pathlib import Path

from build.edges.process import run
from build.errors import MissingToolError
from ci.boot.metadata import Metadata, render_json
from ci.boot.scenarios.iso9660 import iso9660

LABEL = "config-2"
"""Volume label by which a droplet finds its config drive."""
DRIVE_FILE = "digitalocean_meta_data.json"
INSTALL = "run `apt-get install --no-install-recommends qemu-utils`"
TOOL_SECONDS = 60


def make_overlay(
    overlay: Path, below: Path, environment: Mapping[str, str], *, size: int | None = None
) -> None:
    """Make a qcow2 disk with the content of `below`, which takes all writes.

    `below` must not change afterwards. `size` in bytes makes the disk larger.

    Raises:
        MissingToolError: qemu-img is not installed.
    """
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2"]
    argv += ["-b", str(below.absolute()), str(overlay), *([str(size)] if size else [])]
    try:
        run(argv, environment=environment, timeout=TOOL_SECONDS)
    except MissingToolError as error:
        raise MissingToolError(str(error), hint=INSTALL) from None


def make_config_drive(image: Path, metadata: Metadata) -> None:
    """Write the ISO 9660 volume that a droplet finds as its second disk."""
    content = json.dumps(render_json(metadata)).encode()
    image.write_bytes(iso9660(LABEL, DRIVE_FILE, content))
