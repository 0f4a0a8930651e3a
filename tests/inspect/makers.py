"""Functions that make small disks: a few files, their apk database, boot code, a partition."""

import base64
import gzip
import hashlib
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from build.inside.bootloader import menu
from build.inside.ext4 import FEATURES
from build.inside.initramfs import Kernel
from build.inside.initramfs_parts import MODULES
from build.inspect.boot_code import BootCode
from build.inspect.inspection import Inspection, InspectOptions, inspect_image

CHECKOUT = Path(__file__).parents[2]
MIB = 1024 * 1024
EPOCH = 1_700_000_000
FIXED = {**os.environ, "E2FSPROGS_FAKE_TIME": str(EPOCH)}
"""The present time of e2fsprogs."""
UUID = "11111111-2222-4333-8444-555555555555"
SEED = "66666666-7777-4888-8999-aaaaaaaaaaaa"
CODE = BootCode("grub-bios", (b"\xeb\x63first" * 63)[:440], b"second!!" * 64)
SHADOW = "root:*:19675:0:::::\nsshd:!:19675:0:99999:7:::\n"
PACKAGE_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nsshd:x:22:22::/:/sbin/nologin\n",
    "etc/group": "root:x:0:\nsshd:x:22:\n",
    "etc/motd": "Welcome\n",
    "etc/mkinitfs/mkinitfs.conf": 'features="base ext4"\n',
    "etc/init.d/sshd": "#!/sbin/openrc-run\n",
    "usr/lib/libcrypto.so.3": "\x7fELF -----BEGIN PRIVATE KEY-----\0-----END PRIVATE KEY-----\0",
    "usr/share/kernel/virt/kernel.release": "6.1.0-virt\n",
    "lib/modules/6.1.0-virt/ext4.ko": "module\n" * 400,
    "boot/vmlinuz-virt": "kernel\n" * 500,
    "root/.profile": "umask 022\n",
}
OTHER_FILES = {
    "etc/fstab": f"UUID={UUID} / ext4 rw,noatime 0 1\n",
    "etc/apk/world": "alpine-base\n",
    "lib/modules/6.1.0-virt/modules.dep": "ext4.ko:\n",
    "lib/modules/6.1.0-virt/modules.builtin": "".join(
        f"kernel/{name}.ko\n" for name in MODULES if name != "ext4"
    ),
    "boot/grub/grub.cfg": menu(Kernel("virt", "6.1.0-virt"), f"root=UUID={UUID} console=ttyS0"),
}


def run(*argv: object, status: int = 0) -> str:
    """Run a program of the host, and check its status."""
    done = subprocess.run(
        [str(word) for word in argv], capture_output=True, text=True, check=False, env=FIXED
    )
    assert done.returncode == status, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


def cpio(members: Sequence[tuple[str, bytes]], *, mtime: int = EPOCH) -> bytes:
    """Return a cpio archive of plain files."""
    pieces = []
    for number, (name, content) in enumerate([*members, ("TRAILER!!!", b"")]):
        title = name.encode() + b"\0"
        inode = number + 1 if name != "TRAILER!!!" else 0
        mode = LINK if name in LINKS else PROGRAM if content.startswith(b"#!") else 0o100644
        fields = (inode, mode, 0, 0, 1, mtime if inode else 0, len(content))
        header = b"070701" + b"".join(
            b"%08X" % value for value in (*fields, 0, 0, 0, 0, len(title), 0)
        )
        head = header + title
        pieces += [head, bytes(-len(head) % 4), content, bytes(-len(content) % 4)]
    return b"".join(pieces)


def initramfs(*members: tuple[str, bytes], mtime: int = EPOCH) -> bytes:
    """Return a compressed initramfs."""
    return gzip.compress(cpio(members or MEMBERS, mtime=mtime), mtime=0)


LINKS = ("bin/sh",)
"""Members of an initramfs that are symbolic links."""
LINK, PROGRAM = 0o120777, 0o100755
MEMBERS = (
    ("init", b"#!/bin/sh\n"),
    ("bin/sh", b"/bin/busybox"),
    ("bin/busybox", b"#!busybox"),
    ("etc/modules", b"ext4\n"),
    ("lib/modules/6.1.0-virt/ext4.ko", b"module\n" * 400),
    ("sbin/tool", b"tool" * 50),
)


@dataclass
class Root:
    """A tree that becomes a disk."""

    folder: Path
    packages: dict[str, dict[str, str]] = field(
        default_factory=lambda: {
            "alpine-base": dict(PACKAGE_FILES),
            "shadow": {"etc/shadow": SHADOW},
        }
    )

    def write(self, path: str, content: str | bytes, mode: int = 0o644) -> Path:
        """Write a file of the tree, its folders too."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode("latin-1"))
        target.chmod(mode)
        return target

    def fill(self) -> "Root":
        """Write everything that an image without findings has."""
        for files in self.packages.values():
            for path, content in files.items():
                self.write(path, content)
        for path, content in OTHER_FILES.items():
            self.write(path, content)
        self.write("etc/shadow", SHADOW, 0o640)
        self.write("boot/initramfs-virt", initramfs(), 0o600)
        self.link("etc/runlevels/default/sshd", "/etc/init.d/sshd")
        self.link("bin/ls", "/bin/busybox")
        for name, mode in (("dev", 0o755), ("proc", 0o555), ("tmp", 0o1777)):
            (self.folder / name).mkdir()
            (self.folder / name).chmod(mode)
        self.write_database()
        return self

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link."""
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).symlink_to(target)

    def write_database(self) -> None:
        """Write apk's database of `packages`, with every folder of the tree in the first."""
        folders = sorted(
            str(path.relative_to(self.folder))
            for path in self.folder.rglob("*")
            if path.is_dir() and not path.is_symlink()
        )
        text = ""
        for name, files in self.packages.items():
            text += f"C:Q1abc=\nP:{name}\nV:1.0-r0\nA:x86_64\nL:MIT\no:{name}\n"
            for folder in folders if name == "alpine-base" else ():
                text += f"F:{folder}\n"
            for path, content in files.items():
                digest = hashlib.sha1(content.encode("latin-1"), usedforsecurity=False).digest()
                checksum = base64.b64encode(digest).decode()
                folder, _, file = path.rpartition("/")
                rights = "a:0:0:640\n" if path == "etc/shadow" else ""
                text += f"F:{folder}\nR:{file}\n{rights}Z:Q1{checksum}\n"
            text += "\n"
        self.write("lib/apk/db/installed", text)

    def times(self) -> None:
        """Set one time for everything."""
        for path in sorted(self.folder.rglob("*"), reverse=True):
            os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)
        os.utime(self.folder, (EPOCH, EPOCH))


def write_raw_disk(
    root: Root, target: Path, *, size: int = 40 * MIB, options: str = FEATURES, active: bool = True
) -> Path:
    """Write the tree as a raw disk: MBR, boot code, one partition from 1 MiB on."""
    root.times()
    target.unlink(missing_ok=True)
    with target.open("wb") as file:
        file.truncate(size)
        entry = struct.pack("<B3xB3xII", 0x80 * active, 0x83, 2048, size // 512 - 2048)
        file.write(CODE.first)
        file.write(struct.pack("<IH", 0xCAFE1234, 0) + entry + bytes(48) + b"\x55\xaa")
        file.write(CODE.second)
    extended = f"offset={MIB},hash_seed={SEED},root_owner=0:0,lazy_itable_init=0,nodiscard"
    run(
        *("mke2fs", "-q", "-F", "-t", "ext4", "-O", options, "-b", 4096, "-I", 256),
        *("-J", "size=4", "-U", UUID, "-L", "root", "-E", extended),
        *("-d", root.folder, target, f"{(size - MIB) // 1024}k"),
    )
    return target


def write_qcow2(raw: Path, target: Path) -> Path:
    """Write a raw disk as a compressed qcow2."""
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", raw, target)
    return target


def debugfs(raw: Path, *requests: str) -> None:
    """Change the file system of a raw disk with debugfs."""
    for request in requests:
        done = subprocess.run(
            ["debugfs", "-w", "-R", request, f"{raw}?offset={MIB}"],
            capture_output=True,
            text=True,
            check=False,
            env=FIXED,
        )
        said = done.stderr.splitlines()[1:]
        assert (done.returncode, said) == (0, []), f"{request}: {done.stderr}"


def inspect_disk(
    path: Path, *, programs: Path | None = None, build_paths: tuple[str, ...] = ()
) -> Inspection:
    """Return the inspection of a disk with the boot code of this module."""
    return inspect_image(
        path, InspectOptions(boot_code=CODE, build_paths=build_paths, programs=programs)
    )


def copy_disk(source: Path, target: Path) -> Path:
    """Copy a raw disk as a sparse file."""
    run("cp", "--sparse=always", source, target)
    return target


Change = Callable[[Root], object]


def make_disk(folder: Path, change: Change) -> Path:
    """Return a raw disk of a clean tree after `change`."""
    shutil.rmtree(folder, ignore_errors=True)
    root = Root(folder / "root")
    root.folder.mkdir(parents=True)
    change(root.fill())
    return write_raw_disk(root, folder / "disk.raw")


def patch(disk: Path, offset: int, content: bytes) -> None:
    """Write bytes into a disk."""
    with disk.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def run_ci(*words: object) -> subprocess.CompletedProcess[str]:
    """Run `python -m ci WORDS` as a session does."""
    return subprocess.run(
        [sys.executable, "-m", "ci", *map(str, words)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
