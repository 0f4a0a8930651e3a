"""SHA256SUMS: any Linux checks a release with `sha256sum -c`, without this program.

Format: coreutils' `sha256sum`, text mode: 64 hex digits, two spaces, the file's name.
"""

import re
from collections.abc import Mapping

from build.errors import VerificationError
from ci.release.manifest import CHECKSUMS, FILE_NAME

LINE = re.compile(rf"([0-9a-f]{{64}})  ({FILE_NAME.pattern})")


def dump_checksums(sums: Mapping[str, str]) -> bytes:
    """Return SHA256SUMS for files by name, sorted by name.

    >>> dump_checksums({"b": "0" * 64, "a": "1" * 64}).splitlines()[1]
    b'0000000000000000000000000000000000000000000000000000000000000000  b'
    """
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode()


def parse_checksums(raw: bytes) -> dict[str, str]:
    """Return sha256 by file name; `raw` must be exactly what `dump_checksums` writes.

    A name has no slash and does not begin with a dot, so it cannot leave the folder.

    Raises:
        VerificationError: with the line and the expected form.
    """
    sums: dict[str, str] = {}
    for number, line in enumerate(raw.decode("utf-8", "backslashreplace").split("\n")[:-1], 1):
        match = LINE.fullmatch(line)
        if not match:
            raise VerificationError(
                f"{CHECKSUMS}: line {number} is {line[:120]!r}, "
                "expected 64 hex digits, two spaces and a file name"
            )
        sha256, name = match.groups()
        if name in sums:
            raise VerificationError(f"{CHECKSUMS}: line {number}: {name} twice, expected once")
        sums[name] = sha256
    if not sums or dump_checksums(sums) != raw:
        raise VerificationError(
            f"{CHECKSUMS}: empty, unsorted or cut off, expected whole lines sorted by file name"
        )
    return sums
