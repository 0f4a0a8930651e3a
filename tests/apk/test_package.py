"""Packages are accepted if complete and signed; errors name the member that is wrong."""

import os
import stat
import tarfile
from pathlib import Path

import pytest

from build.apk.package import read_package, split_members
from build.apk.streams import gzip_member
from build.apk.unpack import unpack_data
from build.apk.writing import Entry, Recipe, write_package
from build.errors import BuildError, SnapshotError, VerificationError
from tests.apk.makers import (
    EPOCH,
    key,
    needs_alpine,
    package,
    package_of,
    real_keys,
    real_packages,
    recipe,
    trusted,
)

MEMBERS = ("signature", "control", "data")


def flipped(raw: bytes, offset: int) -> bytes:
    return raw[:offset] + bytes([raw[offset] ^ 1]) + raw[offset + 1 :]


@needs_alpine
def test_every_real_package_verifies() -> None:
    found = [
        read_package(path.read_bytes(), real_keys(), where=path.name) for path in real_packages()
    ]
    assert len(found) == 100
    assert all(
        f"{file.info.name}-{file.info.version}.apk" == path.name
        for file, path in zip(found, real_packages(), strict=True)
    )


@needs_alpine
@pytest.mark.parametrize("member", [0, 1, 2], ids=MEMBERS)
def test_one_flipped_byte_of_a_real_package_is_refused_naming_the_member(member: int) -> None:
    path = real_packages()[0]
    raw = path.read_bytes()
    ends = [len(part) for part in split_members(raw)]
    middle = sum(ends[:member]) + ends[member] // 2
    with pytest.raises(VerificationError, match=f"^{path.name}: {MEMBERS[member]} member: "):
        read_package(flipped(raw, middle), real_keys(), where=path.name)


def test_a_member_of_another_valid_package_is_refused() -> None:
    mine, other = split_members(package()), split_members(package("other"))
    for swapped, message in [
        ((other[0], mine[1], mine[2]), "control member: not what tests.rsa.pub signed"),
        ((mine[0], other[1], mine[2]), "control member: not what tests.rsa.pub signed"),
        ((mine[0], mine[1], other[2]), "data member: sha256 [0-9a-f]{64}, its .PKGINFO says"),
    ]:
        with pytest.raises(VerificationError, match=message):
            read_package(b"".join(swapped), trusted(), where="hello")
    assert read_package(b"".join(mine), trusted(), where="hello").info.name == "hello"


def test_a_package_that_is_unsigned_or_signed_by_an_untrusted_key_is_refused() -> None:
    _, control, data = split_members(package())
    with pytest.raises(VerificationError, match=r"^hello: unsigned"):
        read_package(control + data, trusted(), where="hello")
    foreign = write_package(recipe(), key("stranger.rsa.pub"))
    message = "signed by stranger.rsa.pub, which is not in the tests' keys"
    with pytest.raises(VerificationError, match=message):
        read_package(foreign, trusted(), where="hello")


def test_a_truncated_package_and_one_of_format_3_are_reported_as_such() -> None:
    for length in (0, 5, 300, 1000):
        with pytest.raises(VerificationError, match=r"^hello: "):
            read_package(package()[:length], trusted(), where="hello")
    with pytest.raises(SnapshotError, match=r"format 3 \(ADBd\), expected format 2"):
        read_package(b"ADBd" + bytes(100), trusted(), where="hello")


def test_a_gzip_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = gzip_member(bytes(100_000_000), level=9)
    with pytest.raises(VerificationError, match="signature member: more than the 65536"):
        read_package(bomb, trusted(), where="bomb")


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, link
    return entry


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([member("../outside")], "'../outside', expected a path below the root"),
        ([member("etc/../../outside")], "expected a path below the root"),
        ([member("/etc/passwd")], "'/etc/passwd', expected a path below the root"),
        ([member("etc/motd"), member("./etc/motd")], "repeated"),
        ([member("dev/sda", tarfile.BLKTYPE)], "a device, pipe or unknown kind"),
        ([member("run/pipe", tarfile.FIFOTYPE)], "a device, pipe or unknown kind"),
        ([member("etc/a\x1b[2J")], "a control character in the name"),
        ([member("etc/a", tarfile.SYMTYPE, "b\nc")], "a control character in the name"),
        ([member("etc/a", tarfile.LNKTYPE, "../../outside")], "expected a path below the root"),
        ([member("etc/a", tarfile.LNKTYPE, "etc/shadow")], "a hard link to 'etc/shadow'"),
    ],
)
def test_a_file_that_no_package_may_contain_is_refused_even_if_signed(
    entries: list[tarfile.TarInfo], message: str, tmp_path: Path
) -> None:
    odd = package_of(entries)
    with pytest.raises(VerificationError, match=message):
        read_package(odd, trusted(), where="odd")
    with pytest.raises(VerificationError, match=message):
        unpack_data(odd, tmp_path)
    plain = package_of([member("etc/motd"), member("etc/issue", tarfile.LNKTYPE, "etc/motd")])
    assert read_package(plain, trusted(), where="odd").info.name == "odd"


def test_an_unpacked_program_that_nobody_may_read_is_readable_for_the_caller(
    tmp_path: Path,
) -> None:
    """Alpine's bbsuid has mode 4111; docker gets the files as a tar that the caller packs."""
    entry = Entry("bin/bbsuid", 0o4111, "file", b"program")
    recipe = Recipe(name="suid", version="1-r0", description="", epoch=EPOCH, entries=(entry,))
    unpack_data(write_package(recipe, key()), tmp_path)
    assert stat.S_IMODE((tmp_path / "bin/bbsuid").stat().st_mode) == 0o4511


def test_unpacked_files_keep_modes_links_and_times(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        unpack_data(package(), tmp_path)
    finally:
        os.umask(before)
    program = tmp_path / "usr/bin/hello"
    assert stat.S_IMODE(program.stat().st_mode) == 0o4755
    assert int(program.stat().st_mtime) == EPOCH
    assert (tmp_path / "usr/bin/hello-again").readlink() == Path("hello")
    assert stat.S_IMODE((tmp_path / "usr").stat().st_mode) == 0o755
    assert (tmp_path / f"usr/share/{'d' * 90}/{'f' * 180}").read_bytes() == b"far down"


def made_of(*entries: Entry) -> bytes:
    odd = Recipe(name="odd", version="1-r0", description="", epoch=EPOCH, entries=entries)
    return write_package(odd, key())


def test_links_are_followed_only_inside_the_target_folder(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    unpack_data(made_of(Entry("out", 0o777, "symlink", target=str(outside))), root)
    unpack_data(made_of(Entry("up", 0o777, "symlink", target="../../outside")), root)
    unpack_data(made_of(Entry("out/one", 0o644, "file"), Entry("up/two", 0o644, "file")), root)
    assert list(outside.iterdir()) == []
    assert (root / "outside/two").is_file()


def test_a_merged_usr_stays_merged(tmp_path: Path) -> None:
    merged = [Entry("usr/bin", 0o755, "dir"), Entry("bin", 0o777, "symlink", target="usr/bin")]
    unpack_data(made_of(*merged), tmp_path)
    unpack_data(made_of(Entry("bin", 0o755, "dir"), Entry("bin/sh", 0o755, "file")), tmp_path)
    assert (tmp_path / "bin").is_symlink()
    assert (tmp_path / "usr/bin/sh").is_file()


def test_a_file_does_not_replace_a_folder(tmp_path: Path) -> None:
    unpack_data(made_of(Entry("etc/conf.d/a", 0o644, "file")), tmp_path)
    with pytest.raises(BuildError, match=r"^etc/conf\.d: a folder of another package"):
        unpack_data(made_of(Entry("etc/conf.d", 0o644, "file")), tmp_path)
    with pytest.raises(BuildError, match=r"^etc/conf\.d/a: a file of another package"):
        unpack_data(made_of(Entry("etc/conf.d/a/b", 0o644, "file")), tmp_path)
