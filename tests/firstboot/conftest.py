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
PROGRAMS = ("bin", "lib", "sbin", "usr")
NEEDED = (
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


ETH0 = {"name": "eth0", "mac": "52:54:00:00:00:05", "address": "203.0.113.5/20"}


def document(**values: object) -> dict[str, Any]:
    """Return v1.json of a droplet with a public card; `values` instead of the usual."""
    ipv4 = {"ip_address": "203.0.113.5", "netmask": "255.255.240.0", "gateway": "203.0.112.1"}
    return {
        "droplet_id": 4711,
        "hostname": "web-1.example.org",
        "vendor_data": "#!/bin/sh\ntouch /ran\n",
        "public_keys": [KEY, OTHER_KEY],
        "interfaces": {"public": [{"mac": ETH0["mac"], "type": "public", "ipv4": ipv4}]},
        "dns": {"nameservers": ["2001:db8::53", "192.0.2.53", "192.0.2.54"]},
        "features": {"dhcp_enabled": True},
        **values,
    }


GOOD: Mapping[str, Sequence[dict[str, Any]]] = {
    "id": [answer("4711")],
    "hostname": [answer("web-1.example.org")],
    "public-keys": [answer(f"{KEY}\n{OTHER_KEY}")],
    "v1.json": [answer(json.dumps(document()))],
}


@dataclass(frozen=True)
class Seen:
    """What a boot left behind, besides files."""

    status: int
    output: str
    requests: list[str]
    listened: list[str]
    """What an endless answer was heard to the end of."""
    addresses: list[str]
    """Such as `eth0 203.0.113.5/20`."""
    routes: list[str]
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
        cards: Sequence[dict[str, str]] = (ETH0,),
        **answers: Sequence[dict[str, Any]],
    ) -> Seen:
        """Run the service's script; `answers` (`_` for `-` and `.`) instead of the usual."""
        self.write("etc/conf.d/snowdrop-init", self.settings)
        named = {name.replace("_", "-"): given for name, given in answers.items()}
        if "v1-json" in named:
            named["v1.json"] = named.pop("v1-json")
        play = {
            "root": str(self.root),
            "answers": {**self.answers, **named},
            "command": command or ("/bin/busybox", "ash", "/usr/libexec/snowdrop-init"),
            "listening": listening,
            "full": list(full),
            "cards": list(cards),
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
        target.unlink(missing_ok=True)  # it may be shared with the folder it was copied from
        target.write_text(text, encoding="latin-1")

    def program(self, path: str, text: str) -> None:
        """Write a program for busybox's shell."""
        self.write(path, f"#!/bin/sh\n{text}\n")
        (self.root / path).chmod(0o755)

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
    for minor, name in ((3, "null"), (8, "random"), (9, "urandom")):
        os.mknod(root / "dev" / name, 0o20666, os.makedev(1, minor))
    return root


@pytest.fixture(scope="session")
def used(alpine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a droplet that was started once, for others to be copied from."""
    root = _copy(alpine, tmp_path_factory.mktemp("used") / "droplet")
    assert Droplet(root).boot().status == 0
    return root


@pytest.fixture
def droplet(alpine: Path, tmp_path: Path) -> Iterator[Droplet]:
    """Give a droplet that has never been started."""
    root = _copy(alpine, tmp_path / "droplet")
    yield Droplet(root)
    shutil.rmtree(root)


@pytest.fixture
def used_droplet(used: Path, tmp_path: Path) -> Iterator[Droplet]:
    """Give a droplet that was started before, with other keys than metadata has now."""
    root = _copy(used, tmp_path / "droplet")
    for console in ("tty0", "ttyS0"):
        (root / "dev" / console).write_text("")
    droplet = Droplet(root)
    droplet.write(droplet.keys, FORMER)
    droplet.write("root/.ssh/authorized_keys", "the owner's\n")
    yield droplet
    shutil.rmtree(root)


def _copy(template: Path, root: Path) -> Path:
    """Copy a root folder; of programs only the names, since nobody writes into those."""
    root.mkdir()
    programs = [path for name in PROGRAMS if (path := template / name).exists()]
    others = [path for path in template.iterdir() if path not in programs]
    subprocess.run(["cp", "-al", *map(str, programs), str(root)], check=True)
    subprocess.run(["cp", "-a", *map(str, others), str(root)], check=True)
    return root
