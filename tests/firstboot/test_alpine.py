"""Tests that need Alpine's own programs or packages.

`nox -s tests_full` also runs the other tests of this folder with Alpine's programs.
"""

from pathlib import Path

import pytest

from build.firstboot.packages import DEPENDS, FILES, INIT_FILES
from tests.firstboot.alpine_apk import IMAGE, Apk
from tests.firstboot.conftest import KEY, OTHER_KEY, Droplet, alpine_packages, make_packages

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


@pytest.mark.root
def test_apk_of_alpine_installs_the_local_packages(apk: Apk, overlay: Path, tmp_path: Path) -> None:
    local = make_packages(overlay=overlay)
    root = tmp_path / "root"
    output = apk.install(root, local, *IMAGE, *local.versions)
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
