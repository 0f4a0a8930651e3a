"""A failed boot reports the last lines of the console and leaves no files behind.

QEMU really boots each disk; the rehearsal boots a complete droplet.
"""

import hashlib
import json
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
Start = Callable[..., AbstractContextManager[Machine]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Return a function that makes contexts in which a machine with a disk runs."""

    def make(
        disk: Path,
        environment: Mapping[str, str] = PLAIN,
        extra_arguments: tuple[str, ...] = (),
        persistent: bool = False,
    ) -> AbstractContextManager[Machine]:
        return running(
            Hardware(
                disk=disk,
                droplet_id=7,
                service=None,
                extra_arguments=extra_arguments,
                persistent=persistent,
            ),
            scratch=tmp_path,
            log=tmp_path / "log",
            environment=environment,
        )

    return make


def options(tmp_path: Path, timeout: float = 30) -> BootOptions:
    return BootOptions(work=tmp_path / "work", timeout=timeout)


def test_a_hanging_boot_shows_the_console(tmp_path: Path, disk: Disk, record: Record) -> None:
    made = record(disk("Loading Linux ...\nMounting roo"))
    with pytest.raises(BootError) as caught:
        boot_image(made, options(tmp_path, timeout=1), Silent())
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


def test_a_timer_panic_of_a_slow_emulator_is_booted_again(
    tmp_path: Path, disk: Disk, record: Record
) -> None:
    """A busy machine does not fail an image at once; a second panic does."""
    made = record(disk("Kernel panic - not syncing: IO-APIC + timer doesn't work!\n"))
    progress = Notes()
    with pytest.raises(BootError, match="IO-APIC"):
        boot_image(made, options(tmp_path), progress)
    assert progress.lines == [
        "the emulator got too little processor time for the timer test: boot again"
    ]


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
            "Mounting root: failed. No such file or directory\n"
            "Launching initramfs emergency recovery shell.\n",
            b"",
            "Launching initramfs emergency recovery shell.",
            id="emergency shell",
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
def test_a_failed_boot_ends_at_once(
    text: str, then: bytes, message: str, tmp_path: Path, disk: Disk, record: Record
) -> None:
    made = record(disk(text, then=then))
    with pytest.raises(BootError, match=f"^disk.qcow2: {message};"):
        boot_image(made, options(tmp_path, timeout=600), Silent())


def test_a_disk_without_a_boot_sector_shows_the_message_of_the_firmware(
    tmp_path: Path, disk: Disk, record: Record
) -> None:
    empty = disk("")
    # Without the signature of the boot sector SeaBIOS does not start it.
    empty.write_bytes(empty.read_bytes().replace(b"\x55\xaa", b"\0\0"))
    with pytest.raises(BootError, match="Boot failed: not a bootable disk"):
        boot_image(record(empty), options(tmp_path, timeout=1), Silent())


def test_the_signed_file_is_never_written(disk: Disk, start: Start) -> None:
    """The second run proves that the disk's program writes."""
    made = disk("writing\n", then=WRITE_SECTOR + RESET)
    before = made.read_bytes()
    for persistent in (False, True):
        with start(made, persistent=persistent) as machine:
            assert machine.wait(30) == "guest-reset"
        assert (made.read_bytes() != before) == persistent


def test_an_image_with_another_digest_is_not_booted(
    tmp_path: Path, disk: Disk, record: Record
) -> None:
    made = record(disk("hello"))
    (tmp_path / "disk.qcow2").write_bytes((tmp_path / "disk.qcow2").read_bytes() + b"\0")
    with pytest.raises(VerificationError, match=r"disk.qcow2: sha256 \w{64}, its build record has"):
        boot_image(made, options(tmp_path), Silent())
    assert not (tmp_path / "work").exists()


def test_the_report_of_an_earlier_boot_is_removed_first(
    tmp_path: Path, disk: Disk, record: Record
) -> None:
    made = record(disk("hello"))
    (tmp_path / "disk.boot.json").write_text('{"passed": true}')
    without = BootOptions(work=tmp_path / "work", environment={"PATH": str(tmp_path)})
    with pytest.raises(MissingToolError) as caught:
        boot_image(made, without, Silent())
    assert "apt-get install --no-install-recommends openssh-client" in caught.value.hint
    assert not (tmp_path / "disk.boot.json").exists()


def test_ctrl_c_stops_the_machine(disk: Disk, start: Start) -> None:
    with suppress(KeyboardInterrupt), start(disk("hello")) as machine:
        assert not machine.has_ended()
        raise KeyboardInterrupt
    assert machine.has_ended()


def test_an_error_of_qemu_is_quoted(disk: Disk, start: Start) -> None:
    context = start(disk("hello"), extra_arguments=("-device", "nonsense"))
    with pytest.raises(BootError, match="'nonsense' is not a valid device model name"), context:
        pass


def test_without_qemu_the_hint_names_the_package(tmp_path: Path, disk: Disk, start: Start) -> None:
    context = start(disk("hello"), environment={"PATH": str(tmp_path)})
    with pytest.raises(MissingToolError) as caught, context:
        pass
    assert "apt-get install --no-install-recommends qemu-system-x86`" in caught.value.hint
