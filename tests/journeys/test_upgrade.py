"""A droplet gets a newer kernel by its own `apk upgrade`, and starts it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from build.edges.process import PLAIN
from build.edges.progress import Silent
from build.snapshot.lock_reader import read_lock
from ci.boot.boot_image import metadata_for
from ci.boot.droplet import Droplet
from ci.boot.machine import GATEWAY, Hardware, running
from ci.boot.metadata import MetadataService
from ci.boot.scenarios.drives import make_overlay
from ci.boot.ssh import Client, make_key
from ci.rehearsal.contents import SAMPLE_WORK
from tests.journeys.conftest import ROOT, Rehearsal
from tests.sample.kernel_update import PACKAGE, make_update

pytestmark = pytest.mark.full

UPGRADE = """\
set -e
cat >/etc/apk/keys/{key_name} <<'END'
{key}END
echo {url} >/etc/apk/repositories
sha256sum /boot/initramfs-virt
apk update >&2
apk upgrade
sha256sum /boot/initramfs-virt
sync
"""
LOOK = f"""\
uname -r
apk info -v | grep '^{PACKAGE}-'
snowdrop-status
echo "crashed:" $(rc-status --nocolor --crashed)
"""
PATIENCE = 400.0
"""Seconds."""


class Quiet(SimpleHTTPRequestHandler):
    """Serves files."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Yield the URL at which a droplet finds `folder`: QEMU's gateway leads to this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://{GATEWAY}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def installed(rehearsal: Rehearsal) -> str:
    """Return the version of the kernel's package in the image."""
    lock = read_lock(rehearsal.state / "release.lock")
    (version,) = [package.version for package in lock.packages if package.name == PACKAGE]
    return version


class Machinery:
    """One disk that is booted again and again."""

    def __init__(self, rehearsal: Rehearsal, folder: Path) -> None:
        self.folder, self.disk = folder, folder / "disk.qcow2"
        (image,) = rehearsal.dist.glob("*.qcow2")
        make_overlay(self.disk, image, PLAIN)
        self.metadata = metadata_for(rehearsal.record("build"), make_key(folder))
        self.service = MetadataService(folder)
        self.service.configure(self.metadata)

    @contextmanager
    def on(self) -> Iterator[Droplet]:
        """Yield the droplet as soon as it lets in."""
        hardware = Hardware(
            disk=self.disk,
            droplet_id=self.metadata.droplet_id,
            service=self.service,
            persistent=True,
        )
        with running(
            hardware,
            scratch=self.folder,
            log=self.folder / "log",
            environment=PLAIN,
        ) as machine:
            client = Client(self.folder, machine.ssh_port, PLAIN)
            droplet = Droplet(machine, client, self.service)
            droplet.wait_for_login(PATIENCE)
            yield droplet


def test_a_newer_kernel_comes_with_its_own_initramfs_and_is_started(
    alpine: Rehearsal, tmp_path: Path
) -> None:
    """Alpine's own apk upgrades; the same host keys prove that it is the same droplet still."""
    version = installed(alpine)
    update = make_update(
        out=tmp_path,
        work=ROOT / SAMPLE_WORK / "update",
        installed=version,
        mirror=None,
        progress=Silent(),
    )
    machinery = Machinery(alpine, tmp_path)
    with served(update.repository) as url:
        words = UPGRADE.format(key_name=update.key.name, key=update.key.read_text(), url=url)
        with machinery.on() as droplet:
            before = droplet.run_script("uname -r").strip()
            said = droplet.run_script(words)
            droplet.client.run("reboot", timeout=PATIENCE)
            assert droplet.machine.wait(PATIENCE) == "guest-reset"
    assert before != update.release
    assert f"Upgrading {PACKAGE} ({version} -> {update.version})" in said
    assert "Executing mkinitfs-" in said
    first, last = [line.split()[0] for line in said.splitlines() if "/boot/initramfs-virt" in line]
    assert first != last
    with machinery.on() as droplet:
        release, package, *rest = droplet.run_script(LOOK).splitlines()
        reason = droplet.power_off()
    assert release == update.release
    assert package == f"{PACKAGE}-{update.version}"
    assert f"changed  {PACKAGE}-{version} -> {update.version}" in " ".join(rest)
    assert rest[-1] == "crashed:"
    assert reason == "guest-shutdown"
