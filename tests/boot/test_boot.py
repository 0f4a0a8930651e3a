"""A boot that goes wrong says what the machine wrote last, and leaves nothing behind.

Each disk is really booted by QEMU; a whole droplet that comes up is the rehearsal's matter.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest

from build.edges.process import PLAIN
from build.edges.progress import Silent
from build.errors import BootError, MissingToolError, VerificationError
from ci.boot.boot_image import BootOptions, boot_image
from ci.boot.machine import Hardware, Machine, running
from tests.boot.conftest import RESET, WRITE_SECTOR
from tests.snapshot.served import Notes

Disk = Callable[..., Path]
Record = Callable[[Path], Path]
SwitchedOn = Callable[..., AbstractContextManager[Machine]]


@pytest.fixture
def switched_on(tmp_path: Path) -> SwitchedOn:
    """Return a maker of contexts in which a machine with that disk runs."""

    def switch_on(
        disk: Path,
        environment: Mapping[str, str] = PLAIN,
        more: tuple[str, ...] = (),
        keeps_writes: bool = False,
    ) -> AbstractContextManager[Machine]:
        return running(
            Hardware(disk=disk, droplet_id=7, service=None, more=more, keeps_writes=keeps_writes),
            scratch=tmp_path,
            log=tmp_path / "log",
            clock=time.monotonic,
            environment=environment,
        )

    return switch_on


def here(tmp_path: Path, timeout: float = 30) -> BootOptions:
    return BootOptions(work=tmp_path / "work", timeout=timeout)


def test_a_boot_that_hangs_shows_the_console(tmp_path: Path, disk: Disk, record: Record) -> None:
    made = record(disk("Loading Linux ...\nMounting roo"))
    with pytest.raises(BootError) as caught:
        boot_image(made, here(tmp_path, timeout=1), Silent())
    message = str(caught.value)
    log = tmp_path / "work" / "disk.log"
    assert message.startswith("disk.qcow2: no login within 1 s: no sshd answered;")
    assert message.endswith("\nLoading Linux ...\nMounting roo")
    assert str(log) in message
    assert "Mounting roo" in log.read_text()
    report = json.loads((tmp_path / "disk.boot.json").read_text())
    assert (report["passed"], report["checks"]) == (False, [])
    assert report["error"].startswith("no login within")
    assert (
        report["image"]["sha256"]
        == hashlib.sha256((tmp_path / "disk.qcow2").read_bytes()).hexdigest()
    )
    assert "PRIVATE" not in json.dumps(report)
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["disk.log"]


def test_an_emulator_that_got_no_time_is_tried_once_more(
    tmp_path: Path, disk: Disk, record: Record
) -> None:
    """A busy machine is no reason to refuse an image; one that fails again is refused."""
    made = record(disk("Kernel panic - not syncing: IO-APIC + timer doesn't work!\n"))
    told = Notes()
    with pytest.raises(BootError, match="IO-APIC"):
        boot_image(made, here(tmp_path), told)
    assert told.lines == ["this machine gave the emulator too little time to begin: once more"]


@pytest.mark.parametrize(
    ("text", "then", "message"),
    [
        pytest.param(
            "[    1.183825] Kernel panic - not syncing: no init\n",
            b"",
            "Kernel panic - not syncing: no init",
            id="panic",
        ),
        pytest.param(
            "  Failed to boot both default and fallback entries.\n",
            b"",
            "Failed to boot both default and fallback entries",
            id="GRUB",
        ),
        pytest.param("Rebooting\n", RESET, "the machine ended by itself: guest-reset", id="reset"),
    ],
)
def test_a_boot_that_is_lost_is_given_up_at_once(
    text: str, then: bytes, message: str, tmp_path: Path, disk: Disk, record: Record
) -> None:
    made = record(disk(text, then=then))
    with pytest.raises(BootError, match=f"^disk.qcow2: {message};"):
        boot_image(made, here(tmp_path, timeout=600), Silent())


def test_a_disk_that_does_not_start_shows_what_the_firmware_says(
    tmp_path: Path, disk: Disk, record: Record
) -> None:
    empty = disk("")
    # The first cluster with content is the boot sector; without its mark nothing is started.
    empty.write_bytes(empty.read_bytes().replace(b"\x55\xaa", b"\0\0"))
    with pytest.raises(BootError, match="Boot failed: not a bootable disk"):
        boot_image(record(empty), here(tmp_path, timeout=1), Silent())


def test_the_signed_file_is_never_written(disk: Disk, switched_on: SwitchedOn) -> None:
    """The second run shows that the disk would have been written."""
    made = disk("going to write\n", then=WRITE_SECTOR + RESET)
    before = made.read_bytes()
    for keeps in (False, True):
        with switched_on(made, keeps_writes=keeps) as machine:
            assert machine.wait(30) == "guest-reset"
        assert (made.read_bytes() != before) == keeps


def test_an_image_that_is_not_the_recorded_one_is_not_booted(
    tmp_path: Path, disk: Disk, record: Record
) -> None:
    made = record(disk("hello"))
    (tmp_path / "disk.qcow2").write_bytes((tmp_path / "disk.qcow2").read_bytes() + b"\0")
    with pytest.raises(
        VerificationError, match=r"disk.qcow2: sha256 \w{64}, its build record says"
    ):
        boot_image(made, here(tmp_path), Silent())
    assert not (tmp_path / "work").exists()


def test_the_report_of_an_earlier_boot_does_not_outlive_a_new_one(
    tmp_path: Path, disk: Disk, record: Record
) -> None:
    made = record(disk("hello"))
    (tmp_path / "disk.boot.json").write_text('{"passed": true}')
    without = BootOptions(work=tmp_path / "work", environment={"PATH": str(tmp_path)})
    with pytest.raises(MissingToolError) as caught:
        boot_image(made, without, Silent())
    assert "apt-get install --no-install-recommends openssh-client" in caught.value.hint
    assert not (tmp_path / "disk.boot.json").exists()


def test_ctrl_c_ends_the_machine(disk: Disk, switched_on: SwitchedOn) -> None:
    with suppress(KeyboardInterrupt), switched_on(disk("hello")) as machine:
        os.kill(machine.pid, 0)  # it runs: this signal only asks
        raise KeyboardInterrupt
    with pytest.raises(ProcessLookupError):
        os.kill(machine.pid, 0)


def test_a_qemu_that_refuses_its_words_is_quoted(disk: Disk, switched_on: SwitchedOn) -> None:
    context = switched_on(disk("hello"), more=("-device", "nonsense"))
    with pytest.raises(BootError, match="'nonsense' is not a valid device model name"), context:
        pass


def test_without_qemu_the_hint_installs_it(
    tmp_path: Path, disk: Disk, switched_on: SwitchedOn
) -> None:
    context = switched_on(disk("hello"), environment={"PATH": str(tmp_path)})
    with pytest.raises(MissingToolError) as caught, context:
        pass
    assert "apt-get install --no-install-recommends qemu-system-x86`" in caught.value.hint
