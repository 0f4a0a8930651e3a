"""The members of an initramfs: cpio archives one after the other, compressed or not."""

from collections.abc import Iterator

from build.errors import ImageError
from build.inside import cpio
from build.inside.archives import read_initramfs


def read_members(content: bytes, name: str) -> Iterator[cpio.Member]:
    """Yield the members of an initramfs in their order; `name` is for messages.

    Raises:
        ImageError: it is damaged, or compressed with something else than gzip or xz.
    """
    try:
        yield from read_initramfs(content)
    except ValueError as error:
        raise ImageError(f"{name}: {error}") from None
