"""The conversion of an image: its raw disk must be the one that the release signed."""

import gzip
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from build.edges.files import hash_file
from build.edges.parent import bound
from build.edges.process import run
from build.edges.progress import Progress
from build.edges.temporary import temporary_folder
from build.errors import VerificationError
from ci.convert.formats import FORMATS

CHUNK = 1 << 20
GZIP_LEVEL = 6
TIMEOUT = 3600.0
"""Seconds for one run of qemu-img."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The signed image that is converted."""

    image: Path
    """The verified qcow2 file."""
    raw_size: int
    raw_sha256: str
    """Of the raw disk, from the signed build record."""
    epoch: int
    """Of the release, in seconds since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """A converted image."""

    path: Path
    size: int
    sha256: str


def convert_image(source: Source, to: str, out: Path, progress: Progress) -> Converted:
    """Write the image in the format `to` (a key of FORMATS) to `out`; return what was written.

    The raw disk is hashed before it is converted, and once more from the converted file.
    `out` appears with a rename, complete or not at all.

    Raises:
        VerificationError: the raw disk is not the one of the signed build record.
        ProcessError: qemu-img failed.
        MissingToolError: there is no qemu-img.
    """
    chosen = FORMATS[to]
    with temporary_folder(".convert-", out.parent) as folder:
        raw = folder / "disk.raw"
        with progress.step(f"Read {source.image.name}"):
            _qemu_img("convert", "-f", "qcow2", "-O", "raw", source.image, raw)
        found = hash_file(raw)
        if (found.size, found.sha256) != (source.raw_size, source.raw_sha256):
            raise VerificationError(
                f"{source.image}: its raw disk has sha256 {found.sha256}, the signed build "
                f"record has {source.raw_sha256}"
            )
        # qemu-img writes this name into a VMDK.
        target = folder / out.name
        with progress.step(f"Write {out.name}", total=source.raw_size) as step:
            if to == "raw":
                raw.rename(target)
            elif to == "raw.gz":
                _compress(raw, target, step.advance)
            else:
                _qemu_img("convert", "-f", "raw", *chosen.options, raw, target)
        if chosen.settle:
            chosen.settle(target, source.raw_sha256, source.epoch)
        if raw_digest(target, to, folder) != source.raw_sha256:
            raise VerificationError(f"{out}: the converted file has another disk than the image")
        target.replace(out)
    result = hash_file(out)
    return Converted(path=out, size=result.size, sha256=result.sha256)


def raw_digest(path: Path, form: str, work: Path) -> str:
    """Return the sha256 of the raw disk in a file of the format `form` (a key of FORMATS).

    Raises:
        VerificationError: the file is not of that format.
        ProcessError: qemu-img failed.
    """
    if form == "raw":
        return hash_file(path).sha256
    if form == "raw.gz":
        digest = hashlib.sha256()
        try:
            with gzip.open(path) as file:
                while chunk := file.read(CHUNK):
                    digest.update(chunk)
        except (OSError, EOFError) as error:
            raise VerificationError(f"{path}: not a gzip file: {error}") from None
        return digest.hexdigest()
    with _temporary_raw(work) as raw:
        _qemu_img("convert", "-f", FORMATS[form].driver, "-O", "raw", path, raw)
        return hash_file(raw).sha256


@contextmanager
def _temporary_raw(work: Path) -> Iterator[Path]:
    with temporary_folder(".raw-", work) as folder:
        yield folder / "disk.raw"


def _compress(raw: Path, target: Path, advance: Callable[[int], None]) -> None:
    """Write a gzip file without name and time, so that it depends on the disk alone (RFC 1952)."""
    with raw.open("rb") as source, target.open("wb") as file:
        binary: BinaryIO = file
        with gzip.GzipFile("", "wb", GZIP_LEVEL, binary, mtime=0) as compressed:
            while chunk := source.read(CHUNK):
                compressed.write(chunk)
                advance(len(chunk))


def _qemu_img(*words: str | Path) -> None:
    run(bound(["qemu-img", *map(str, words)]), timeout=TIMEOUT)
