"""The raw disk as the compressed qcow2 file that is published."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from build.inside.programs import run


@dataclass(frozen=True, slots=True)
class Digest:
    """How many bytes a file has, and which."""

    size: int
    sha256: str


def digest(path: Path) -> Digest:
    """Return size and SHA-256 of a file, read as a stream."""
    with path.open("rb") as file:
        return Digest(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def write_qcow2(raw: Path, target: Path, variables: Mapping[str, str]) -> None:
    """Write `raw` as qcow2 version 3 with zlib clusters, which every host of droplets reads.

    Never with `-W`: it writes clusters in the order in which threads finish.

    Raises:
        Failure: qemu-img failed, or finds something wrong with what it wrote.
    """
    options = "compat=1.1,cluster_size=65536,compression_type=zlib,lazy_refcounts=off"
    run(
        [
            "qemu-img",
            "convert",
            "-f",
            "raw",
            "-O",
            "qcow2",
            "-c",
            "-o",
            options,
            str(raw),
            str(target),
        ],
        variables,
    )
    run(["qemu-img", "check", "-q", "-f", "qcow2", str(target)], variables)
