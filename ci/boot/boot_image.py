"""The walk: build record -> droplet -> checks -> boot report (read me first)."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from build.edges.files import hash_file
from build.edges.process import PLAIN
from build.edges.progress import Progress
from build.errors import BootError, ConfigError, VerificationError
from ci.boot import checks
from ci.boot.checks import BootReport, Check, report_path, write_report
from ci.boot.droplet import Droplet
from ci.boot.machine import NAMESERVER, PUBLIC, Hardware, Machine, running
from ci.boot.metadata import Metadata, Service, document
from ci.boot.ssh import Client, make_key
from ci.release.checkout import read_record

LAST_LINES = 40
STARVED = "IO-APIC + timer doesn't work"
"""What Linux says in an emulator that got no processor time while the timer was tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BootOptions:
    """Where a boot takes place, and how long it may take."""

    work: Path
    """Folder for the console's log, and for what is deleted afterwards."""
    accelerator: str = "tcg"
    timeout: float = 300.0
    """Seconds from the start to the first login."""
    keep: bool = False
    """Leave the droplet to a person, until it is switched off from inside."""
    clock: Callable[[], float] = time.monotonic
    environment: Mapping[str, str] = field(default_factory=lambda: PLAIN)


def boot_image(
    record_path: Path, here: BootOptions, progress: Progress, *, image: Path | None = None
) -> BootReport:
    """Boot the image of a build record as a droplet; return what was found, as written beside it.

    `image` is another file with the same bytes: one that was downloaded. A check that does not
    hold is a line of the report, not an error.

    Raises:
        VerificationError: the image is not the one that the record names.
        BootError: it does not come up or go down; the report says so too.
        MissingToolError: QEMU or ssh are not on this machine.
    """
    record = read_record(record_path)
    disk = checked_disk(record, image or record_path.parent / record["image"]["file"])
    # What an earlier boot found must not stand beside an image that fails today.
    report_path(record_path).unlink(missing_ok=True)
    here.work.mkdir(parents=True, exist_ok=True)
    try:
        return _boot(record_path, record, disk, here, progress)
    except BootError as error:
        if here.accelerator != "tcg" or STARVED not in str(error):
            raise
        progress.note("this machine gave the emulator too little time to begin: once more")
    return _boot(record_path, record, disk, here, progress)


def _boot(
    record_path: Path,
    record: Mapping[str, Any],
    disk: Path,
    here: BootOptions,
    progress: Progress,
) -> BootReport:
    """Boot `disk` once, and write the report of it."""
    log = here.work / f"{disk.stem}.log"
    with TemporaryDirectory(prefix="boot-", dir=here.work.absolute()) as folder:
        metadata = given(record, make_key(Path(folder), here.environment))
        service = Service(Path(folder))
        service.tell(metadata)
        hardware = Hardware(
            disk=disk.absolute(),
            droplet_id=metadata.droplet_id,
            service=service,
            accelerator=here.accelerator,
        )
        with running(
            hardware,
            scratch=Path(folder),
            log=log,
            clock=here.clock,
            environment=here.environment,
        ) as machine:
            client = Client(Path(folder), machine.ssh_port, here.environment)
            droplet = Droplet(machine, client, service)
            steps = visit(droplet, record, metadata, here, progress)
            report, problem = _observed(steps, droplet, record, metadata, here)
            write_report(record_path, report)
            if problem is not None:
                raise with_console(disk, problem, machine) from None
    return report


def given(record: Mapping[str, Any], public_key: str) -> Metadata:
    """Return what a droplet is told at a boot of `record`'s image: no two images the same."""
    digest = record["image"]["sha256"]
    return Metadata(
        droplet_id=int(digest[:7], 16),
        hostname=f"{record['variant']}-{digest[:12]}",
        public_keys=(public_key,),
        interfaces=(PUBLIC,),
        nameservers=(NAMESERVER,),
        tags=("snowdrop",),
    )


def visit(
    droplet: Droplet,
    record: Mapping[str, Any],
    metadata: Metadata,
    here: BootOptions,
    progress: Progress,
) -> Iterator[Check]:
    """Yield each check as soon as it is known, from the first login to the end of the machine.

    Raises:
        BootError: it does not come up or go down.
    """
    with progress.step(f"Boot as droplet {metadata.hostname}", unit=""):
        droplet.wait_for_login(here.timeout)
    with progress.step("Check the droplet", unit=""):
        answers = checks.read_answers(droplet.ask(checks.script()))
        yield from checks.judge(answers, record, metadata)
        yield checks.key_only(droplet.refusal())
    if here.keep:
        progress.note(f"Log in with: {droplet.client.shown()}")
        progress.note("`poweroff` in there ends the boot, Ctrl-C here gives it up")
        yield checks.shutdown(droplet.machine.wait(None))
        return
    with progress.step("Switch off", unit=""):
        yield checks.shutdown(droplet.switch_off())


def with_console(disk: Path, error: BootError, machine: Machine) -> BootError:
    """Return `error` with the end of what the machine wrote, and where all of it is."""
    lines = machine.serial.last_lines(LAST_LINES) or ["(nothing)"]
    return BootError(
        f"{disk.name}: {error}; the console, whole in {machine.serial.file}, ends with\n"
        + "\n".join(lines),
        hint=error.hint,
    )


def checked_disk(record: Mapping[str, Any], disk: Path) -> Path:
    """Return `disk`, whose bytes are those that a build record names.

    Raises:
        VerificationError: they are not.
        ConfigError: there is no such file.
    """
    try:
        digest = hash_file(disk).sha256
    except OSError as error:
        raise ConfigError(f"{disk}: {error.strerror}", hint="run `nox -s build`") from None
    if digest != record["image"]["sha256"]:
        raise VerificationError(
            f"{disk}: sha256 {digest}, its build record says {record['image']['sha256']}",
            hint="run `nox -s build` again",
        )
    return disk


def _observed(
    steps: Iterator[Check],
    droplet: Droplet,
    record: Mapping[str, Any],
    metadata: Metadata,
    here: BootOptions,
) -> tuple[BootReport, BootError | None]:
    """Return the report of all that was seen, and what broke it off."""
    found: list[Check] = []
    problem = None
    try:
        found.extend(steps)
    except BootError as error:
        problem = error
    report = BootReport(
        image_file=record["image"]["file"],
        image_sha256=record["image"]["sha256"],
        accelerator=here.accelerator,
        qemu=droplet.machine.version,
        metadata=document(metadata),
        checks=tuple(found),
        seconds=droplet.seconds(),
        error=str(problem or ""),
    )
    return report, problem
