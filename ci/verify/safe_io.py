"""Safe reading of untrusted files and untrusted JSON.

A name may be a link, a pipe or a folder, and a JSON object may have a key twice, so that two
readers see two values. A release never contains any of that, so all of it is refused.
"""

import errno
import json
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from build.edges.files import Digest, hash_open_file
from build.errors import VerificationError
from ci.report.table import escape

MAX_SMALL = 4 * 1024 * 1024
"""Bytes of a manifest, a list of checksums or a bundle."""
MAX_IMAGE = 100 * 10**9
"""Bytes of the largest image that DigitalOcean imports."""
MAX_DEPTH = 64
"""Levels of lists and objects; the documents of a release have 12."""
KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe"}
STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
"""A string, perhaps without its end; possessive, so that no input makes it backtrack."""


@contextmanager
def open_plain(path: Path) -> Iterator[BufferedReader]:
    """Yield the plain file at `path`, open for reading.

    Raises:
        VerificationError: it is a link, folder, pipe or device, or cannot be read.
    """
    try:
        # open(2): without O_NONBLOCK, opening a pipe waits for its other end.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise VerificationError(f"{path.name}: {_describe_error(path, error)}") from None
    kind = os.fstat(handle).st_mode
    if not stat.S_ISREG(kind):
        os.close(handle)
        what = KINDS.get(stat.S_IFMT(kind), "a device")
        raise VerificationError(f"{path.name}: {what}, expected a plain file")
    try:
        with os.fdopen(handle, "rb") as file:
            yield file
    except OSError as error:
        raise VerificationError(f"{path.name}: cannot be read ({error.strerror})") from None


def hash_plain(path: Path, *, size: int | None = None) -> Digest:
    """Return size and digest of the plain file at `path`, read in pieces.

    A file that has not `size` bytes, or has more than MAX_IMAGE when None, is not read.

    Raises:
        VerificationError: as `open_plain`, or for its size.
    """
    with open_plain(path) as file:
        found = os.fstat(file.fileno()).st_size
        if found > MAX_IMAGE or size not in (None, found):
            expected = f"at most {MAX_IMAGE}" if size is None else size
            raise VerificationError(f"{path.name}: {found} bytes, expected {expected}")
        return hash_open_file(file)


def read_small(path: Path, limit: int = MAX_SMALL) -> bytes:
    """Return the content of a plain file of at most `limit` bytes.

    Raises:
        VerificationError: as `open_plain`, or it is larger.
    """
    with open_plain(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise VerificationError(f"{path.name}: more than {limit} bytes, expected no more")
    return content


def parse_strict(raw: bytes, *, where: str) -> object:
    r"""Return the JSON value in `raw` (RFC 8259), refusing ambiguous input.

    >>> parse_strict(b'{"a": [1]}', where="x")
    {'a': [1]}

    Raises:
        VerificationError: not UTF-8 JSON, a key twice in one object, NaN or Infinity, or more
            than MAX_DEPTH levels.
    """
    if _depth(raw) > MAX_DEPTH:
        raise VerificationError(f"{where}: more than {MAX_DEPTH} levels of JSON, expected fewer")
    try:
        return json.loads(
            raw.decode("utf-8"), object_pairs_hook=_unique_keys, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        raise VerificationError(f"{where}: not the JSON of one meaning ({error})") from None


def same_json(one: object, other: object) -> bool:
    """Return whether two JSON values are the same; unlike `==`, it distinguishes 1, 1.0 and true.

    >>> same_json({"a": 1}, {"a": True}), same_json({"a": 1, "b": 2}, {"b": 2, "a": 1})
    (False, True)
    """
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def printable(text: str, limit: int = 400) -> str:
    r"""Return `text` cut to `limit` characters, with control characters escaped.

    >>> printable("a\x1b[2Jb\nc")
    'a\\x1b[2Jb\\nc'
    """
    escaped = escape(text[: limit + 1])
    return escaped if len(text) <= limit else f"{escaped[:limit]}..."


def _depth(raw: bytes) -> int:
    """Return the depth of nesting, before any parser recurses."""
    deepest = level = 0
    for letter in re.findall(rb"[\[\]{}]", STRING.sub(b"", raw)):
        level += 1 if letter in b"[{" else -1
        deepest = max(deepest, level)
    return deepest


def _unique_keys(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    value: dict[str, object] = {}
    for name, item in pairs:
        if name in value:
            raise ValueError(f"key {name[:60]!r} twice in one object")
        value[name] = item
    return value


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is no JSON")


def _describe_error(path: Path, error: OSError) -> str:
    if path.is_symlink():
        return "a symbolic link, expected a plain file"
    if error.errno == errno.ENXIO:
        return "a socket, expected a plain file"  # open(2)
    return "no such file" if isinstance(error, FileNotFoundError) else str(error.strerror)
