"""Untrusted files and untrusted JSON: what is read is a plain file, bounded, and means one thing.

A name may be a link, a pipe or a folder, and a JSON text may say one key twice so that two
readers see two values. None of that is ever what a release holds, so all of it is refused.
"""

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

SMALL = 4 * 1024 * 1024
"""No manifest, list of checksums or bundle is larger, in bytes."""
DEEPEST = 64
"""Levels of lists and objects; what is signed here has 12."""
STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
"""A string, or one without its end: what is read once is never tried again."""


@contextmanager
def open_plain(path: Path) -> Iterator[BufferedReader]:
    """Give the file at `path` open for reading; a link, folder, pipe or device is none.

    Raises:
        VerificationError: it is no plain file, or cannot be read.
    """
    try:
        # Not to wait for the other end of a pipe, before it is known to be none.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise VerificationError(f"{path.name}: {_why(path, error)}") from None
    kind = os.fstat(handle).st_mode
    if not stat.S_ISREG(kind):
        os.close(handle)
        raise VerificationError(f"{path.name}: {_kind(kind)}, expected a plain file")
    try:
        with os.fdopen(handle, "rb") as file:
            yield file
    except OSError as error:
        raise VerificationError(f"{path.name}: cannot be read ({error.strerror})") from None


def hash_plain(path: Path) -> Digest:
    """Return size and digest of the plain file at `path`, read once and never held whole.

    Raises:
        VerificationError: as `open_plain`.
    """
    with open_plain(path) as file:
        return hash_open_file(file)


def read_small(path: Path, most: int = SMALL) -> bytes:
    """Return the content of a plain file of at most `most` bytes.

    Raises:
        VerificationError: as `open_plain`, or it is larger.
    """
    with open_plain(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise VerificationError(f"{path.name}: more than {most} bytes, expected no more")
    return content


def parse_strict(raw: bytes, *, where: str) -> object:
    r"""Return the JSON value in `raw` (RFC 8259), which has one meaning for every reader.

    >>> parse_strict(b'{"a": [1]}', where="x")
    {'a': [1]}

    Raises:
        VerificationError: not UTF-8 JSON, a key twice in one object, NaN or Infinity, or more
            than DEEPEST levels.
    """
    if _depth(raw) > DEEPEST:
        raise VerificationError(f"{where}: more than {DEEPEST} levels of JSON, expected fewer")
    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise VerificationError(f"{where}: not the JSON of one meaning ({error})") from None


def same_json(one: object, other: object) -> bool:
    """Return whether two JSON values are the same, where Python takes 1, 1.0 and true for equal.

    >>> same_json({"a": 1}, {"a": True}), same_json({"a": 1, "b": 2}, {"b": 2, "a": 1})
    (False, True)
    """
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def printable(text: str, most: int = 400) -> str:
    r"""Return `text` cut to `most` characters, with nothing in it that a terminal obeys.

    >>> printable("a\x1b[2Jb\nc")
    'a\\x1b[2Jb\\nc'
    """
    shown = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text[: most + 1]
    )
    return shown if len(text) <= most else f"{shown[:most]}..."


def _depth(raw: bytes) -> int:
    """Return the most levels open at once; strings do not count."""
    deepest = level = 0
    for letter in re.findall(rb"[\[\]{}]", STRING.sub(b"", raw)):
        level += 1 if letter in b"[{" else -1
        deepest = max(deepest, level)
    return deepest


def _once(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {twice[:60]!r} twice in one object")
    return value


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is no JSON")


def _why(path: Path, error: OSError) -> str:
    if path.is_symlink():
        return "a symbolic link, expected a plain file"
    return "no such file" if isinstance(error, FileNotFoundError) else str(error.strerror)


def _kind(mode: int) -> str:
    for name, test in (
        ("a folder", stat.S_ISDIR),
        ("a pipe", stat.S_ISFIFO),
        ("a socket", stat.S_ISSOCK),
    ):
        if test(mode):
            return name
    return "a device"
