"""Tests of the packages that the project adds to an image."""

import hashlib
import io
import os
import shutil
import socket
import tarfile
from pathlib import Path

import pytest

from build.apk.index import read_index
from build.apk.package import read_package, split_members
from build.apk.signature import Keyring
from build.apk.version import version_key
from build.errors import BuildError, ConfigError, SnowdropError
from build.firstboot.packages import (
    DEPENDS,
    FILES,
    INIT_DIGEST,
    INIT_FILES,
    INIT_FOLDERS,
    INIT_VERSION,
)
from tests import skips
from tests.firstboot.conftest import COMMIT, EPOCH, make_packages


def read_members(package: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(split_members(package)[2]), mode="r:gz") as tar:
        return {member.name: member for member in tar}


def test_file_modes_and_times_of_a_checkout_do_not_change_the_packages(
    overlay: Path, tmp_path: Path
) -> None:
    first = make_packages(overlay=overlay)
    copy = tmp_path / "copy"
    shutil.copytree(overlay, copy, symlinks=True)
    for path in copy.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.name == "hello" else 0o600)
            os.utime(path, (1, 1))
    assert make_packages(overlay=copy) == first
    assert make_packages(overlay=overlay, version="v3.24.20261123.1") != first


def test_local_packages_verify_like_those_of_alpine(tmp_path: Path) -> None:
    local = make_packages()
    (tmp_path / local.key_name).write_bytes(local.public_pem)
    keys = Keyring.from_folder(tmp_path)
    records = {
        record.file_name: record for record in read_index(local.index, keys, where="i").records
    }
    assert [name for name, _ in local.packages] == sorted(records)
    for name, content in local.packages:
        package = read_package(content, keys, where=name)
        assert (package.checksum, package.size) == (records[name].checksum, records[name].size)
        assert package.info.commit == COMMIT
        assert {member.mtime for member in read_members(content).values()} == {EPOCH}


def test_local_packages_are_stored_without_compression() -> None:
    for _, content in make_packages().packages:
        # RFC 1951, 3.2.4: the first block of each member is a stored one.
        assert {member[10] & 0b110 for member in split_members(content)} == {0}


def test_package_contains_every_file_of_the_service() -> None:
    there = {str(path.relative_to(FILES)) for path in FILES.rglob("*") if path.is_file()}
    assert there == set(INIT_FILES)


def test_change_of_the_service_needs_a_new_version() -> None:
    """Apk upgrades only to a higher version: other changes would never reach a droplet."""
    digest = hashlib.sha256(repr((INIT_FILES, INIT_FOLDERS, DEPENDS)).encode())
    for path in INIT_FILES:
        digest.update((FILES / path).read_bytes())
    assert digest.hexdigest() == INIT_DIGEST, (
        f"snowdrop-init differs from version {INIT_VERSION}: raise INIT_VERSION in "
        f'build/firstboot/packages.py, unless no release had it yet, and write INIT_DIGEST = "'
        f'{digest.hexdigest()}"'
    )


def test_release_file_describes_the_release() -> None:
    packages = dict(make_packages(version="v3.24.20261123-dirty").packages)
    content = packages["snowdrop-release-3.24.20261123_pre-r0.apk"]
    with tarfile.open(fileobj=io.BytesIO(split_members(content)[2]), mode="r:gz") as tar:
        file = tar.extractfile("etc/snowdrop-release")
        assert file is not None
        lines = file.read().decode().splitlines()
    assert lines == [
        "NAME=snowdrop",
        "VARIANT=droplet",
        "VERSION=v3.24.20261123-dirty",
        "BRANCH=v3.24",
        "ARCH=x86_64",
        f"COMMIT={COMMIT}",
        f"LOCK={'ab' * 32}",
        f"EPOCH={EPOCH}",
    ]


def test_apk_sorts_the_versions_of_releases() -> None:
    releases = [
        "v3.24.20261123-dirty",
        "v3.24.20261123",
        "v3.24.20261123.1",
        "v3.24.20261201",
        "v3.25.20261123",
    ]
    names = [make_packages(version=release).packages[1][0] for release in releases]
    versions = [name.removeprefix("snowdrop-release-").removesuffix(".apk") for name in names]
    assert [*map(version_key, versions)] == sorted(map(version_key, versions))


def test_overlay_keeps_only_the_modes_that_git_keeps(overlay: Path) -> None:
    packages = dict(make_packages(overlay=overlay).packages)
    found = {
        name: (member.type, member.mode, member.linkname, member.uname)
        for name, member in read_members(packages["snowdrop-overlay-3.24.20261123-r0.apk"]).items()
    }
    assert found["etc/motd"] == (tarfile.REGTYPE, 0o644, "", "root")
    assert found["usr/bin/hello"] == (tarfile.REGTYPE, 0o755, "", "root")
    assert found["srv/empty"] == (tarfile.DIRTYPE, 0o755, "", "root")
    assert found["etc/hello"] == (tarfile.SYMTYPE, 0o777, "/etc/motd", "root")


def test_linked_folder_of_an_overlay_stays_a_link(overlay: Path) -> None:
    (overlay / "outside").symlink_to("/usr")
    packages = dict(make_packages(overlay=overlay).packages)
    names = read_members(packages["snowdrop-overlay-3.24.20261123-r0.apk"])
    assert [name for name in names if name.startswith("outside")] == ["outside"]


@pytest.mark.parametrize("what", ["pipe", "socket", "device", "hidden", "name"])
def test_overlay_with_an_unsupported_file_is_refused(
    overlay: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(overlay)
    if what == "pipe":
        os.mkfifo("etc/odd")
    elif what == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind("etc/odd")
    elif what == "device":
        if os.geteuid() != 0:
            pytest.skip(skips.ROOT)
        os.mknod("etc/odd", 0o20600, os.makedev(1, 3))
    else:
        Path(".odd" if what == "hidden" else "etc/odd\n").touch()
    with pytest.raises(BuildError, match=r"odd.*, expected") as caught:
        make_packages(overlay=overlay)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("version", ["", "tomorrow", "v3.24.2026-rc1", "v3.24.1\nLOCK=x"])
def test_version_that_apk_cannot_compare_is_refused(version: str) -> None:
    with pytest.raises(SnowdropError, match="expected a version such as"):
        make_packages(version=version)


def test_missing_overlay_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing: no such folder"):
        make_packages(overlay=tmp_path / "missing")
