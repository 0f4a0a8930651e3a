"""Power cuts: the first-boot script is killed at its commands, and the droplet starts again.

Every program that changes a file or the machine counts its calls, and kills the script before the
call with a certain number. `nox -s boot -- --faults` cuts the power of a real machine.
"""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.firstboot.conftest import KEY, OTHER_KEY, Droplet, response

PROGRAMS = ("chmod", "cp", "hostname", "ip", "mv", "rm", "ssh-keygen", "sync")
CUTTING = """\
number=$(($(cat /count) + 1))
echo "$number" >/count
[ "$number" -ne "$(cat /cut)" ] || kill -9 -"$(cat /run/snowdrop-init/process)"
exec PROGRAM "$@"
"""
BOOT = "busybox setsid /bin/sh /usr/libexec/snowdrop-init & wait"
"""The script leads a group of processes: all of them are killed."""


def boot_with_cut(droplet: Droplet, call: int, **responses: Sequence[dict[str, Any]]) -> int:
    """Boot, cut the power at a call of a program (0: never); return the number of calls."""
    for program in PROGRAMS:
        path = "/usr/bin/ssh-keygen" if program == "ssh-keygen" else f"/bin/busybox {program}"
        droplet.write_program(f"usr/sbin/{program}", CUTTING.replace("PROGRAM", path))
    droplet.write("count", "0\n")
    droplet.write("cut", f"{call}\n")
    droplet.boot("/bin/sh", "-c", BOOT, **responses)  # type: ignore[arg-type]
    return int(droplet.read("count"))


def check_whole(droplet: Droplet) -> None:
    """Assert that no file of the service is empty or unfinished."""
    litter = [path.name for path in droplet.root.rglob("*.snowdrop-new")]
    for folder in ("var/lib/snowdrop", "etc/snowdrop", "etc/ssh"):
        files = [path for path in (droplet.root / folder).rglob("*") if path.is_file()]
        litter += [path.name for path in files if path.stat().st_size == 0]
    assert litter == []


@pytest.mark.full
@pytest.mark.parametrize("call", range(3, 63, 2))
def test_new_droplet_is_complete_after_a_power_cut(droplet: Droplet, call: int) -> None:
    assert boot_with_cut(droplet, call) == call
    assert "snowdrop-init: droplet 4711" not in droplet.console
    boot_with_cut(droplet, 0)
    assert droplet.read(droplet.keys) == f"{KEY}\n{OTHER_KEY}\n"
    assert droplet.read("etc/hostname") == "web-1.example.org\n"
    assert droplet.read("etc/hosts").count("# snowdrop-init") == 1
    check_whole(droplet)


@pytest.mark.full
@pytest.mark.parametrize("call", range(3, 63, 4))
def test_copy_is_another_droplet_after_a_power_cut(used_droplet: Droplet, call: int) -> None:
    used_droplet.boot("/usr/bin/ssh-keygen", "-A")
    first = used_droplet.host_keys()
    used_droplet.write("sys/class/dmi/id/product_serial", "4712\n")
    own = {"public_keys": [response(OTHER_KEY)], "hostname": [response("copy")]}
    assert boot_with_cut(used_droplet, call, **own) == call
    boot_with_cut(used_droplet, 0, **own)
    assert used_droplet.read(used_droplet.keys) == f"{OTHER_KEY}\n"
    assert used_droplet.read("etc/hostname") == "copy\n"
    assert not used_droplet.host_keys() & first
    assert len(used_droplet.host_keys()) == len(first)
    check_whole(used_droplet)


UNFINISHED = {
    "a file of write_files": ("srv/app.conf", "write_files: [{path: /srv/app.conf, content: x}]"),
    "the target of a link": ("srv/hosts", "hostname: mine"),
    "the accounts": ("etc/passwd", "users: [{name: sshd, shell: /bin/sh}]"),
    "the time zone": ("etc/localtime", "timezone: UTC"),
}


@pytest.mark.parametrize("what", UNFINISHED)
def test_file_that_user_data_did_not_finish_is_removed_at_the_next_start(
    used_droplet: Droplet, what: str
) -> None:
    path, document = UNFINISHED[what]
    used_droplet.write("usr/share/zoneinfo/UTC", "TZif")
    used_droplet.write("srv/hosts", "127.0.0.1 localhost\n")
    (used_droplet.root / "etc/hosts").unlink()
    (used_droplet.root / "etc/hosts").symlink_to("/srv/hosts")
    kill = 'kill -9 -"$(cat /run/snowdrop-userdata/process)"'
    used_droplet.write_program(
        "usr/sbin/mv", f'case "$*" in */{path}) {kill} ;; esac; exec /bin/busybox mv "$@"'
    )
    words = ("/bin/sh", "-c", BOOT.replace(" &", " user-data &"))
    used_droplet.boot(*words, user_data=[response(f"#cloud-config\n{document}\n")])
    left = used_droplet.root / f"{path}.snowdrop-new"
    assert left.is_symlink() or left.exists()
    (used_droplet.root / "usr/sbin/mv").unlink()
    used_droplet.boot()
    assert not left.is_symlink()
    check_whole(used_droplet)


def test_cut_kills_the_script(droplet: Droplet) -> None:
    assert boot_with_cut(droplet, 12) == 12
    assert not droplet.has("var/lib/snowdrop/hostname-done")
    assert boot_with_cut(droplet, 0) > 30
    assert droplet.has("var/lib/snowdrop/hostname-done")
    check_whole(droplet)
