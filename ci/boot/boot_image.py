"""Boot an image as a droplet: build record -> droplet -> checks -> boot report (read first)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from build.edges.files import hash_file
from build.edges.process import PLAIN
from build.edges.progress import Progress
from build.edges.temporary import temporary_folder
from build.errors import BootError, ConfigError, VerificationError
from ci.boot import checks
from ci.boot.checks import BootReport, Check, report_path, write_report
from ci.boot.direct_start import direct_start
from ci.boot.droplet import Droplet
from ci.boot.machine import NAMESERVER, PUBLIC, Hardware, Machine, running
from ci.boot.metadata import Metadata, MetadataService, render_json
from ci.boot.ports import read_ports
from ci.boot.ssh import Client, make_key
from ci.boot.timing import read_service_times
from ci.release.checkout import read_record

CONSOLE_LINES = 40
TIMER_PANIC = "IO-APIC + timer doesn't work"
"""Panic of Linux in an emulator that got no processor time while the kernel tested the timer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BootOptions:
    """Options of every boot."""

    work: Path
    """Folder for the console's log and for temporary files."""
    accelerator: str = "tcg"
    timeout: float = 300.0
    """Seconds from the start to the first login."""
    keep: bool = False
    """Leave the droplet running until it is powered off from inside."""
    environment: Mapping[str, str] = field(default_factory=lambda: PLAIN)


def boot_image(
    record_path: Path, options: BootOptions, progress: Progress, *, image: Path | None = None
) -> BootReport:
    """Boot the image of a build record as a droplet; write the boot report and return it.

    `image` is another file with the same bytes, such as a downloaded one. A failed check is a
    line of the report, not an error.

    Raises:
        VerificationError: the image does not have the digest of the record.
        BootError: it does not boot or does not shut down; the report has the reason too.
        MissingToolError: QEMU or ssh is not installed.
    """
    record = read_record(record_path)
    disk = verify_disk(record, image or record_path.parent / record["image"]["file"])
    # The report of an earlier boot must not remain beside an image that fails now.
    report_path(record_path).unlink(missing_ok=True)
    options.work.mkdir(parents=True, exist_ok=True)
    try:
        return _boot(record_path, record, disk, options, progress)
    except BootError as error:
        if options.accelerator == "kvm" or TIMER_PANIC not in str(error):
            raise
        progress.note("the emulator got too little processor time for the timer test: boot again")
    return _boot(record_path, record, disk, options, progress)


def verify_disk(record: Mapping[str, Any], disk: Path) -> Path:
    """Return `disk` if it has the sha256 of the build record.

    Raises:
        VerificationError: it has another one.
        ConfigError: there is no such file.
    """
    try:
        digest = hash_file(disk).sha256
    except OSError as error:
        raise ConfigError(f"{disk}: {error.strerror}", hint="run `nox -s build`") from None
    if digest != record["image"]["sha256"]:
        raise VerificationError(
            f"{disk}: sha256 {digest}, its build record has {record['image']['sha256']}",
            hint="run `nox -s build` again",
        )
    return disk


def metadata_for(record: Mapping[str, Any], public_key: str) -> Metadata:
    """Return the metadata of a droplet of `record`'s image; it differs from image to image."""
    digest = record["image"]["sha256"]
    return Metadata(
        droplet_id=int(digest[:7], 16),
        hostname=f"{record['variant']}-{digest[:12]}",
        public_keys=(public_key,),
        interfaces=(PUBLIC,),
        nameservers=(NAMESERVER,),
        tags=("snowdrop",),
    )


def _boot(
    record_path: Path,
    record: Mapping[str, Any],
    disk: Path,
    options: BootOptions,
    progress: Progress,
) -> BootReport:
    """Boot `disk` once, and write the report."""
    with temporary_folder("boot-", options.work.absolute()) as folder:
        scratch, log = folder, options.work / f"{disk.stem}.log"
        metadata = metadata_for(record, make_key(scratch, options.environment))
        service = MetadataService(scratch)
        service.configure(metadata)
        hardware = Hardware(
            disk=disk.absolute(),
            droplet_id=metadata.droplet_id,
            service=service,
            accelerator=options.accelerator,
            extra_arguments=direct_start(disk, scratch) if options.accelerator == "icount" else (),
        )
        with running(
            hardware, scratch=scratch, log=log, environment=options.environment
        ) as machine:
            client = Client(scratch, machine.ssh_port, options.environment)
            droplet = Droplet(machine, client, service)
            found: list[Check] = []
            problem = None
            try:
                found.extend(_run_checks(droplet, record, metadata, options, progress))
            except BootError as error:
                problem = error
            report = BootReport(
                image_file=record["image"]["file"],
                image_sha256=record["image"]["sha256"],
                accelerator=options.accelerator,
                qemu=machine.version,
                metadata=render_json(metadata),
                checks=tuple(found),
                seconds=droplet.seconds(),
                services=droplet.services,
                ports=droplet.ports,
                error=str(problem or ""),
            )
            write_report(record_path, report)
            if problem is not None:
                raise _with_console(disk, problem, machine) from None
    return report


def _run_checks(
    droplet: Droplet,
    record: Mapping[str, Any],
    metadata: Metadata,
    options: BootOptions,
    progress: Progress,
) -> Iterator[Check]:
    """Yield each check as soon as it is known, from the first login to the machine's end."""
    with progress.step(f"Boot as droplet {metadata.hostname}", unit=""):
        droplet.wait_for_login(options.timeout)
    with progress.step("Check the droplet", unit=""):
        answers = checks.read_answers(droplet.run_script(checks.format_script()))
        droplet.services = read_service_times(answers.get("service times", ""))
        droplet.ports = read_ports(answers.get("sockets", ""))
        yield from checks.check_answers(answers, record, metadata)
        yield checks.check_login_without_key(droplet.client.error_without_key())
    if options.keep:
        progress.note(f"Log in with: {droplet.client.format_command()}")
        progress.note("`poweroff` in the droplet ends the boot, Ctrl-C here aborts it")
        yield checks.check_shutdown(droplet.machine.wait(None))
        return
    with progress.step("Press the power button", unit=""):
        yield checks.check_power_button(switches_off=droplet.press_power_button())
    with progress.step("Power off", unit=""):
        yield checks.check_shutdown(droplet.power_off())


def _with_console(disk: Path, error: BootError, machine: Machine) -> BootError:
    """Return `error` with the last lines of the console and the path of its log."""
    lines = machine.serial.last_lines(CONSOLE_LINES) or ["(nothing)"]
    return BootError(
        f"{disk.name}: {error}; the console, whole in {machine.serial.file}, ends with\n"
        + "\n".join(lines),
        hint=error.hint,
    )
