"""Results of a container are unpacked as files of the caller, below one folder."""

import io
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from build.edges.container.docker_copy import unpack_results


def entry(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size, member.uid, member.gid = len(content), 0, 0
    for key, value in fields.items():
        setattr(member, key, value)
    return member, content


@pytest.fixture
def unpack(tmp_path: Path) -> Callable[..., Path]:
    """Unpack members into a folder and return it."""

    def unpacked(*members: tuple[tarfile.TarInfo, bytes]) -> Path:
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w") as archive:
            for member, content in members:
                archive.addfile(member, io.BytesIO(content))
        raw.seek(0)
        folder = tmp_path / "out"
        folder.mkdir(exist_ok=True)
        with tarfile.open(fileobj=raw, mode="r|") as archive:
            unpack_results(archive, folder)
        return folder

    return unpacked


def test_files_folders_and_links_are_the_callers(unpack: Callable[..., Path]) -> None:
    folder = unpack(
        entry("./", type=tarfile.DIRTYPE),
        entry("db/", type=tarfile.DIRTYPE, mode=0o500),
        entry("db/file", b"new", mode=0o4467, uid=100),
        entry("db/same", type=tarfile.LNKTYPE, linkname="db/file"),
        entry("link", type=tarfile.SYMTYPE, linkname="db"),
        entry("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
        entry("pipe", type=tarfile.FIFOTYPE),
    )
    assert sorted(path.name for path in folder.rglob("*")) == ["db", "file", "link", "same"]
    status = (folder / "db/file").stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (os.geteuid(), 0o645)
    assert (folder / "db/same").samefile(folder / "db/file")
    # Removable by the caller, whatever mode the container gave the folder.
    assert (folder / "db").stat().st_mode & stat.S_IRWXU == stat.S_IRWXU


def test_a_file_that_was_there_is_replaced_and_a_link_not_followed(
    unpack: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "outside").write_text("kept")
    unpack(entry("result", b"first"), entry("link", type=tarfile.SYMTYPE, linkname="../outside"))
    folder = unpack(entry("result", b"second"), entry("link", b"a file"))
    assert (folder / "result").read_text() == "second"
    assert (tmp_path / "outside").read_text() == "kept"


@pytest.mark.parametrize(
    "members",
    [
        [entry("../outside", b"x")],
        [entry("/etc/outside", b"x")],
        [entry("link", type=tarfile.SYMTYPE, linkname=".."), entry("link/outside", b"x")],
        [entry("hard", type=tarfile.LNKTYPE, linkname="../secret")],
        [entry("..", type=tarfile.DIRTYPE)],
    ],
)
def test_a_name_that_leads_out_of_the_folder_is_refused(
    unpack: Callable[..., Path], tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]]
) -> None:
    (tmp_path / "secret").write_text("of the host")
    with pytest.raises(tarfile.TarError, match="leads out of the folder"):
        unpack(*members)
    assert not (tmp_path / "outside").exists()
    assert not (tmp_path / "out/hard").exists()
