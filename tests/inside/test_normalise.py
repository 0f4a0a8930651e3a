"""Two runs differ by a clock, a random number or a host; after its rule they do not."""

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from build.inside import normalise
from build.inside.programs import Failure
from build.inside.tree import list_tree

EPOCH = 1_700_000_000
Make = Callable[[Path, int], None]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and device nodes need root")


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
    write(tree, "var/cache/apk/APKINDEX.1234.tar.gz", str(run))


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
    for path in (tree / "bin/sh", tree / "bin", tree):
        os.utime(path, (EPOCH + run, EPOCH + run), follow_symlinks=False)


LEAKS: tuple[tuple[normalise.Rule, Make], ...] = (
    (normalise.fix_shadow_dates, shadow),
    (normalise.remove_account_backups, backups),
    (normalise.fix_script_archive, script_archive),
    (normalise.remove_installer_traces, installer_traces),
    (normalise.remove_logs, logs),
    (normalise.remove_identity, identity),
    (normalise.remove_host_network, host_network),
    (normalise.remove_histories, histories),
    (normalise.empty_scratch, scratch),
    (normalise.fix_mount_points, device_nodes),
    (normalise.clamp_times, times),
)


def set_all_times(tree: Path) -> None:
    for path in (*tree.rglob("*"), tree):
        os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)


@pytest.mark.parametrize(("rule", "make"), LEAKS, ids=[make.__name__ for _, make in LEAKS])
def test_a_leak_is_there_without_its_rule_and_gone_with_it(
    rule: normalise.Rule, make: Make, tmp_path: Path
) -> None:
    trees = [tmp_path / "one", tmp_path / "two"]
    for run, tree in enumerate(trees, start=1):
        tree.mkdir()
        make(tree, run)
        if make is not times:
            set_all_times(tree)
    one, two = (list_tree(tree).sha256 for tree in trees)
    assert one != two
    for tree in trees:
        rule(tree, EPOCH)
        if make is not times:
            set_all_times(tree)
    one, two = (list_tree(tree).sha256 for tree in trees)
    assert one == two


def test_every_rule_is_in_the_table_above_or_below() -> None:
    apart = {normalise.refuse_early_clock, normalise.lock_passwords}
    assert {rule for rule, _ in LEAKS} | apart == set(normalise.RULES)


def test_packages_keep_their_own_older_times(tmp_path: Path) -> None:
    times(tmp_path, 1)
    normalise.clamp_times(tmp_path, EPOCH)
    assert (tmp_path / "bin/busybox").stat().st_mtime == EPOCH - 10
    assert (tmp_path / "bin").stat().st_mtime == EPOCH


def test_the_script_archive_can_still_be_read(tmp_path: Path) -> None:
    script_archive(tmp_path, 5)
    normalise.fix_script_archive(tmp_path, EPOCH)
    with tarfile.open(tmp_path / "lib/apk/db/scripts.tar") as archive:
        found = [(member.name, member.size, member.mtime) for member in archive]
    assert found == [
        ("package-0.Q1aa/b=.post-install", 1000, EPOCH),
        ("package-1.Q1aa/b=.post-install", 0, EPOCH),
    ]


def test_no_account_has_an_empty_password(tmp_path: Path) -> None:
    write(tmp_path, "etc/shadow", "root:::0:::::\nguest:!::0:::::\n")
    (tmp_path / "etc/shadow").chmod(0o640)
    normalise.lock_passwords(tmp_path, EPOCH)
    assert (tmp_path / "etc/shadow").read_text() == "root:*::0:::::\nguest:!::0:::::\n"
    assert (tmp_path / "etc/shadow").stat().st_mode & 0o777 == 0o640


def test_a_machine_whose_clock_is_behind_the_packages_is_refused(tmp_path: Path) -> None:
    normalise.refuse_early_clock(tmp_path, EPOCH)
    assert not list(tmp_path.iterdir())
    with pytest.raises(Failure, match=r"earlier than the newest package, 99999999999$"):
        normalise.refuse_early_clock(tmp_path, 99_999_999_999)


def test_a_link_out_of_the_tree_is_never_followed(tmp_path: Path) -> None:
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
        rule(tree, 1)
    assert (outside / "precious").read_text() == "kept"
    assert (outside / "precious").stat().st_mtime == EPOCH
