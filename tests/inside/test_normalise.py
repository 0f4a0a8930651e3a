"""Two runs differ by a clock, a random number or a host; after the rule they do not."""

import gzip
import io
import lzma
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from build.inside import normalise
from build.inside.archives import fix_initramfs
from build.inside.listing import PARTS, Difference, compare_listings, list_tree
from build.inside.programs import StepError
from tests import skips

EPOCH = 1_700_000_000
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
"""cap_net_raw+ep, as setcap(8) writes it."""
Make = Callable[[Path, int], None]

pytestmark = pytest.mark.root


def cpio_archive(mtime: int, *, inode: int, device: int) -> bytes:
    """Return a cpio archive with a hard link."""
    pieces = []
    for number, (name, mode, content) in enumerate(
        [
            (b"bin", 0o40755, b""),
            (b"bin/sh", 0o100755, b""),
            (b"bin/ash", 0o100755, b"busybox"),
            (b"init", 0o100755, b"#!/bin/sh\n"),
            (b"TRAILER!!!", 0, b""),
        ]
    ):
        links = 2 if name.startswith(b"bin/") else 1
        file = 0 if name == b"TRAILER!!!" else inode + (1 if links == 2 else number * 3)
        fields = (file, mode, 0, 0, links, mtime * (mode > 0), len(content))
        numbers = (*fields, device * (mode > 0), device * (mode > 0), 0, 0, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08X" % field for field in numbers) + name + b"\0"
        pieces += [head, bytes(-len(head) % 4), content, bytes(-len(content) % 4)]
    return b"".join(pieces) + bytes(100)


def write(tree: Path, name: str, text: str, mtime: int = EPOCH) -> None:
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (mtime, mtime))


def shadow(tree: Path, run: int) -> None:
    day = EPOCH // 86400 + run
    write(tree, "etc/shadow", f"root:*::0:::::\nchrony:!:{day}:0:99999:7:::\n")


def backups(tree: Path, run: int) -> None:
    for name in ("passwd-", "group-", "shadow-"):
        write(tree, f"etc/{name}", f"chrony:!:{run}\n")


def script_archive(tree: Path, run: int) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for number, content in enumerate((b"#!/bin/sh\n" * 100, b"")):
            member = tarfile.TarInfo(f"package-{number}.Q1aa/b=.post-install")
            member.size, member.mtime = len(content), EPOCH + run
            archive.addfile(member, io.BytesIO(content))
    (tree / "lib/apk/db").mkdir(parents=True)
    (tree / "lib/apk/db/scripts.tar").write_bytes(buffer.getvalue())


def installer_traces(tree: Path, run: int) -> None:
    write(tree, "var/log/apk.log", f"apk add at {run}\n")
    write(tree, "usr/lib/apk/db/lock", str(run))


def logs(tree: Path, run: int) -> None:
    write(tree, "var/log/chrony/measurements.log", str(run))
    write(tree, "var/log/messages", str(run))


def identity(tree: Path, run: int) -> None:
    write(tree, "etc/machine-id", str(run))
    write(tree, "var/lib/seedrng/seed.credit", str(run))
    write(tree, "etc/ssh/ssh_host_ed25519_key", str(run))
    write(tree, "etc/ssh/sshd_config", "the same\n")


def host_network(tree: Path, run: int) -> None:
    write(tree, "etc/resolv.conf", f"nameserver 10.0.0.{run}\n")


def histories(tree: Path, run: int) -> None:
    write(tree, "root/.ash_history", f"echo {run}\n")
    write(tree, "home/alpine/.python_history", f"{run}\n")


def scratch(tree: Path, run: int) -> None:
    write(tree, f"tmp/tmp.{run}/file", "")
    write(tree, f"run/openrc/{run}", "")
    (tree / "var").mkdir()
    (tree / "var/run").symlink_to("/run")


def device_nodes(tree: Path, run: int) -> None:
    (tree / "dev/pts").mkdir(parents=True)
    for number in range(run * 3):
        os.mknod(tree / f"dev/node{number}", 0o20600, os.makedev(1, number))
    (tree / "proc").mkdir(mode=0o555 if run == 1 else 0o755)


def times(tree: Path, run: int) -> None:
    write(tree, "bin/busybox", "#!", EPOCH - 10)
    (tree / "bin/sh").symlink_to("/bin/busybox")
    write(tree, "lib/apk/db/installed", "P:busybox\n")
    (tree / "dev").mkdir()
    os.mknod(tree / "dev/null", 0o20666, os.makedev(1, 3))
    made = ("bin/sh", "bin", "lib/apk/db/installed", "lib/apk/db", "dev/null", "dev", ".")
    for path in (tree / name for name in made):
        os.utime(path, (EPOCH + run, EPOCH + run), follow_symlinks=False)


def caches(tree: Path, run: int) -> None:
    write(tree, "var/cache/misc/random.name", str(run))
    write(tree, "root/.cache/program/index", str(run))


def labels(tree: Path, run: int) -> None:
    write(tree, "bin/busybox", "#!")
    write(tree, "usr/bin/ping", "#!")
    os.setxattr(tree / "usr/bin/ping", "security.capability", CAPABILITY)
    for path in (tree, tree / "bin/busybox"):
        os.setxattr(path, "security.snowdrop-test", f"label_{run}".encode())


def module_lists(tree: Path, run: int) -> None:
    lines = ["a.ko: b.ko\n", "b.ko:\n", "c.ko: a.ko b.ko\n"]
    write(tree, "lib/modules/6/modules.dep", "".join(lines[run:] + lines[:run]))
    write(tree, "lib/modules/6/modules.alias", "# Aliases\nalias b b\nalias a a\n")


def initramfs(tree: Path, run: int) -> None:
    write(tree, "boot/initramfs-virt", "")
    archive = cpio_archive(EPOCH + run, inode=100 * run, device=run)
    (tree / "boot/initramfs-virt").write_bytes(gzip.compress(archive, mtime=EPOCH + run))


def passwords(tree: Path, run: int) -> None:
    write(tree, "etc/shadow", f"root:{'*' * (run - 1)}::0:::::\n")


LEAKS: Mapping[str, Make] = {
    "shadow-days": shadow,
    "empty-passwords": passwords,
    "account-backups": backups,
    "script-archive": script_archive,
    "installer-traces": installer_traces,
    "caches": caches,
    "logs": logs,
    "random-identity": identity,
    "host-network": host_network,
    "histories": histories,
    "scratch": scratch,
    "mount-points": device_nodes,
    "host-labels": labels,
    "module-order": module_lists,
    "initramfs": initramfs,
    "times": times,
}
"""For each rule the files of a run: two runs differ by this leak only."""


@pytest.fixture
def two_runs(tmp_path: Path) -> Callable[..., list[Difference]]:
    """Return a function for the differences between two normalised runs with a leak."""

    def differences(make: Make, without: Sequence[str] = ()) -> list[Difference]:
        listings = []
        for run in (1, 2):
            tree = tmp_path / str(len(list(tmp_path.iterdir())))
            tree.mkdir()
            make(tree, run)
            normalise.normalise(tree, EPOCH, without=without)
            listings.append(list_tree(tree).text)
        return list(compare_listings(*listings))

    return differences


@pytest.mark.parametrize("name", LEAKS)
def test_a_rule_removes_its_leak(name: str, two_runs: Callable[..., list[Difference]]) -> None:
    assert two_runs(LEAKS[name]) == []
    left = two_runs(LEAKS[name], without=[name])
    assert left
    for difference in left:
        rule = normalise.find_rule(difference.path, difference.part)
        assert rule is not None, difference
        # Two rules change etc/shadow, one field each; `find_rule` returns the first.
        assert rule.name == name or difference.path == "etc/shadow", difference


def test_every_rule_has_a_leak_a_name_and_a_reason() -> None:
    names = [rule.name for rule in normalise.RULES]
    assert list(LEAKS) == names
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", name) for name in names)
    assert all(rule.reason and set(rule.parts) <= {*PARTS, "presence"} for rule in normalise.RULES)


def test_the_documentation_lists_the_rules_in_order() -> None:
    page = (Path(__file__).parents[2] / "docs/determinism.md").read_text()
    table = "\n".join(f"| `{rule.name}` | {rule.reason} |" for rule in normalise.RULES)
    assert f"\n{table}\n\n" in page


def test_an_unknown_rule_cannot_be_skipped(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="typo: no such rule"):
        normalise.normalise(tmp_path, EPOCH, without=["times", "typo"])


def test_capabilities_of_a_package_are_kept(tmp_path: Path) -> None:
    labels(tmp_path, 1)
    normalise.remove_labels(normalise.Tree(tmp_path, EPOCH))
    assert os.listxattr(tmp_path / "usr/bin/ping") == ["security.capability"]
    assert os.listxattr(tmp_path) == []


@pytest.mark.parametrize(
    "pack",
    [
        pytest.param(lambda content: content, id="plain"),
        pytest.param(lambda content: gzip.compress(content, mtime=0), id="gzip"),
        pytest.param(lambda content: lzma.compress(content), id="xz"),
    ],
)
def test_a_fixed_initramfs_is_readable_and_not_changed_again(
    pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    if shutil.which("busybox") is None:
        pytest.skip(skips.TOOL)
    fixed = fix_initramfs(pack(cpio_archive(EPOCH + 5, inode=70, device=9)), EPOCH)
    assert fix_initramfs(fixed, EPOCH) == fixed
    plain = {b"\x1f": gzip.decompress, b"\xfd": lzma.decompress}.get(fixed[:1], bytes)(fixed)
    listed = subprocess.run(
        ["busybox", "cpio", "-i", "--to-stdout", "init"],
        input=plain,
        capture_output=True,
        check=True,
        cwd=tmp_path,
    )
    assert listed.stdout == b"#!/bin/sh\n"


def test_an_initramfs_that_is_cut_short_is_refused() -> None:
    whole = cpio_archive(EPOCH, inode=1, device=1)
    with pytest.raises(StepError, match=r"the initramfs: byte \d+: "):
        fix_initramfs(whole[: len(whole) // 2], EPOCH)


def test_an_initramfs_in_another_compression_is_unchanged() -> None:
    assert fix_initramfs(b"\x28\xb5\x2f\xfd zstd", EPOCH) == b"\x28\xb5\x2f\xfd zstd"


def test_older_times_of_packages_are_kept(tmp_path: Path) -> None:
    times(tmp_path, 1)
    normalise.clamp_times(normalise.Tree(tmp_path, EPOCH))
    assert (tmp_path / "bin/busybox").stat().st_mtime == EPOCH - 10
    assert (tmp_path / "bin").stat().st_mtime == EPOCH


def test_the_fixed_script_archive_is_readable(tmp_path: Path) -> None:
    script_archive(tmp_path, 5)
    normalise.fix_script_archive(normalise.Tree(tmp_path, EPOCH))
    with tarfile.open(tmp_path / "lib/apk/db/scripts.tar") as archive:
        found = [(member.name, member.size, member.mtime) for member in archive]
    assert found == [
        ("package-0.Q1aa/b=.post-install", 1000, EPOCH),
        ("package-1.Q1aa/b=.post-install", 0, EPOCH),
    ]


def test_no_account_has_an_empty_password(tmp_path: Path) -> None:
    write(tmp_path, "etc/shadow", "root:::0:::::\nguest:!::0:::::\n")
    (tmp_path / "etc/shadow").chmod(0o640)
    normalise.lock_passwords(normalise.Tree(tmp_path, EPOCH))
    assert (tmp_path / "etc/shadow").read_text() == "root:*::0:::::\nguest:!::0:::::\n"
    assert (tmp_path / "etc/shadow").stat().st_mode & 0o777 == 0o640


def test_a_clock_earlier_than_the_packages_is_refused(tmp_path: Path) -> None:
    normalise.check_clock(tmp_path, EPOCH)
    assert not list(tmp_path.iterdir())
    with pytest.raises(StepError, match=r"earlier than the newest package, 99999999999$"):
        normalise.check_clock(tmp_path, 99_999_999_999)


def test_a_link_out_of_the_tree_is_not_followed(tmp_path: Path) -> None:
    outside, tree = tmp_path / "outside", tmp_path / "tree"
    write(outside, "precious", "kept")
    for name in ("var/log", "tmp", "var/cache/apk", "dev"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).symlink_to(outside)
    for rule in (
        normalise.remove_logs,
        normalise.empty_scratch,
        normalise.remove_installer_traces,
        normalise.clamp_times,
    ):
        rule(normalise.Tree(tree, 1))
    assert (outside / "precious").read_text() == "kept"
    assert (outside / "precious").stat().st_mtime == EPOCH
