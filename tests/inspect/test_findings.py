"""Everything that no image may contain is found by file and rule; secrets are not printed."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from build.errors import ImageError
from build.inspect.inspection import check_findings, write_image_json
from tests.inspect.makers import (
    MEMBERS,
    MIB,
    Root,
    debugfs,
    initramfs,
    inspect_disk,
    make_disk,
    patch,
    run,
    write_qcow2,
    write_raw_disk,
)

BODY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n"
HASH = "$6$saltsalt$" + "a" * 86


def pem(kind: str) -> str:
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{BODY}-----END {kind}PRIVATE KEY-----\n"


SECRETS = [
    pytest.param("etc/ssh/ssh_host_ed25519_key.pub", "ssh-ed25519 AAAA", "host-key", id="host key"),
    pytest.param("root/.ssh/key", pem("OPENSSH "), "private-key", id="ssh key"),
    pytest.param("etc/apk/builder.rsa", pem("RSA "), "private-key", id="signing key"),
    pytest.param("usr/share/x.bin", "\0\xff" * 9000 + pem(""), "private-key", id="key in a binary"),
    pytest.param("srv/key.age", "AGE-SECRET-KEY-1" + "Q" * 58, "private-key", id="age key"),
    pytest.param(
        "root/.ssh/authorized_keys", "# me\nssh-ed25519 AAAA me\n", "authorized-key", id="login key"
    ),
    pytest.param(
        "home/u/.ssh/authorized_keys2", "ssh-rsa AAAA\n", "authorized-key", id="of a user"
    ),
    pytest.param("etc/profile.d/x.sh", "T=ghp_" + "a1" * 18, "token", id="GitHub token"),
    pytest.param("srv/doctl", "dop_v1_" + "0f" * 32 + "\n", "token", id="DigitalOcean token"),
    pytest.param("srv/spaces", "key=DO00" + "A1" * 8 + "\n", "token", id="Spaces key"),
    pytest.param("srv/aws", "AKIA" + "Z2" * 8 + "\n", "token", id="AWS key"),
    pytest.param(
        "srv/oidc", f"eyJ{'a' * 900}.eyJ{'b' * 40}.{'c' * 43}\n", "token", id="OIDC token"
    ),
    pytest.param("root/.netrc", "machine x login y password z\n", "credentials", id="netrc"),
    pytest.param(
        "etc/apk/repositories", "https://me:hunter2@mirror.example/v3\n", "credentials", id="URL"
    ),
    *(
        pytest.param(path, f"{text}\n", "credentials", id=text)
        for path, text in (
            ("etc/apk/repositories", "https://hunter2@mirror.example/v3"),
            ("etc/apk/repositories", "http://user%40corp:hunter2@mirror.example/v3"),
            ("root/.profile", "export P=https://me:p%40hunter2@[2001:db8::1]/"),
            ("home/u/.gitconfig", "url = HTTPS://hunter2:@git.example/x"),
            ("etc/fstab", "ftp://me%3Ame:hunter2@files.example/x /mnt x 0 0"),
        )
    ),
    pytest.param("etc/shadow", f"root:{HASH}:19675:0:::::\n", "password", id="hash"),
    pytest.param("etc/shadow", "root::19675:0:::::\n", "password", id="no password"),
    pytest.param("etc/shadow", f"root:!{HASH}:1:0:::::\n", "password", id="locked hash"),
    pytest.param("etc/shadow-", f"root:{HASH}:1:0:::::\n", "password", id="hash in a backup"),
    pytest.param("etc/machine-id", "0" * 32 + "\n", "machine-id", id="machine id"),
    pytest.param("var/lib/seedrng/seed.credit", "\1\2\3", "random-seed", id="seed"),
    pytest.param("root/.ash_history", "reboot\n", "history", id="shell history"),
    pytest.param("root/.node_history", "x\n", "history", id="another history"),
    pytest.param("usr/share/a.pyc", "\0/srv/ci/checkout/x.py\0", "build-path", id="build path"),
    pytest.param("etc/resolv.conf", "nameserver 10.0.0.2\n", "name-servers", id="name servers"),
]


@pytest.mark.parametrize(("path", "content", "rule"), SECRETS)
def test_a_secret_is_found_and_not_printed(
    path: str, content: str, rule: str, tmp_path: Path
) -> None:
    disk = make_disk(tmp_path / "d", lambda root: root.write(path, content, 0o640))
    found = inspect_disk(disk, build_paths=("/srv/ci/checkout",)).findings
    assert (f"/{path}", rule) in {(each.where, each.rule) for each in found}
    lines = " ".join(each.line for each in found)
    assert not any(word in lines for word in (HASH, BODY[:20], "hunter2", "dop_v1_", "ghp_"))


def test_a_secret_in_the_initramfs_is_found(tmp_path: Path) -> None:
    members = (*MEMBERS, ("etc/ssh/ssh_host_rsa_key", pem("RSA ").encode()))
    disk = make_disk(
        tmp_path / "d", lambda root: root.write("boot/initramfs-virt", initramfs(*members), 0o600)
    )
    where = "/boot/initramfs-virt: etc/ssh/ssh_host_rsa_key"
    found = {(each.where, each.rule) for each in inspect_disk(disk).findings}
    assert found == {(where, "host-key"), (where, "private-key")}


NO_CREDENTIALS = (
    "ssh://git@git.example/x",
    "https://$TOKEN@git.example/x",
    "https://%s:%s@git.example/x",
    "https://{user}@git.example/x",
    "https://git.example/@scope/x",
    "https://git.example/x?mail=a@b",
    "https://<token>@git.example",
)
"""Accounts, templates and paths: no finding."""


def harmless(root: Root) -> None:
    """Write files that are similar to secrets."""
    root.write("etc/machine-id", "uninitialized\n")
    root.write("root/.ssh/authorized_keys", "# put yours here\n")
    root.write("etc/resolv.conf", "# written by DHCP\n")
    root.write("usr/share/doc.txt", "https://user:$PASSWORD@host ghp_short AKIAxyz\n")
    root.write("etc/profile.d/urls.sh", "\n".join(NO_CREDENTIALS))
    extra = (
        "etc/profile.d/urls.sh",
        "etc/machine-id",
        "root/.ssh/authorized_keys",
        "etc/resolv.conf",
        "usr/share/doc.txt",
    )
    root.packages["docs"] = {path: (root.folder / path).read_text() for path in extra}
    root.write_database()


@pytest.mark.parametrize("change", [lambda root: None, harmless], ids=["clean", "harmless"])
def test_a_clean_image_has_no_finding(change: Callable[[Root], None], tmp_path: Path) -> None:
    raw = make_disk(tmp_path / "d", change)
    for disk in (raw, write_qcow2(raw, tmp_path / "disk.qcow2")):
        found = inspect_disk(disk, programs=tmp_path, build_paths=("/srv/ci/checkout",))
        assert [each.line for each in found.findings] == []
        check_findings(found)


def without_release(root: Root) -> None:
    """Leave the kernel's release only in the name of its modules' folder."""
    del root.packages["alpine-base"]["usr/share/kernel/virt/kernel.release"]
    shutil.rmtree(root.folder / "usr/share/kernel")
    root.write_database()


@pytest.mark.parametrize("merged", [False, True])
def test_the_initramfs_is_that_of_the_folder_of_modules(merged: bool, tmp_path: Path) -> None:
    def change(root: Root) -> None:
        without_release(root)
        if merged:
            merge(root)

    found = inspect_disk(make_disk(tmp_path / "d", change))
    assert (found.startup.releases, found.findings) == (("6.1.0-virt",), ())


def merge(root: Root) -> None:
    """Move /bin and /lib below /usr, as Alpine does since 3.23, without changing the database."""
    for name in ("bin", "lib"):
        for path in sorted((root.folder / name).iterdir()):
            target = root.folder / "usr" / name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
        (root.folder / name).rmdir()
        root.link(name, f"usr/{name}")


def test_a_package_owns_files_behind_a_link(tmp_path: Path) -> None:
    assert inspect_disk(make_disk(tmp_path / "d", merge)).findings == ()


def remove(path: str) -> Callable[[Root], None]:
    return lambda root: (root.folder / path).unlink()


@pytest.mark.parametrize(
    ("change", "where", "rule"),
    [
        pytest.param(
            lambda root: root.write("etc/motd", "Hacked\n"), "/etc/motd", "changed", id="changed"
        ),
        pytest.param(remove("etc/motd"), "/etc/motd", "missing", id="missing"),
        pytest.param(
            lambda root: root.write("usr/bin/extra", "x"), "/usr/bin/extra", "unowned", id="unowned"
        ),
        pytest.param(
            lambda root: (root.folder / "boot/vmlinuz-virt").chmod(0o4755),
            "/boot/vmlinuz-virt",
            "rights",
            id="set-user-id",
        ),
        pytest.param(
            lambda root: os.chown(root.folder / "etc/motd", 7, 0), "/etc/motd", "rights", id="owner"
        ),
        pytest.param(
            lambda root: (root.folder / "etc/init.d").chmod(0o777),
            "/etc/init.d",
            "writable",
            id="writable",
        ),
        pytest.param(
            lambda root: root.write("etc/mkinitfs/mkinitfs.conf", "# never\ndisable_trigger=yes\n"),
            "/etc/mkinitfs/mkinitfs.conf",
            "trigger-off",
            id="trigger",
        ),
        pytest.param(
            remove("boot/initramfs-virt"), "/boot/grub/grub.cfg", "start", id="no initramfs"
        ),
        pytest.param(
            lambda root: root.write("boot/initramfs-virt", initramfs(*MEMBERS[:4]), 0o600),
            "/boot/initramfs-virt",
            "initramfs",
            id="no disk driver",
        ),
        pytest.param(
            lambda root: root.write("boot/initramfs-virt", initramfs(*MEMBERS[1:]), 0o600),
            "/boot/initramfs-virt",
            "initramfs",
            id="no init",
        ),
        pytest.param(
            lambda root: root.write("boot/grub/grub.cfg", "linux /boot/vmlinuz-virt root=UUID=0\n"),
            "/boot/grub/grub.cfg",
            "start",
            id="another root",
        ),
        pytest.param(remove("lib/apk/db/installed"), "/", "database", id="no database"),
    ],
)
def test_a_tree_that_differs_from_its_packages_is_found(
    change: Callable[[Root], object], where: str, rule: str, tmp_path: Path
) -> None:
    found = inspect_disk(make_disk(tmp_path / "d", change)).findings
    assert (where, rule) in {(each.where, each.rule) for each in found}
    assert len(found) <= 2, found


@pytest.mark.parametrize(
    ("change", "rule", "text"),
    [
        pytest.param(
            lambda raw: patch(raw, 446, b"\0"), "partition-table", "not active", id="flag"
        ),
        pytest.param(
            lambda raw: patch(raw, 446 + 20, b"\x83\0\0\0\0\x08\0\0\1\0\0\0"),
            "partition-table",
            "2 partitions",
            id="a second partition",
        ),
        pytest.param(lambda raw: patch(raw, 99, b"X"), "boot-code", "at byte 99", id="boot sector"),
        pytest.param(lambda raw: patch(raw, 512 + 7, b"X"), "boot-code", "at byte 7", id="core"),
        pytest.param(
            lambda raw: debugfs(raw, "sif /etc/motd links_count 5"),
            "e2fsck",
            "status 4",
            id="links",
        ),
        pytest.param(
            lambda raw: debugfs(raw, "feature orphan_present"),
            "features",
            "orphan_present",
            id="feature",
        ),
    ],
)
def test_an_error_of_the_disk_is_found(
    change: Callable[[Path], None], rule: str, text: str, tmp_path: Path
) -> None:
    disk = make_disk(tmp_path / "d", lambda root: None)
    change(disk)
    found = inspect_disk(disk, programs=tmp_path).findings
    assert any(each.rule == rule and text in each.text for each in found), found


def test_a_full_disk_is_found(tmp_path: Path) -> None:
    root = Root(tmp_path / "root")
    root.folder.mkdir()
    root.fill()
    disk = write_raw_disk(root, tmp_path / "disk.raw", size=14 * MIB)
    assert {each.rule for each in inspect_disk(disk).findings} == {"space"}


def test_an_image_with_a_backing_file_is_refused(tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "d", lambda root: None)
    image = tmp_path / "thin.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", disk, image)
    with pytest.raises(ImageError, match=r"thin.qcow2: has a backing file, expected"):
        inspect_disk(image)


def test_a_wrong_reference_count_of_a_qcow2_is_found(tmp_path: Path) -> None:
    image = write_qcow2(make_disk(tmp_path / "d", lambda root: None), tmp_path / "disk.qcow2")
    table = int.from_bytes(image.read_bytes()[48:56], "big")
    block = int.from_bytes(image.read_bytes()[table : table + 8], "big")
    patch(image, block + 2 * 4, b"\0\7")
    assert {each.rule for each in inspect_disk(image, programs=tmp_path).findings} == {"qemu-img"}


def test_the_error_of_a_build_lists_the_findings(tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "d", lambda root: root.write("etc/motd", "Hacked\n"))
    with pytest.raises(ImageError, match=r"disk.raw: 1 finding\n  /etc/motd: sha1 .*changed"):
        check_findings(inspect_disk(disk))


def test_image_json_depends_on_the_image_only(tmp_path: Path) -> None:
    raw = make_disk(tmp_path / "d", lambda root: (root.folder / "etc/motd").chmod(0o2644))
    image = write_qcow2(raw, tmp_path / "disk.qcow2")
    write_image_json(inspect_disk(image, programs=tmp_path), tmp_path / "a.json")
    other = tmp_path / "elsewhere"
    other.mkdir()
    write_image_json(inspect_disk(image.rename(other / image.name)), tmp_path / "b.json")
    content = (tmp_path / "a.json").read_bytes()
    assert content == (tmp_path / "b.json").read_bytes()
    assert str(tmp_path) not in content.decode()
    document = json.loads(content)
    assert document["setuid"] == ["/etc/motd"]
    assert document["services"] == {"default": ["sshd"]}
    assert document["kernel"]["releases"] == ["6.1.0-virt"]
    assert "console=ttyS0" in document["kernel"]["command_line"]
    assert [each["name"] for each in document["packages"]] == ["alpine-base", "shadow"]
    files = {each["path"]: each for each in document["files"]}
    assert files["/etc/motd"]["package"] == "alpine-base"
    assert "depmod" in files["/lib/modules/6.1.0-virt/modules.dep"]["reason"]
