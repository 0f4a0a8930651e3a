"""Root folders of a droplet: programs of this machine or of Alpine, and the service's files.

By default the service runs with this machine's busybox, sshd, ssh-keygen, sfdisk and e2fsprogs,
copied with their shared libraries, so that the tests need no Alpine package. `from_alpine` makes
the same folder from Alpine's own packages.

What is provided because Debian's busybox 1.35 lacks it: `mountpoint` (util-linux's), `wget -T` (see
WGET_WITHOUT_TIMEOUT), a shell that honours PATH (see STANDALONE_REPLACEMENTS).
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from build.apk.unpack import unpack_data
from build.firstboot.packages import (
    DIGESTS,
    FILES,
    INIT_FILES,
    INIT_FOLDERS,
    INIT_SERVICES,
    format_digests,
)
from tests import skips
from tests.host_programs import copy_program, install_applets

PROGRAM_FOLDERS = ("bin", "lib", "lib64", "sbin", "usr")
"""Folders that no boot writes into."""

REQUIRED_PROGRAMS = (
    "bin/busybox",
    "usr/bin/ssh-keygen",
    "usr/sbin/resize2fs",
    # Debian's busybox is built without this applet.
    "bin/mountpoint",
)
"""Where Alpine has the programs that the service calls."""

OPTIONAL_PROGRAMS = ("sbin/e2fsck", "sbin/mke2fs", "sbin/sfdisk", "usr/sbin/sshd")
"""Programs that single tests call, which `Droplet.require` skips when they are not there."""

STANDALONE_REPLACEMENTS = {"bin/sh": "dash", "usr/bin/timeout": "timeout"}
"""Used in place of busybox's applets when its shell prefers applets to programs in PATH.

Debian's and Ubuntu's busybox-static are built so. The tests' own programs (a failing `mount`, a
recording `dd`) would never be called by such a shell.
"""

WGET_WITHOUT_TIMEOUT = """\
#!/bin/sh
[ "$1 $2 $3" != 'wget -q -T' ] || { shift 4; set -- wget -q "$@"; }
exec /bin/busybox "$@"
"""
"""Wrapper of a busybox whose wget crashes at `-T`; `timeout` still limits the whole request.

Debian's packages before 1.36.1-5 are built without FEATURE_WGET_TIMEOUT, and then `-T` is a null
pointer (https://github.com/mirror/busybox/issues/124).
"""

ALPINE_PACKAGES = (
    "alpine-baselayout",
    "alpine-baselayout-data",
    "busybox",
    "busybox-binsh",
    "e2fsprogs",
    "e2fsprogs-extra",
    "e2fsprogs-libs",
    "libblkid",
    "libcom_err",
    "libcrypto3",
    "libfdisk",
    "libncursesw",
    "libsmartcols",
    "libuuid",
    "musl",
    "openssh-keygen",
    "openssh-server",
    "openssh-server-common",
    "sfdisk",
    "zlib",
)

BASE_FOLDERS = (
    *("bin", "sbin", "usr/bin", "usr/sbin", "tmp", "root", "run", "var/log", "var/lib"),
    *("dev", "proc", "sys/class/tty/console", "sys/class/dmi/id"),
)

BASE_FILES = {
    "etc/hostname": "localhost\n",
    "etc/hosts": (
        "127.0.0.1\tlocalhost localhost.localdomain\n::1\t\tlocalhost localhost.localdomain\n"
    ),
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nsshd:x:22:22:sshd:/dev/null:/sbin/nologin\n",
    "etc/group": "root:x:0:root\nsshd:x:22:sshd\n",
    # The opposite of what the service's own file says: sshd takes the first of two values.
    "etc/ssh/sshd_config": (
        "Include /etc/ssh/sshd_config.d/*.conf\n"
        "AuthorizedKeysFile none\n"
        "PasswordAuthentication yes\n"
        "KbdInteractiveAuthentication yes\n"
        "AllowTcpForwarding yes\n"
    ),
}
"""Files that Alpine's packages bring, for a root folder made from the host's programs."""


def from_host(root: Path) -> None:
    """Fill `root` with programs of this machine and minimal configuration files."""
    for folder in BASE_FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for path in REQUIRED_PROGRAMS:
        if not copy_program(path.rpartition("/")[2], root, path):
            pytest.skip(skips.TOOL)
    for path in OPTIONAL_PROGRAMS:
        copy_program(path.rpartition("/")[2], root, path)
    for path, text in BASE_FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    # The folder that Debian's sshd changes its root to before a login; sshd refuses to run without.
    (root / "run/sshd").mkdir()
    install_applets(root)
    if shell_prefers_applets(root):
        for path, name in STANDALONE_REPLACEMENTS.items():
            (root / path).unlink()
            if not copy_program(name, root, path):
                pytest.skip(skips.TOOL)
    if wget_crashes(root):
        # usr/sbin comes first in the service's PATH.
        (root / "usr/sbin/busybox").write_text(WGET_WITHOUT_TIMEOUT)
        (root / "usr/sbin/busybox").chmod(0o755)


def from_alpine(root: Path, packages: Path) -> None:
    """Fill `root` with Alpine's packages from the folder `packages`."""
    for name in ALPINE_PACKAGES:
        [path] = packages.glob(f"{name}-[0-9]*.apk")
        unpack_data(path.read_bytes(), root)
    install_applets(root)


def add_service(root: Path) -> None:
    """Add the service's files, and the devices and kernel files that it reads."""
    for path, mode in INIT_FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(FILES / path, root / path)
        (root / path).chmod(mode)
    (root / DIGESTS).parent.mkdir(parents=True, exist_ok=True)
    (root / DIGESTS).write_text(format_digests())
    for path, mode in INIT_FOLDERS.items():
        (root / path).mkdir(parents=True)
        (root / path).chmod(mode)
    for folder in BASE_FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "sys/class/tty/console/active").write_text("tty0 ttyS0\n")
    (root / "sys/class/dmi/id/sys_vendor").write_text("DigitalOcean\n")
    (root / "sys/class/dmi/id/product_serial").write_text("4711\n")
    for name in INIT_SERVICES:
        link = root / "etc/runlevels/default" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"/etc/init.d/{name}")
    for name in ("tty0", "ttyS0"):
        (root / "dev" / name).touch()
    # Minor numbers of character devices with major 1: devices.txt of the Linux kernel.
    for minor, name in ((3, "null"), (8, "random"), (9, "urandom")):
        os.mknod(root / "dev" / name, 0o20666, os.makedev(1, minor))


def copy_root(template: Path, root: Path) -> None:
    """Copy a root folder; programs become hard links, since no boot changes them."""
    root.mkdir()
    programs = [path for name in PROGRAM_FOLDERS if (path := template / name).exists()]
    others = [path for path in template.iterdir() if path not in programs]
    subprocess.run(["cp", "-al", *map(str, programs), str(root)], check=True)
    subprocess.run(["cp", "-a", *map(str, others), str(root)], check=True)


def shell_prefers_applets(root: Path) -> bool:
    """Return whether busybox's shell runs applets that are not in PATH."""
    command = ["chroot", str(root), "/bin/busybox", "sh", "-c", "PATH=/nonexistent; type dd"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def wget_crashes(root: Path) -> bool:
    """Return whether a signal ends busybox's wget when it is given a timeout."""
    command = ["chroot", str(root), "/bin/busybox", "wget", "-T", "1"]
    return subprocess.run(command, capture_output=True, check=False).returncode < 0
