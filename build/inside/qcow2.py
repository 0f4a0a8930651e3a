"""The compressed qcow2 file that is published."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from build.inside.programs import run


@dataclass(frozen=True, slots=True)
class Digest:
    """Size and SHA-256 of a file."""

    size: int
    sha256: str


def digest(path: Path) -> Digest:
    """Return size and SHA-256 of a file of any size."""
    with path.open("rb") as file:
        return Digest(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def write_qcow2(raw: Path, target: Path, variables: Mapping[str, str]) -> None:
    """Write `raw` as qcow2 version 3 with zlib clusters, which DigitalOcean accepts.

    Raises:
        StepError: qemu-img failed, or `qemu-img check` finds an error.
    """
    options = "compat=1.1,cluster_size=65536,compression_type=zlib,lazy_refcounts=off"
    # Never with `-W`: it writes clusters in the order in which threads finish (qemu-img(1)).
    argv = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", "-o", options]
    run([*argv, str(raw), str(target)], variables)
    run(["qemu-img", "check", "-q", "-f", "qcow2", str(target)], variables)
