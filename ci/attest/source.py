"""source.tar: the sources that a release was built from, as one file.

The tree of a commit gives the same bytes on every machine and with every git: names sorted,
every time the lock's epoch, every owner root (POSIX.1-2008, pax). Of a working tree with
changes it is the files as they lie, tracked or not, without what git ignores.
"""

import io
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from build.errors import ConfigError
from ci.release.checkout import git

FILE, PROGRAM, LINK = "100644", "100755", "120000"
"""Modes of a tree's entries (git, Documentation/technical: tree objects)."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file of the sources."""

    path: str
    mode: str
    content: bytes
    """Of a link: what it points to."""


def write_source(
    path: Path, checkout: Path, commit: str, *, dirty: bool, folder: str, epoch: int
) -> None:
    """Write the sources to `path`, below `folder` in the archive.

    They are those of `commit`, whatever lies in the working tree, or with `dirty` what lies
    there. `epoch` in seconds since 1970.

    Raises:
        ConfigError: the commit is not in `checkout`, or holds another repository.
    """
    sources = _lying(checkout) if dirty else _committed(checkout, commit)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for source in sorted(sources, key=lambda each: each.path.encode(errors="surrogateescape")):
            member = tarfile.TarInfo(f"{folder}/{source.path}")
            member.mtime, member.uname, member.gname = epoch, "root", "root"
            member.mode = 0o755 if source.mode == PROGRAM else 0o644
            if source.mode == LINK:
                member.type, member.mode = tarfile.SYMTYPE, 0o777
                member.linkname = source.content.decode(errors="surrogateescape")
                archive.addfile(member)
            else:
                member.size = len(source.content)
                archive.addfile(member, io.BytesIO(source.content))


def _committed(checkout: Path, commit: str) -> Iterator[Source]:
    listed = git("ls-tree", "-r", "-z", "--full-tree", commit, folder=checkout, check=False)
    if listed.status != 0:
        raise ConfigError(
            f"{checkout}: holds no commit {commit}, which the images were built from",
            hint="sign in a checkout of that commit, or run `nox -s build` again",
        )
    entries = []
    for line in listed.stdout.split(b"\0")[:-1]:
        head, _, name = line.partition(b"\t")
        mode, kind, blob = head.decode().split()
        shown = name.decode(errors="surrogateescape")
        if kind != "blob":
            raise ConfigError(f"{shown}: another repository in this one, expected files only")
        entries.append((shown, mode, blob))
    asked = "".join(f"{blob}\n" for _, _, blob in entries).encode()
    raw = git("cat-file", "--batch", folder=checkout, stdin=asked).stdout
    place = 0
    for path, mode, blob in entries:
        end = raw.index(b"\n", place)
        found, _, size = raw[place:end].decode().split()
        if found != blob:
            raise ConfigError(f"{checkout}: git gave {found} for {blob}")
        place = end + 1 + int(size)
        yield Source(path, mode, raw[end + 1 : place])
        place += 1


def _lying(checkout: Path) -> Iterator[Source]:
    words = ("--cached", "--others", "--exclude-standard", "--deduplicate")
    listed = git("ls-files", "-z", *words, folder=checkout).stdout
    for name in listed.split(b"\0")[:-1]:
        shown = name.decode(errors="surrogateescape")
        path = checkout / shown
        # A name that git knows, and that was deleted since, is left out.
        with suppress(FileNotFoundError):
            yield _lying_file(path, shown)


def _lying_file(path: Path, shown: str) -> Source:
    if path.is_symlink():
        return Source(shown, LINK, str(path.readlink()).encode(errors="surrogateescape"))
    mode = PROGRAM if path.stat().st_mode & 0o100 else FILE
    return Source(shown, mode, path.read_bytes())
