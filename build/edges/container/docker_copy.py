"""Copying of files into and out of docker, with the caller as owner of what comes out.

Docker copies a tar of its own standard input or output (docker-container-cp(1)). A bind mount
would leave files of the container's root on the host.
"""

import os
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile

from build.edges.process import PLAIN
from build.errors import ProcessError


def copy_in(folder: Path, argv: Sequence[str], client: Mapping[str, str]) -> None:
    """Run docker with a tar of `folder` as its input, in which every file belongs to root.

    Raises:
        ProcessError: packing or docker failed; the message has all that they wrote.
    """
    owner = ("--owner=0", "--group=0", "--numeric-owner")
    pack = ("tar", *owner, "-C", str(folder), "-c", ".")
    # A file and not a pipe: tar would wait for a reader of a full one.
    with TemporaryFile() as errors:
        with subprocess.Popen(
            pack, stdout=subprocess.PIPE, stderr=errors, env=dict(PLAIN)
        ) as packing:
            done = subprocess.run(
                list(argv),
                stdin=packing.stdout,
                capture_output=True,
                env=dict(client),
                check=False,
            )
        if packing.returncode or done.returncode:
            errors.seek(0)
            raise _docker_error(argv, done.stderr + errors.read())


def copy_out(argv: Sequence[str], folder: Path, client: Mapping[str, str]) -> None:
    """Unpack the tar that docker writes into `folder`, as files of the caller.

    Raises:
        ProcessError: docker failed; the message has all that it wrote.
    """
    with TemporaryFile() as errors:
        unread = ""
        with subprocess.Popen(
            list(argv), stdout=subprocess.PIPE, stderr=errors, env=dict(client)
        ) as reading:
            try:
                with tarfile.open(fileobj=reading.stdout, mode="r|") as archive:
                    unpack_results(archive, folder)
            except tarfile.TarError as error:
                unread = str(error)
        if reading.returncode or unread:
            errors.seek(0)
            raise _docker_error(argv, errors.read() or unread.encode())


def unpack_results(archive: tarfile.TarFile, folder: Path) -> None:
    """Unpack what a job wrote below `folder`: files, folders and links, which the caller owns.

    Device nodes are left out: only root could make them, and no result is one. This is
    tarfile's filter `data`, which Python has since 3.11.4 only.

    Raises:
        tarfile.TarError: the archive is damaged, or a name leads out of `folder`.
    """
    top = folder.resolve()
    for member in archive:
        for name in (member.name, *([member.linkname] if member.islnk() else [])):
            path = top / name
            # The parent may be a link that the job made; the last part is never followed.
            inside = ".." not in Path(name).parts and path.parent.resolve().is_relative_to(top)
            if path != top and not inside:
                raise tarfile.ExtractError(f"{name}: leads out of the folder")
        path = top / member.name
        if member.isdir():
            path.mkdir(exist_ok=True)
        elif member.isreg() or member.issym() or member.islnk():
            path.unlink(missing_ok=True)
            if member.issym():
                path.symlink_to(member.linkname)
            elif member.islnk():
                os.link(top / member.linkname, path, follow_symlinks=False)
            elif content := archive.extractfile(member):
                with path.open("xb") as file:
                    shutil.copyfileobj(content, file)
                path.chmod(member.mode & 0o755 | 0o600)


def _docker_error(argv: Sequence[str], errors: bytes) -> ProcessError:
    text = errors.decode(errors="backslashreplace").strip()
    return ProcessError(f"{' '.join(argv[:2])} failed:\n{text}")
