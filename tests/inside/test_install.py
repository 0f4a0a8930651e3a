"""The installed packages are those of the lock, or the build fails and names the difference."""

import base64
import hashlib
from pathlib import Path

import pytest

from build.inside import install
from build.inside.programs import StepError

EXPECTED = {"musl": "1.2.5-r9", "busybox": "1.37.0-r8"}


def database(tree: Path, text: str, folder: str = "lib/apk/db") -> None:
    (tree / folder).mkdir(parents=True)
    (tree / folder / "installed").write_text(text)


def record(name: str, version: str, *more: str) -> str:
    return "\n".join(["C:Q1x=", f"P:{name}", f"V:{version}", *more, "F:etc", "R:file"]) + "\n\n"


@pytest.mark.parametrize("folder", ["lib/apk/db", "usr/lib/apk/db"])
def test_the_database_of_either_apk_is_read(tmp_path: Path, folder: str) -> None:
    database(tmp_path, record("musl", "1.2.5-r9") + record("busybox", "1.37.0-r8"), folder)
    install.check_installed(install.read_installed(tmp_path), EXPECTED)


@pytest.mark.parametrize("names", [["musl", "busybox"], ["busybox", "musl"]])
def test_the_set_of_the_lock_is_checked_and_not_its_order(tmp_path: Path, names: list[str]) -> None:
    database(tmp_path, "".join(record(name, EXPECTED[name]) for name in names))
    install.check_installed(install.read_installed(tmp_path), EXPECTED)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            record("musl", "1.2.5-r9"), "missing package busybox 1.37.0-r8$", id="missing"
        ),
        pytest.param(
            record("musl", "1.2.5-r9") + record("busybox", "1.37.0-r8") + record("curl", "8-r0"),
            "unexpected package curl 8-r0$",
            id="too many",
        ),
        pytest.param(
            record("musl", "1.2.5-r8") + record("busybox", "1.37.0-r8"),
            "musl is 1.2.5-r8 instead of 1.2.5-r9$",
            id="other version",
        ),
        pytest.param(
            record("musl", "1.2.5-r9") + record("busybox", "1.37.0-r8", "f:s"),
            "^busybox: installed with failures",
            id="script failed",
        ),
    ],
)
def test_a_difference_names_the_package(tmp_path: Path, text: str, message: str) -> None:
    database(tmp_path, text)
    with pytest.raises(StepError, match=message):
        install.check_installed(install.read_installed(tmp_path), EXPECTED)


def test_the_checksum_of_a_link_that_has_that_of_nothing_is_corrected(tmp_path: Path) -> None:
    """As nfpm and GoReleaser write it; `apk audit` compares with the link's target."""
    empty = "Q12jmj7l5rSw0yVb/vlWAYkK/YBwk="
    lines = ["F:opt", "R:link", f"Z:{empty}", "R:file", f"Z:{empty}", "R:other", "Z:Q1x="]
    database(tmp_path, "C:Q1x=\nP:a\n" + "\n".join(lines) + "\n\n")
    (tmp_path / "opt").mkdir()
    (tmp_path / "opt/link").symlink_to("f")
    (tmp_path / "opt/file").touch()
    (tmp_path / "opt/other").symlink_to("f")
    install.correct_links(tmp_path)
    found = (tmp_path / "lib/apk/db/installed").read_text().splitlines()
    digest = hashlib.sha1(b"f", usedforsecurity=False).digest()
    lines[2] = f"Z:Q1{base64.b64encode(digest).decode()}"
    assert found == ["C:Q1x=", "P:a", *lines, ""]


@pytest.mark.root
def test_triggers_are_disabled_during_the_build_only(tmp_path: Path) -> None:
    install.prepare(tmp_path)
    setting = tmp_path / "etc/mkinitfs/mkinitfs.conf"
    assert setting.read_text() == "disable_trigger=yes\n"
    Path(f"{setting}.apk-new").write_text('features="virtio ext4"\n')
    install.restore_settings(tmp_path)
    assert setting.read_text() == 'features="virtio ext4"\n'
    assert [path.name for path in (tmp_path / "etc").rglob("*") if path.is_file()] == [setting.name]


def test_a_configuration_file_of_two_packages_is_refused(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/motd.apk-new").touch()
    with pytest.raises(StepError, match=r"^/etc/motd\.apk-new: two packages have this file"):
        install.restore_settings(tmp_path)


def test_world_holds_plain_names(tmp_path: Path) -> None:
    (tmp_path / "etc/apk").mkdir(parents=True)
    (tmp_path / "etc/apk/world").write_text("busybox\nmusl\n")
    install.check_world(tmp_path, ["musl", "busybox"])
    (tmp_path / "etc/apk/world").write_text("busybox><Q1hash=\nmusl\n")
    with pytest.raises(StepError, match=r"^/etc/apk/world: busybox, busybox><Q1hash="):
        install.check_world(tmp_path, ["musl", "busybox"])


def test_an_image_with_the_key_of_the_local_packages_is_refused(tmp_path: Path) -> None:
    keys = tmp_path / "etc/apk/keys"
    keys.mkdir(parents=True)
    (keys / "alpine.rsa.pub").touch()
    install.check_keys(tmp_path, "local.rsa.pub")
    (keys / "local.rsa.pub").touch()
    with pytest.raises(StepError, match=r"^/etc/apk/keys/local\.rsa\.pub: "):
        install.check_keys(tmp_path, "local.rsa.pub")


def test_the_static_apk_is_preferred(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="no apk in the apk root"):
        install.apk_program(tmp_path)
    (tmp_path / "sbin").mkdir()
    (tmp_path / "sbin/apk").touch()
    assert install.apk_program(tmp_path) == "/sbin/apk"
    (tmp_path / "sbin/apk.static").touch()
    assert install.apk_program(tmp_path) == "/sbin/apk.static"
