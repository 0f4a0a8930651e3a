"""What snowdrop adds to an image is packages that apk takes as it takes Alpine's."""

import hashlib
import io
import os
import shutil
import socket
import subprocess
import tarfile
from pathlib import Path

import pytest

from build.apk.index import read_index
from build.apk.package import read_package, split_members, unpack_data
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
    LocalPackages,
    local_packages,
)
from tests.firstboot.conftest import ALPINE, APKS

APK3 = ALPINE.parent / "apk3"
RUNTIME = ("musl", "apk-tools", "libcrypto3", "libssl3", "zlib")
IMAGE = ("alpine-base", "openssh-server", "chrony", "e2fsprogs-extra")
EPOCH = 1_763_800_000
COMMIT = "5f" * 20


def made(*, version: str = "v3.24.20261123", overlay: Path | None = None) -> LocalPackages:
    return local_packages(
        variant="droplet",
        version=version,
        branch="v3.24",
        arch="x86_64",
        epoch=EPOCH,
        commit=COMMIT,
        lock_id="ab" * 32,
        overlay=overlay,
        replaces=("alpine-baselayout", "openssh-server-common"),
    )


def members(package: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(split_members(package)[2]), mode="r:gz") as tar:
        return {member.name: member for member in tar}


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    """Give an overlay with a file of each kind, with modes as a careless umask leaves them."""
    folder = tmp_path / "overlay"
    (folder / "etc/ssh").mkdir(parents=True)
    (folder / "etc/ssh/sshd_config").write_text("Include /etc/ssh/sshd_config.d/*.conf\n")
    (folder / "etc/motd").write_text("Hello.\n")
    (folder / "etc/motd").chmod(0o666)
    (folder / "etc/hello").symlink_to("/etc/motd")
    (folder / "srv/empty").mkdir(parents=True, mode=0o700)
    (folder / "usr/bin").mkdir(parents=True)
    (folder / "usr/bin/hello").write_text("#!/bin/sh\ncat /etc/hello\n")
    (folder / "usr/bin/hello").chmod(0o700)
    return folder


def test_the_same_release_gives_the_same_bytes_whatever_the_checkout_looks_like(
    overlay: Path, tmp_path: Path
) -> None:
    first = made(overlay=overlay)
    copy = tmp_path / "copy"
    shutil.copytree(overlay, copy, symlinks=True)
    for path in copy.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.name == "hello" else 0o600)
            os.utime(path, (1, 1))
    assert made(overlay=copy) == first
    assert made(overlay=overlay, version="v3.24.20261123.1") != first


def test_they_verify_like_alpines(tmp_path: Path) -> None:
    local = made()
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
        assert {member.mtime for member in members(content).values()} == {EPOCH}


def test_no_compressor_of_the_host_has_a_part_in_them() -> None:
    for _, content in made().packages:
        # RFC 1951, 3.2.4: the first block of each member is a stored one.
        assert {member[10] & 0b110 for member in split_members(content)} == {0}


def test_every_file_of_the_service_is_in_its_package() -> None:
    there = {str(path.relative_to(FILES)) for path in FILES.rglob("*") if path.is_file()}
    assert there == set(INIT_FILES)


def test_a_living_droplet_gets_every_change_of_the_service() -> None:
    """Only a higher version is upgraded to: bytes that changed without one would never come."""
    digest = hashlib.sha256(repr((INIT_FILES, INIT_FOLDERS, DEPENDS)).encode())
    for path in INIT_FILES:
        digest.update((FILES / path).read_bytes())
    assert digest.hexdigest() == INIT_DIGEST, (
        f"snowdrop-init is not what it was in {INIT_VERSION}: raise INIT_VERSION in "
        f'build/firstboot/packages.py, unless no release had it yet, and write INIT_DIGEST = "'
        f'{digest.hexdigest()}"'
    )


def test_the_release_says_which_it_is() -> None:
    packages = dict(made(version="v3.24.20261123-dirty").packages)
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


def test_a_living_droplet_sees_which_release_is_newer() -> None:
    releases = [
        "v3.24.20261123-dirty",
        "v3.24.20261123",
        "v3.24.20261123.1",
        "v3.24.20261201",
        "v3.25.20261123",
    ]
    names = [made(version=release).packages[1][0] for release in releases]
    versions = [name.removeprefix("snowdrop-release-").removesuffix(".apk") for name in names]
    assert [*map(version_key, versions)] == sorted(map(version_key, versions))


def test_an_overlay_keeps_of_a_mode_what_git_keeps(overlay: Path) -> None:
    packages = dict(made(overlay=overlay).packages)
    found = {
        name: (member.type, member.mode, member.linkname, member.uname)
        for name, member in members(packages["snowdrop-overlay-3.24.20261123-r0.apk"]).items()
    }
    assert found["etc/motd"] == (tarfile.REGTYPE, 0o644, "", "root")
    assert found["usr/bin/hello"] == (tarfile.REGTYPE, 0o755, "", "root")
    assert found["srv/empty"] == (tarfile.DIRTYPE, 0o755, "", "root")
    assert found["etc/hello"] == (tarfile.SYMTYPE, 0o777, "/etc/motd", "root")


def test_a_linked_folder_of_an_overlay_is_not_entered(overlay: Path) -> None:
    (overlay / "outside").symlink_to("/usr")
    packages = dict(made(overlay=overlay).packages)
    names = members(packages["snowdrop-overlay-3.24.20261123-r0.apk"])
    assert [name for name in names if name.startswith("outside")] == ["outside"]


@pytest.mark.parametrize("what", ["pipe", "socket", "device", "hidden", "name"])
def test_an_overlay_with_what_no_package_can_hold_is_refused(
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
            pytest.skip("needs root to make a device")
        os.mknod("etc/odd", 0o20600, os.makedev(1, 3))
    else:
        Path(".odd" if what == "hidden" else "etc/odd\n").touch()
    with pytest.raises(BuildError, match=r"odd.*, expected") as caught:
        made(overlay=overlay)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("version", ["", "tomorrow", "v3.24.2026-rc1", "v3.24.1\nLOCK=x"])
def test_a_version_that_apk_cannot_compare_is_refused(version: str) -> None:
    with pytest.raises(SnowdropError, match="expected a version such as"):
        made(version=version)


def test_an_overlay_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing: no such folder"):
        made(overlay=tmp_path / "missing")


@pytest.fixture(scope="session", params=["apk 2.14", "apk 3.0"])
def apk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Give the first words of a command line of the real apk."""
    if not APKS.is_dir() or not APK3.is_dir():
        pytest.skip("no real Alpine packages beside the project")
    if os.geteuid() != 0:
        pytest.skip("needs root: apk runs scripts in the new root")
    root = tmp_path_factory.mktemp("apk")
    if request.param == "apk 3.0":
        [path] = (APK3 / "x86_64").glob("apk-tools-static-*.apk")
        unpack_data(path.read_bytes(), root)
        return [str(root / "sbin/apk.static")]
    for name in RUNTIME:
        [path] = APKS.glob(f"{name}-[0-9]*.apk")
        unpack_data(path.read_bytes(), root)
    return [
        str(root / "lib/ld-musl-x86_64.so.1"),
        "--library-path",
        str(root / "lib"),
        str(root / "sbin/apk"),
    ]


def install(apk: list[str], local: LocalPackages, work: Path) -> tuple[Path, str]:
    """Install the local packages with Alpine's; return the new root and what apk wrote."""
    keys, repository, root = work / "keys", work / "local" / "x86_64", work / "root"
    shutil.copytree(ALPINE / "keys", keys)
    keys.chmod(0o755)
    (keys / local.key_name).write_bytes(local.public_pem)
    repository.mkdir(parents=True)
    (repository / "APKINDEX.tar.gz").write_bytes(local.index)
    for name, content in local.packages:
        (repository / name).write_bytes(content)
    argv = [
        *apk,
        *("--arch", "x86_64", "--root", str(root), "--keys-dir", str(keys)),
        *("--repositories-file", "/dev/null", "--no-network", "--no-cache", "--no-progress"),
        *("--repository", str(repository.parent), "--repository", str(APKS.parent)),
        *("--initdb", "add", *IMAGE, *local.versions),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return root, done.stdout + done.stderr


def test_the_real_apk_installs_them_beside_alpines(
    apk: list[str], overlay: Path, tmp_path: Path
) -> None:
    root, told = install(apk, made(overlay=overlay), tmp_path)
    assert "overwrit" not in told
    assert "ERROR" not in told
    for path, mode in INIT_FILES.items():
        assert (root / path).read_bytes() == (FILES / path).read_bytes()
        assert (root / path).stat().st_mode & 0o7777 == mode
    assert (root / "var/lib/snowdrop").stat().st_mode & 0o777 == 0o700
    assert (root / "etc/snowdrop/authorized_keys").stat().st_mode & 0o777 == 0o755
    assert (root / "etc/motd").read_text() == "Hello.\n"
    sshd_config = (overlay / "etc/ssh/sshd_config").read_text()
    assert (root / "etc/ssh/sshd_config").read_text() == sshd_config
    world = (root / "etc/apk/world").read_text().split()
    assert world == sorted([*IMAGE, *made(overlay=overlay).versions])
    assert not list(root.rglob("*.apk-new"))
    assert not (root / "etc/apk/keys" / made().key_name).exists()


def test_what_they_need_alpine_has() -> None:
    if not APKS.is_dir():
        pytest.skip("no real Alpine packages beside the project")
    for name in DEPENDS:
        assert list(APKS.glob(f"{name}-[0-9]*.apk")), name
