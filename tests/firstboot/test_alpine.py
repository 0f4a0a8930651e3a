"""Tests that need Alpine's own programs or packages.

`nox -s tests_full` also runs the other tests of this folder with Alpine's programs.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from build.apk.package import unpack_data
from build.firstboot.packages import DEPENDS, FILES, INIT_FILES, LocalPackages
from tests.firstboot.conftest import (
    KEY,
    OTHER_KEY,
    Droplet,
    alpine_packages,
    make_packages,
    require_root,
)

APK_RUNTIME = ("musl", "apk-tools", "libcrypto3", "libssl3", "zlib")
IMAGE = ("alpine-base", "openssh-server", "chrony", "e2fsprogs-extra")

pytestmark = pytest.mark.alpine
on_alpine = pytest.mark.parametrize(
    "template", [pytest.param("alpine", marks=pytest.mark.root)], indirect=True
)


@on_alpine
def test_new_droplet_boots_with_programs_of_alpine(droplet: Droplet) -> None:
    result = droplet.boot()
    assert (result.status, result.output) == (0, "")
    assert droplet.read(droplet.keys) == f"{KEY}\n{OTHER_KEY}\n"
    assert result.hostname == "web-1.example.org"
    assert droplet.read("etc/resolv.conf").count("nameserver") == 2


@on_alpine
def test_sshd_of_alpine_serves_sftp_without_another_program(droplet: Droplet) -> None:
    droplet.boot("/usr/bin/ssh-keygen", "-A")
    output = droplet.boot("/usr/sbin/sshd", "-T").output
    assert "subsystem sftp internal-sftp" in [line.strip() for line in output.splitlines()]


@pytest.fixture(scope="session")
def apk(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the first words of a command line of Alpine's own apk 2.14."""
    require_root()  # apk runs scripts in the new root
    root = tmp_path_factory.mktemp("apk")
    for name in APK_RUNTIME:
        [path] = alpine_packages().glob(f"{name}-[0-9]*.apk")
        unpack_data(path.read_bytes(), root)
    return [
        str(root / "lib/ld-musl-x86_64.so.1"),
        "--library-path",
        str(root / "lib"),
        str(root / "sbin/apk"),
    ]


def install(apk: list[str], local: LocalPackages, work: Path) -> tuple[Path, str]:
    """Install the local packages beside Alpine's; return the new root and apk's output."""
    keys, repository, root = work / "keys", work / "local" / "x86_64", work / "root"
    main = alpine_packages().parent
    shutil.copytree(main.parents[2] / "keys", keys)
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
        *("--repository", str(repository.parent), "--repository", str(main)),
        *("--initdb", "add", *IMAGE, *local.versions),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return root, done.stdout + done.stderr


@pytest.mark.root
def test_apk_of_alpine_installs_the_local_packages(
    apk: list[str], overlay: Path, tmp_path: Path
) -> None:
    local = make_packages(overlay=overlay)
    root, output = install(apk, local, tmp_path)
    assert "overwrit" not in output
    assert "ERROR" not in output
    for path, mode in INIT_FILES.items():
        assert (root / path).read_bytes() == (FILES / path).read_bytes()
        assert (root / path).stat().st_mode & 0o7777 == mode
    assert (root / "var/lib/snowdrop").stat().st_mode & 0o777 == 0o700
    assert (root / "etc/snowdrop/authorized_keys").stat().st_mode & 0o777 == 0o755
    assert (root / "etc/motd").read_text() == "Hello.\n"
    sshd_config = (overlay / "etc/ssh/sshd_config").read_text()
    assert (root / "etc/ssh/sshd_config").read_text() == sshd_config
    world = (root / "etc/apk/world").read_text().split()
    assert world == sorted([*IMAGE, *local.versions])
    assert not list(root.rglob("*.apk-new"))
    assert not (root / "etc/apk/keys" / local.key_name).exists()


def test_alpine_has_every_dependency_of_the_local_packages() -> None:
    for name in DEPENDS:
        assert list(alpine_packages().glob(f"{name}-[0-9]*.apk")), name
