"""Makers: a droplet's root folder with a real busybox, and its boots."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from build.apk.package import unpack_data
from build.firstboot.packages import FILES, INIT_FILES, INIT_FOLDERS

ROOT = Path(__file__).parents[2]
ALPINE = ROOT.parent / "shared" / "alpine-v3.19"
STAGE = Path(__file__).with_name("stage.py")
APKS = ALPINE / "repo" / "v3.19" / "main" / "x86_64"
NEEDED = (
    "alpine-baselayout",
    "alpine-baselayout-data",
    "busybox",
    "busybox-binsh",
    "libcrypto3",
    "musl",
    "openssh-keygen",
    "openssh-server",
    "openssh-server-common",
    "zlib",
)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG9uZSBrZXkgb25lIGtleSBvbmUga2V5IG9uZSBrZXkg owner@home"
OTHER_KEY = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFub3RoZXIga2V5IGFub3RoZXIga2V5IGFub3RoZXIg second"
)
FORMER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGZvcm1lciBrZXkgZm9ybWVyIGtleSBmb3JtZXIga2V5 former\n"


def answer(
    body: str = "", *, status: int = 200, missing: int = 0, endless: bool = False
) -> dict[str, Any]:
    """Return one answer of the metadata service; `body` is its bytes as Latin-1.

    `missing` bytes more are promised than come; an `endless` answer goes on with zeros.
    """
    return {"body": body, "status": status, "missing": missing, "endless": endless}


GOOD: Mapping[str, Sequence[dict[str, Any]]] = {
    "id": [answer("4711")],
    "hostname": [answer("web-1.example.org")],
    "public-keys": [answer(f"{KEY}\n{OTHER_KEY}")],
}


@dataclass(frozen=True)
class Seen:
    """What a boot left behind, besides files."""

    status: int
    output: str
    requests: list[str]
    listened: list[str]
    """What an endless answer was heard to the end of."""
    hostname: str
    full: dict[str, str]


@dataclass
class Droplet:
    """A root folder that boots as often as asked."""

    root: Path
    settings: str = "patience=0\npatience_refresh=0\n"
    answers: dict[str, Any] = field(default_factory=lambda: dict(GOOD))

    keys = "etc/snowdrop/authorized_keys/root"
    log = "var/log/snowdrop-init.log"

    def boot(
        self,
        *command: str,
        listening: bool = True,
        full: Sequence[str] = (),
        **answers: Sequence[dict[str, Any]],
    ) -> Seen:
        """Run the service's script; `answers` (`_` for `-` in names) instead of the usual."""
        self.write("etc/conf.d/snowdrop-init", self.settings)
        named = {name.replace("_", "-"): given for name, given in answers.items()}
        play = {
            "root": str(self.root),
            "answers": {**self.answers, **named},
            "command": command or ("/bin/busybox", "ash", "/usr/libexec/snowdrop-init"),
            "listening": listening,
            "full": list(full),
        }
        done = subprocess.run(
            ["unshare", "--net", "--uts", "--mount", sys.executable, "-I", str(STAGE)],
            input=json.dumps(play).encode(),
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr.decode()
        return Seen(**json.loads(done.stdout))

    def read(self, path: str) -> str:
        """Return a file of the droplet, as Latin-1."""
        return (self.root / path).read_text(encoding="latin-1")

    def write(self, path: str, text: str) -> None:
        """Write a file of the droplet."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="latin-1")

    def has(self, path: str) -> bool:
        """Say whether the droplet has a file of this name."""
        return (self.root / path).exists()

    @property
    def console(self) -> str:
        """What stood on the serial line since the start."""
        return self.read("dev/ttyS0")

    def host_keys(self) -> set[str]:
        """Return the public host keys."""
        return {path.read_text() for path in (self.root / "etc/ssh").glob("ssh_host_*.pub")}


@pytest.fixture(scope="session")
def alpine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with Alpine's own busybox and sshd, as the script finds them."""
    if not APKS.is_dir():
        pytest.skip("no real Alpine packages beside the project")
    if os.geteuid() != 0:
        pytest.skip("needs root: the script is run in a root folder of its own")
    root = tmp_path_factory.mktemp("alpine")
    for name in NEEDED:
        [path] = list(APKS.glob(f"{name}-[0-9]*.apk"))
        unpack_data(path.read_bytes(), root)
    return _furnish(root)


def _furnish(root: Path) -> Path:
    try:
        unshared = subprocess.run(
            ["unshare", "--net", "--uts", "--mount", "true"], capture_output=True, check=False
        ).returncode
    except FileNotFoundError:
        unshared = 1
    if unshared:
        pytest.skip("`unshare --net --uts --mount` is not allowed or not there")
    subprocess.run(["chroot", str(root), "/bin/busybox", "--install", "-s"], check=True)
    for path, mode in INIT_FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(FILES / path, root / path)
        (root / path).chmod(mode)
    for path, mode in INIT_FOLDERS.items():
        (root / path).mkdir(parents=True)
        (root / path).chmod(mode)
    for folder in ("dev", "proc", "run", "root", "sys/class/tty/console", "sys/class/dmi/id"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "sys/class/tty/console/active").write_text("tty0 ttyS0\n")
    (root / "sys/class/dmi/id/sys_vendor").write_text("DigitalOcean\n")
    (root / "sys/class/dmi/id/product_serial").write_text("4711\n")
    for name in ("tty0", "ttyS0"):
        (root / "dev" / name).touch()
    for minor, name in ((3, "null"), (9, "urandom")):
        os.mknod(root / "dev" / name, 0o20666, os.makedev(1, minor))
    return root


@pytest.fixture
def droplet(alpine: Path, tmp_path: Path) -> Iterator[Droplet]:
    """Give a droplet that has never been started."""
    root = tmp_path / "droplet"
    subprocess.run(["cp", "-a", str(alpine), str(root)], check=True)
    yield Droplet(root)
    shutil.rmtree(root)


@pytest.fixture
def used_droplet(droplet: Droplet) -> Droplet:
    """Give a droplet that was started before, with other keys than metadata has now."""
    seen = droplet.boot()
    assert seen.status == 0
    droplet.write(droplet.keys, FORMER)
    droplet.write("root/.ssh/authorized_keys", "the owner's\n")
    return droplet
