"""Tests with Alpine's apk: a droplet is reached whatever happens to the local packages."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from build.firstboot import packages
from build.firstboot.packages import INIT_FILES, INIT_SERVICES, REACHED_BY
from build.inside.services import enable
from tests.firstboot.alpine_apk import Apk
from tests.firstboot.conftest import make_packages

pytestmark = [pytest.mark.root, pytest.mark.alpine]

KEYS = "AuthorizedKeysFile .ssh/authorized_keys /etc/snowdrop/authorized_keys/%u"
INTERFACES = "etc/network/interfaces"
OWN_INTERFACES = "auto eth0\niface eth0 inet static\n\taddress 192.0.2.7/24\n"
Remove = Callable[..., str]


@pytest.fixture(scope="module")
def installed(apk: Apk, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the root folder of an image with every local package."""
    folder = tmp_path_factory.mktemp("installed")
    overlay = folder / "overlay"
    for path, text in {
        "etc/motd": "Hello.\n",
        "etc/network/interfaces.d/more": "# nothing\n",
        "root/.ssh/authorized_keys": "ssh-ed25519 AAAA maintainer\n",
        "usr/bin/hello": "#!/bin/sh\necho hello\n",
    }.items():
        (overlay / path).parent.mkdir(parents=True, exist_ok=True)
        (overlay / path).write_text(text)
    local = make_packages(overlay=overlay)
    apk.install(folder / "root", local, "alpine-base", "openssh-server", *local.versions)
    enable(folder / "root", {"default": INIT_SERVICES})
    (folder / "root/etc/snowdrop/authorized_keys/root").write_text("ssh-ed25519 AAAA mine\n")
    return folder / "root"


@pytest.fixture
def root(installed: Path, tmp_path: Path) -> Path:
    """Return a copy of the installed root folder."""
    for suffix in ("", "-keys", "-local"):
        source = installed.with_name(installed.name + suffix)
        subprocess.run(["cp", "-a", str(source), str(tmp_path / f"root{suffix}")], check=True)
    return tmp_path / "root"


def check_reached(root: Path) -> None:
    """Assert that the droplet has an address and accepts its keys at its next start."""
    assert "iface eth0 inet dhcp" in (root / INTERFACES).read_text()
    drop_in = (root / "etc/ssh/sshd_config.d/99-snowdrop.conf").read_text().splitlines()
    assert {KEYS, "PasswordAuthentication no"} <= set(drop_in)
    assert (root / "etc/snowdrop/authorized_keys/root").read_text() == "ssh-ed25519 AAAA mine\n"
    assert (root / "root/.ssh/authorized_keys").read_text().endswith("maintainer\n")
    dangling = [
        link.name
        for link in root.glob("etc/runlevels/*/*")
        if not (root / str(link.readlink()).lstrip("/")).exists()
    ]
    assert dangling == []
    assert not list(root.rglob("*.kept"))


@pytest.mark.parametrize("options", [(), ("--purge",)], ids=["plain", "purge"])
@pytest.mark.parametrize("name", ["snowdrop-init", "snowdrop-overlay", "snowdrop-release"])
def test_droplet_is_reached_without_a_package(
    apk: Apk, root: Path, name: str, options: tuple[str, ...]
) -> None:
    apk.run(root, "del", *options, name)
    check_reached(root)
    gone = {"snowdrop-init": "usr/libexec/snowdrop-init", "snowdrop-overlay": "usr/bin/hello"}
    assert not (root / gone.get(name, "etc/snowdrop-release")).exists()


def test_removal_keeps_what_the_owner_wrote(apk: Apk, root: Path) -> None:
    (root / INTERFACES).write_text(OWN_INTERFACES)
    apk.run(root, "del", "snowdrop-init")
    assert (root / INTERFACES).read_text() == OWN_INTERFACES


@pytest.mark.parametrize("version", ["9.0.0-r0", "0.0.1-r0"], ids=["upgrade", "downgrade"])
def test_another_version_keeps_the_way_in_and_what_the_owner_changed(
    apk: Apk, root: Path, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "INIT_VERSION", version)
    shutil.rmtree(root.with_name("root-local"))
    apk.offer(root, make_packages())
    (root / "etc/runlevels/default/snowdrop-userdata").unlink()
    (root / "etc/conf.d/snowdrop-init").write_text("patience=5\n")
    output = apk.run(root, "add", f"snowdrop-init={version}")
    assert version in output
    check_reached(root)
    assert not (root / "etc/runlevels/default/snowdrop-userdata").is_symlink()
    assert (root / "etc/runlevels/default/snowdrop-init").is_symlink()
    assert (root / "etc/conf.d/snowdrop-init").read_text() == "patience=5\n"


def test_apk_fix_restores_what_is_gone_and_keeps_what_is_changed(apk: Apk, root: Path) -> None:
    (root / INTERFACES).unlink()
    (root / "etc/conf.d/snowdrop-init").write_text("patience=5\n")
    apk.run(root, "fix", "snowdrop-init")
    check_reached(root)
    assert (root / "etc/conf.d/snowdrop-init").read_text() == "patience=5\n"


def test_files_that_stay_are_files_of_the_package() -> None:
    assert set(REACHED_BY) <= set(INIT_FILES)
