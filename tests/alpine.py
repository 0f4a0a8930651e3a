"""Real Alpine packages for tests: where they are, and `nox -s fixtures`, which fetches them.

A mirror keeps only the newest version of a package, so that some of the files may be gone from
it; a run without them skips the tests that read them.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from build.config import read_build_config
from build.edges.files import hash_bytes, hash_file, write_file
from build.errors import RemoteError, SnowdropError
from build.snapshot.fetch import Fetcher, locate
from build.tables import Table, read_toml

ROOT = Path(__file__).parents[1]
LIST = ROOT / "tests" / "assets" / "alpine.toml"
FIXTURES = ROOT / ".snowdrop" / "fixtures" / "alpine-v3.19"
BESIDE = ROOT.parent / "shared" / "alpine-v3.19"
KEYS = ROOT / "build" / "keys" / "alpine"


def alpine_folder() -> Path:
    """Return the folder with real Alpine 3.19 files: `repo`, `full` and `keys`.

    `.snowdrop/fixtures` is taken when it is complete, else the folder beside the project; the
    latter is returned, too, when neither exists.
    """
    paths = [row.text("path") for row in read_toml(LIST).tables("file")]
    return FIXTURES if all((FIXTURES / path).is_file() for path in paths) else BESIDE


ALPINE = alpine_folder()
SMALL = ALPINE / "repo" / "v3.19" / "main"
"""A repository of 100 packages, with its index."""
FULL = tuple(ALPINE / "full" / name for name in ("main", "community"))
"""Alpine's two repositories as indexes alone: 23,030 packages are described, none is there."""


def fetch(row: Table, mirror: str, fetcher: Fetcher) -> str:
    """Fetch the file of `row` unless it is there; return what is wrong with it, or nothing."""
    path, size, sha256 = row.text("path"), row.number("size"), row.sha256("sha256")
    target = FIXTURES / path
    if target.is_file() and hash_file(target).sha256 == sha256:
        return ""
    # repo/v3.19/main/x86_64/NAME and full/main/x86_64/NAME are v3.19/main/x86_64/NAME there.
    _, _, rest = path.partition("/")
    name = rest if rest.startswith("v3.19/") else f"v3.19/{rest}"
    try:
        content = fetcher.fetch(locate(mirror, ROOT), name, limit=size)
    except RemoteError as error:
        return str(error)
    found = hash_bytes(content).sha256
    if found != sha256:
        return f"{mirror}/{name}: sha256 {found}, expected {sha256}: not kept"
    write_file(target, content)
    return ""


def main() -> int:
    """Fetch what is missing; return 1 if a file could not be had, 0 otherwise."""
    parser = argparse.ArgumentParser(prog="nox -s fixtures --", description=fetch.__doc__)
    parser.add_argument(
        "--mirror",
        default=os.environ.get("SNOWDROP_ALPINE_MIRROR"),
        help="URL or folder above v3.19/ (default: that of release.toml, or the variable "
        "SNOWDROP_ALPINE_MIRROR)",
    )
    arguments = parser.parse_args()
    config = read_build_config(ROOT / "release.toml")
    mirror = arguments.mirror or config.source.repositories[0].rsplit("/", 2)[0]
    fetcher, rows = Fetcher(time.sleep), read_toml(LIST).tables("file")
    problems = [problem for row in rows if (problem := fetch(row, mirror, fetcher))]
    for key in KEYS.glob("*.pub"):
        write_file(FIXTURES / "keys" / key.name, key.read_bytes())
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{FIXTURES.relative_to(ROOT)}: {len(rows) - len(problems)} of {len(rows)} files")
    return 1 if problems else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SnowdropError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
