"""The download of an image by the double, and the checks that DigitalOcean documents.

Custom Images (DigitalOcean's documentation): raw, qcow2, vhdx, vdi or vmdk; perhaps compressed
with gzip or bzip2; under 100 GB unpacked; an ext3 or ext4 root; the server must answer HEAD.
"""

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import requests

from build.errors import SnowdropError
from build.inspect.inspection import root_system
from build.inspect.readers.disk import open_disk, read_table

SECONDS = 60.0
MAX_UNPACKED = 100 * 10**9
CHUNK = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"


class ImportRefusedError(Exception):
    """The reason why an image cannot be imported, as the API reports it."""


def fetch_image(url: str, target: Path, log: Callable[..., None]) -> int:
    """Download the image at `url` to `target`; return the size of its disk in bytes.

    Raises:
        ImportRefusedError: it cannot be downloaded, or is no disk that a droplet boots from.
    """
    try:
        head = requests.head(url, timeout=SECONDS, allow_redirects=False)
        log(method="HEAD", url=url, status=head.status_code)
        if head.status_code != 200 or not head.headers.get("Content-Length", "").isdecimal():
            raise ImportRefusedError("the URL does not answer HEAD with a Content-Length")
        with requests.get(url, timeout=SECONDS, allow_redirects=False, stream=True) as answer:
            log(method="GET", url=url, status=answer.status_code)
            if answer.status_code != 200:
                raise ImportRefusedError(f"the URL answers GET with {answer.status_code}")
            with target.open("wb") as file:
                for chunk in answer.iter_content(CHUNK):
                    file.write(chunk)
    except requests.RequestException as error:
        raise ImportRefusedError(f"the image could not be downloaded: {error}") from None
    _unpack(target)
    return check_disk(target)


def check_disk(path: Path) -> int:
    """Return the size of a disk in bytes, after checking that its root is ext4.

    Raises:
        ImportRefusedError: it is no such disk.
    """
    try:
        with open_disk(path) as disk:
            size = disk.size
            root_system(disk, read_table(disk))
    except SnowdropError as error:
        raise ImportRefusedError(f"no supported disk image: {error}") from None
    if size > MAX_UNPACKED:
        raise ImportRefusedError(f"{size} bytes unpacked, the limit is {MAX_UNPACKED}")
    return size


def _unpack(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(GZIP_MAGIC)) != GZIP_MAGIC:
            return
    unpacked = path.with_suffix(".unpacked")
    try:
        with gzip.open(path) as source, unpacked.open("wb") as target:
            shutil.copyfileobj(source, target, CHUNK)
    except (OSError, EOFError) as error:
        unpacked.unlink()
        raise ImportRefusedError(f"the compressed image is damaged: {error}") from None
    unpacked.replace(path)
