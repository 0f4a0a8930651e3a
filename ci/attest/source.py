"""source.tar: the sources that a release was built from, as one file.

A commit gives the same bytes on every machine and with every version of git: sorted names, the
lock's epoch as every time, root as every owner (POSIX.1-2008, pax). For a working tree with
changes the archive contains its files, tracked or not, without those that git ignores.
"""

import io
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from build.errors import ConfigError
from ci.release.checkout import git
from ci.release.manifest import Manifest

FILE, PROGRAM, LINK = "100644", "100755", "120000"
"""Modes of a tree's entries (git, Documentation/technical: tree objects)."""


Source = tuple[str, str, bytes]
"""Path, mode and content of one file; the content of a link is its target."""


def write_source(path: Path, checkout: Path, manifest: Manifest) -> None:
    """Write the sources of a release to `path`, in a folder `NAME-VERSION` of the archive.

    They are those of the manifest's commit or, for a dirty release, of the working tree.

    Raises:
        ConfigError: the commit is not in `checkout`, or contains another repository.
    """
    sources = _working_tree(checkout) if manifest.dirty else _committed(checkout, manifest.commit)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, mode, content in sorted(sources, key=lambda each: _encode(each[0])):
            member = tarfile.TarInfo(f"{manifest.name}-{manifest.version}/{name}")
            member.mtime, member.uname, member.gname = manifest.epoch, "root", "root"
            if mode == LINK:
                member.type, member.mode = tarfile.SYMTYPE, 0o777
                member.linkname = _decode(content)
                archive.addfile(member)
            else:
                # git keeps only the executable bit of a file's mode.
                member.mode, member.size = 0o755 if mode == PROGRAM else 0o644, len(content)
                archive.addfile(member, io.BytesIO(content))


def _committed(checkout: Path, commit: str) -> Iterator[Source]:
    # Not `git archive`: its bytes depend on the version of git, and on attributes and
    # configuration such as export-ignore and tar.umask (git-archive(1)).
    listed = git("ls-tree", "-r", "-z", "--full-tree", commit, folder=checkout, check=False)
    if listed.status != 0:
        raise ConfigError(
            f"{checkout}: has no commit {commit}, which the images were built from",
            hint="sign in a checkout of that commit, or run `nox -s build` again",
        )
    entries = []
    for line in listed.stdout.split(b"\0")[:-1]:
        fields, _, name = line.partition(b"\t")
        mode, kind, blob = fields.decode().split()
        path = _decode(name)
        if kind != "blob":
            raise ConfigError(f"{path}: another repository in this one, expected files only")
        entries.append((path, mode, blob))
    blobs = "".join(f"{blob}\n" for _, _, blob in entries).encode()
    raw = git("cat-file", "--batch", folder=checkout, stdin=blobs).stdout
    position = 0
    # For each blob: its id, type and size on a line, the content, and a newline (git-cat-file(1)).
    for path, mode, blob in entries:
        end = raw.index(b"\n", position)
        found, _, size = raw[position:end].decode().split()
        if found != blob:
            raise ConfigError(f"{checkout}: git gave {found} for {blob}")
        position = end + 1 + int(size)
        yield path, mode, raw[end + 1 : position]
        position += 1


def _working_tree(checkout: Path) -> Iterator[Source]:
    words = ("--cached", "--others", "--exclude-standard", "--deduplicate")
    listed = git("ls-files", "-z", *words, folder=checkout).stdout
    for name in listed.split(b"\0")[:-1]:
        # git also lists files that were deleted since, which are left out.
        with suppress(FileNotFoundError):
            yield _read_file(checkout, _decode(name))


def _read_file(checkout: Path, name: str) -> Source:
    path = checkout / name
    if path.is_symlink():
        return name, LINK, _encode(str(path.readlink()))
    return name, PROGRAM if path.stat().st_mode & 0o100 else FILE, path.read_bytes()


def _decode(name: bytes) -> str:
    # Not os.fsdecode, whose result depends on the locale.
    return name.decode("utf-8", "surrogateescape")


def _encode(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
