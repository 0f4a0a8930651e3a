"""Droplets that boot in a sandbox: a root folder, and a metadata service that misbehaves."""

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

from build.apk.unpack import unpack_data
from build.firstboot.packages import LocalPackages, local_packages
from tests import skips
from tests.alpine import SMALL
from tests.firstboot import root_folder
from tests.firstboot.alpine_apk import RUNTIME, Apk

SANDBOX = Path(__file__).with_name("boot_sandbox.py")
HANG_SECONDS = 300
"""For one call, which is thirty boots in `test_cloud_config.py`: a minute on a busy machine."""
USERLANDS = [
    pytest.param("host", marks=pytest.mark.root),
    pytest.param("alpine", marks=[pytest.mark.root, pytest.mark.alpine, pytest.mark.full]),
]
"""Programs that the service runs with: those of this machine, or Alpine's own."""
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG9uZSBrZXkgb25lIGtleSBvbmUga2V5IG9uZSBrZXkg owner@home"
OTHER_KEY = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFub3RoZXIga2V5IGFub3RoZXIga2V5IGFub3RoZXIg second"
)
FORMER_KEYS = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGZvcm1lciBrZXkgZm9ybWVyIGtleSBmb3JtZXIga2V5 former\n"
)


def response(
    body: str = "", *, status: int = 200, missing: int = 0, endless: bool = False
) -> dict[str, Any]:
    """Return one response of the metadata service; `body` is its bytes as Latin-1.

    The Content-Length exceeds the body by `missing` bytes; after an `endless` body zeros follow.
    """
    return {"body": body, "status": status, "missing": missing, "endless": endless}


ETH0 = {"name": "eth0", "mac": "52:54:00:00:00:05", "address": "203.0.113.5/20"}
ETH0_WITHOUT_DHCP = {key: value for key, value in ETH0.items() if key != "address"}


def document(**values: object) -> dict[str, Any]:
    """Return v1.json of a droplet with a public interface; `values` replace the usual ones."""
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
    "id": [response("4711")],
    "hostname": [response("web-1.example.org")],
    "public-keys": [response(f"{KEY}\n{OTHER_KEY}")],
    "v1.json": [response(json.dumps(document()))],
}


@dataclass(frozen=True)
class BootResult:
    """State of a droplet after a boot, besides its files."""

    status: int
    """Exit status of the command."""
    output: str
    """Standard output, then standard error, as Latin-1."""
    requests: list[str]
    """Names of the metadata that were asked for, in order."""
    fully_read: list[str]
    """Names whose endless response was read to its last byte."""
    addresses: list[str]
    """IPv4 addresses, such as `eth0 203.0.113.5/20`."""
    routes: list[str]
    """IPv4 routes, as `ip` prints them."""
    hostname: str
    """The kernel's host name."""
    full: dict[str, str]
    """Content of the files in the folders without free space, by path."""


@dataclass
class Droplet:
    """A root folder that can boot several times."""

    root: Path
    settings: str = "patience=0\npatience_refresh=0\n"
    """Content of the service's settings file."""
    responses: dict[str, Any] = field(default_factory=lambda: dict(GOOD))

    keys = "etc/snowdrop/authorized_keys/root"
    log = "var/log/snowdrop-init.log"

    def boot(
        self,
        *command: str,
        listening: bool = True,
        full: Sequence[str] = (),
        interfaces: Sequence[dict[str, str]] = (ETH0,),
        **responses: Sequence[dict[str, Any]],
    ) -> BootResult:
        """Run `command`, by default the service's script, in the sandbox.

        `responses` replace the usual ones; in their names `_` stands for `-` and `.`. Folders in
        `full` have no free space. With `listening=False` connections to the metadata service
        are refused.
        """
        self.write("etc/conf.d/snowdrop-init", self.settings)
        replaced = {name.replace("_", "-"): value for name, value in responses.items()}
        if "v1-json" in replaced:
            replaced["v1.json"] = replaced.pop("v1-json")
        request = {
            "root": str(self.root),
            "responses": {**self.responses, **replaced},
            "command": command or ("/bin/sh", "/usr/libexec/snowdrop-init"),
            "listening": listening,
            "full": list(full),
            "interfaces": list(interfaces),
        }
        done = subprocess.run(
            ["unshare", "--net", "--uts", "--mount", sys.executable, "-I", str(SANDBOX)],
            input=json.dumps(request).encode(),
            capture_output=True,
            check=False,
            timeout=HANG_SECONDS,
        )
        assert done.returncode == 0, done.stderr.decode()
        return BootResult(**json.loads(done.stdout))

    def read(self, path: str) -> str:
        """Return the content of a file of the droplet, as Latin-1."""
        return (self.root / path).read_text(encoding="latin-1")

    def write(self, path: str, text: str) -> None:
        """Write a file of the droplet, encoded as Latin-1."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        # The template may have a hard link to the same file, and a link could lead outside.
        target.unlink(missing_ok=True)
        target.write_text(text, encoding="latin-1")

    def write_program(self, path: str, text: str) -> None:
        """Write a shell script."""
        self.write(path, f"#!/bin/sh\n{text}\n")
        (self.root / path).chmod(0o755)

    def has(self, path: str) -> bool:
        """Return whether the droplet has a file of this name."""
        return (self.root / path).exists()

    def require(self, *programs: str) -> None:
        """Skip the test when one of these programs is not there."""
        if not all(map(self.has, programs)):
            pytest.skip(skips.TOOL)

    @property
    def console(self) -> str:
        """Everything that was written to the serial console."""
        return self.read("dev/ttyS0")

    def host_keys(self) -> set[str]:
        """Return the public host keys."""
        return {path.read_text() for path in (self.root / "etc/ssh").glob("ssh_host_*.pub")}


EPOCH = 1_763_800_000
COMMIT = "5f" * 20


def make_packages(
    *,
    version: str = "v3.24.20261123",
    overlay: Path | None = None,
    locked: Sequence[str] = (),
) -> LocalPackages:
    """Return the packages that the project adds to an image of this version."""
    return local_packages(
        variant="droplet",
        version=version,
        branch="v3.24",
        arch="x86_64",
        epoch=EPOCH,
        commit=COMMIT,
        lock_id="ab" * 32,
        overlay=overlay,
        replaces=("alpine-baselayout", "openssh-server-common"),
        locked=locked,
    )


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    """Return an overlay with a file of each kind, with modes that depend on a umask."""
    folder = tmp_path / "overlay"
    (folder / "etc/ssh").mkdir(parents=True)
    (folder / "etc/ssh/sshd_config").write_text("Include /etc/ssh/sshd_config.d/*.conf\n")
    (folder / "etc/motd").write_text("Hello.\n")
    (folder / "etc/motd").chmod(0o666)
    (folder / "etc/hello").symlink_to("/etc/motd")
    (folder / "srv/empty").mkdir(parents=True, mode=0o700)
    (folder / "usr/bin").mkdir(parents=True)
    (folder / "usr/bin/hello").write_text("#!/bin/sh\ncat /etc/hello\n")
    (folder / "usr/bin/hello").chmod(0o700)
    return folder


@pytest.fixture(scope="session", params=USERLANDS)
def template(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a root folder with a shell, the service and the programs that it calls."""
    require_root()
    unshare = ["unshare", "--net", "--uts", "--mount", "true"]
    if subprocess.run(unshare, capture_output=True, check=False).returncode != 0:
        pytest.skip(skips.NAMESPACES)
    root = tmp_path_factory.mktemp("template")
    if request.param == "host":
        root_folder.from_host(root)
    else:
        root_folder.from_alpine(root, alpine_packages())
    root_folder.add_service(root)
    return root


def require_root() -> None:
    """Skip the test unless it runs as root."""
    if os.geteuid() != 0:
        pytest.skip(skips.ROOT)


def alpine_packages() -> Path:
    """Return the folder of real packages of Alpine's repository `main`, or skip the test."""
    if not SMALL.is_dir():
        pytest.skip(skips.ALPINE)
    return SMALL / "x86_64"


@pytest.fixture(scope="session")
def apk(tmp_path_factory: pytest.TempPathFactory) -> Apk:
    """Return Alpine's own apk 2.14."""
    require_root()  # apk runs scripts in the new root
    folder = tmp_path_factory.mktemp("apk")
    for name in RUNTIME:
        [path] = alpine_packages().glob(f"{name}-[0-9]*.apk")
        unpack_data(path.read_bytes(), folder)
    return Apk(folder, alpine_packages().parent)


@pytest.fixture(scope="session")
def used_template(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the root folder of a droplet that booted once."""
    root = tmp_path_factory.mktemp("used") / "droplet"
    root_folder.copy_root(template, root)
    assert Droplet(root).boot().status == 0
    return root


@pytest.fixture
def droplet(template: Path, tmp_path: Path) -> Iterator[Droplet]:
    """Yield a droplet that has never booted."""
    root = tmp_path / "droplet"
    root_folder.copy_root(template, root)
    yield Droplet(root)
    shutil.rmtree(root)


def use_again(template: Path, root: Path) -> Droplet:
    """Return a copy of a droplet that booted once, whose owner has changed its keys since."""
    root_folder.copy_root(template, root)
    for console in ("tty0", "ttyS0"):
        (root / "dev" / console).write_text("")
    droplet = Droplet(root)
    droplet.write(droplet.keys, FORMER_KEYS)
    droplet.write("root/.ssh/authorized_keys", "the owner's\n")
    return droplet


@pytest.fixture
def used_droplet(used_template: Path, tmp_path: Path) -> Iterator[Droplet]:
    """Yield a droplet that booted once, and whose keys differ from those in metadata."""
    droplet = use_again(used_template, tmp_path / "droplet")
    yield droplet
    shutil.rmtree(droplet.root)


@pytest.fixture
def waiting_droplet(used_droplet: Droplet) -> Droplet:
    """Return a droplet that has keys, and has yet to get those of its metadata."""
    (used_droplet.root / "var/lib/snowdrop/keys-done").unlink()
    return used_droplet
