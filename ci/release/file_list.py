"""The files of dist by digest, as one line of JSON that one job hands to the next.

Artifacts of a workflow run have names that any of its jobs could write again. The list travels
as an output of the job that made the files, which no other job can change.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from build.edges.files import hash_file
from build.errors import ConfigError, VerificationError
from build.tables import Table
from ci.release.manifest import FILE_NAME

DIGEST_FORM = "64 lower-case hex digits"


def list_files(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file in `folder` by name.

    Raises:
        ConfigError: there is no such folder, or it is empty.
        VerificationError: it has something else than files.
    """
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    if not entries:
        raise ConfigError(f"{folder}: no files", hint="run the step before this one first")
    for entry in entries:
        if entry.is_symlink() or not entry.is_file():
            raise VerificationError(f"{entry}: not a file")
    return {entry.name: hash_file(entry).sha256 for entry in entries}


def dump_list(files: Mapping[str, str]) -> str:
    """Return the list as one line."""
    return json.dumps(dict(sorted(files.items())), separators=(",", ":"))


def parse_list(text: str) -> dict[str, str]:
    """Return a list that `dump_list` wrote.

    Raises:
        ConfigError: it is not one.
    """
    try:
        value = json.loads(text)
    except ValueError:
        raise ConfigError(
            f"{text[:40]!r}: not a list of files", hint="the job before this one wrote none"
        ) from None
    table = Table("list of files", value, ConfigError)
    for name in table.values:
        if not FILE_NAME.fullmatch(name):
            raise ConfigError(f"list of files: {name!r} is no name of a file")
    return {name: table.sha256(name) for name in table.values}


def compare_files(found: Mapping[str, str], lists: Iterable[Mapping[str, str]]) -> None:
    """Check that `found` are exactly the files of all lists.

    Raises:
        VerificationError: a file differs, is missing or is in no list; each is a line.
    """
    problems, expected = [], dict[str, str]()
    for each in lists:
        for name, sha256 in each.items():
            if expected.setdefault(name, sha256) != sha256:
                problems.append(f"{name}: two jobs list it with different digests")
    for name in sorted(found.keys() | expected.keys()):
        here, there = found.get(name, "absent"), expected.get(name, "in no list")
        if here != there:
            problems.append(f"{name}: sha256 {here}, the job that made it lists {there}")
    if problems:
        raise VerificationError(
            "\n".join(problems), hint="an artifact was exchanged or cut: run all jobs again"
        )
