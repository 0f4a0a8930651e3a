"""Run one scenario: its boots, one after the other on one disk, with their assertions."""

import re
import shutil
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from build.errors import BootError, ProcessError
from ci.boot import checks
from ci.boot.boot_image import BootOptions
from ci.boot.checks import Check, FaultRow
from ci.boot.droplet import POWER_BUTTON_SECONDS, Droplet
from ci.boot.machine import MAC, POLL_SECONDS, Hardware, Machine, running
from ci.boot.metadata import Metadata, MetadataService, render_pages
from ci.boot.scenarios.dhcp_filter import CARD_NETDEV, without_dhcp
from ci.boot.scenarios.drives import make_overlay
from ci.boot.scenarios.hardware import card_arguments, extra_arguments
from ci.boot.scenarios.observation import PROBES, BootObservation
from ci.boot.scenarios.pages import vary_pages
from ci.boot.scenarios.scenarios import PRIVATE, Boot, Scenario
from ci.boot.ssh import LOGIN_SECONDS, Client

SECOND_LOGIN_SECONDS = 90.0
"""Limit of a login with a further key: other machines may run at the same time."""
REBOOT_SECONDS = 120.0
SETTLE_SECONDS = 10.0
"""Before power-off without a login to run `sync`: ext4 commits every 5 s by itself."""


class AbortedError(Exception):
    """The run was aborted during a scenario."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioResult:
    """Result of a scenario."""

    scenario: Scenario
    checks: tuple[Check, ...]
    observations: tuple[BootObservation, ...] = ()
    """One for each boot that came up."""
    disk: Path | None = None
    seconds: float = 0.0
    logs: tuple[Path, ...] = ()
    """Console logs of its boots."""

    @property
    def row(self) -> FaultRow:
        """Row of the boot report."""
        return FaultRow(
            name=self.scenario.name,
            severity=self.scenario.severity,
            passed=all(check.passed for check in self.checks),
            expected="; ".join(f"{check.name}: {check.expected}" for check in self.checks),
            found="; ".join(f"{check.name}: {check.found}" for check in self.checks),
            seconds=self.seconds,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """Values that all scenarios of one run share."""

    image: Path
    folder: Path
    """For temporary files."""
    logs: Path
    keys: Mapping[str, str]
    """Public lines of the keys by name; the private halves are in `key_folder`."""
    options: BootOptions
    aborted: threading.Event
    first: ScenarioResult | None = None
    """Result of the first scenario, once it has run."""

    def pause(self, seconds: float) -> None:
        """Wait for `seconds`.

        Raises:
            AbortedError: the run was aborted.
        """
        if self.aborted.wait(seconds):
            raise AbortedError


def key_folder(folder: Path, name: str) -> Path:
    """Return the folder of a key below that of the run; `ssh.make_key` makes it."""
    return folder / f"key-{name}"


def run_scenario(scenario: Scenario, context: RunContext) -> ScenarioResult:
    """Run the boots of `scenario`; return the results of all assertions.

    A boot that does not come up is a failed check, not an error.

    Raises:
        MissingToolError: QEMU or another program is not installed.
        AbortedError: the run was aborted.
    """
    start = time.monotonic()
    folder = context.folder / log_name(scenario, 0)
    folder.mkdir()
    disk, below = folder / "disk.qcow2", context.image
    if scenario.starts_from == "first boot" and context.first and context.first.disk:
        below = context.first.disk
    # An overlay for each scenario: several start from the same disk, at the same time.
    make_overlay(disk, below, context.options.environment, size=scenario.disk_size)
    found: list[Check] = []
    observations: list[BootObservation] = []
    logs: list[Path] = []
    for number, boot in enumerate(scenario.boots, start=1):
        prefix = f"boot {number}: " if len(scenario.boots) > 1 else ""
        scratch = folder / str(number)
        scratch.mkdir()
        logs.append(context.logs / log_name(scenario, number))
        try:
            observation = _boot(boot, disk, scratch, context, logs[-1])
        except (BootError, ProcessError) as error:
            problem = str(error).partition("\n")[0]
            found.append(checks.compare(f"{prefix}boot", "comes up", problem))
            break
        observations.append(observation)
        found += [replace(each, name=prefix + each.name) for each in evaluate(boot, observation)]
    return ScenarioResult(
        scenario=scenario,
        checks=tuple(found),
        observations=tuple(observations),
        disk=disk,
        seconds=time.monotonic() - start,
        logs=tuple(logs),
    )


def log_name(scenario: Scenario, number: int) -> str:
    """Return the name of a boot's log; with number 0 that of the scenario's folder."""
    word = re.sub(r"[^a-z0-9]+", "-", scenario.name.lower())
    return f"{word}-{number}.log" if number else word


def evaluate(boot: Boot, observation: BootObservation) -> list[Check]:
    """Return the results of a boot's assertions."""
    return [assertion(observation) for assertion in boot.assertions]


def format_probes(boot: Boot, without: Collection[str] = ()) -> str:
    """Return the shell script of the probes of a boot, its own command `look` included."""
    probes = PROBES | ({"look": boot.look} if boot.look else {})
    return checks.format_script({name: probes[name] for name in probes if name not in without})


def configure(service: MetadataService, boot: Boot, context: RunContext) -> Metadata:
    """Serve the metadata of a boot, with its faults; return them with the lines of the keys."""
    lines = tuple(context.keys.get(key, key) for key in boot.metadata.public_keys)
    metadata = replace(boot.metadata, public_keys=lines)
    pages = vary_pages(render_pages(metadata), boot.form, boot.missing_pages)
    service.configure(metadata, boot.faults, pages)
    return metadata


def _boot(boot: Boot, disk: Path, scratch: Path, context: RunContext, log: Path) -> BootObservation:
    """Start the machine, observe it, and stop it."""
    with started(boot, disk, scratch, context, log) as (machine, service):
        return _observe(boot, machine, service, scratch, context)


@contextmanager
def started(
    boot: Boot, disk: Path, scratch: Path, context: RunContext, log: Path
) -> Iterator[tuple[Machine, MetadataService]]:
    """Return a context in which the machine of `boot` runs, with its metadata service.

    Raises:
        MissingToolError: QEMU is not installed.
        BootError: QEMU does not start.
    """
    service = MetadataService(scratch)
    metadata = configure(service, boot, context)
    hardware = Hardware(
        disk=disk.absolute(),
        droplet_id=metadata.droplet_id,
        service=service,
        accelerator=context.options.accelerator,
        persistent=True,
        vendor=boot.vendor,
        mac="" if boot.no_card else MAC,
        first_arguments=card_arguments(PRIVATE) if boot.private_card == "first" else (),
        extra_arguments=extra_arguments(boot, metadata, scratch),
    )
    with ExitStack() as stack:
        if not boot.dhcp:
            arguments = hardware.extra_arguments + stack.enter_context(without_dhcp())
            hardware = replace(hardware, netdev=CARD_NETDEV, extra_arguments=arguments)
        machine = stack.enter_context(
            running(hardware, scratch=scratch, log=log, environment=context.options.environment)
        )
        yield machine, service


def _observe(
    boot: Boot, machine: Machine, service: MetadataService, scratch: Path, context: RunContext
) -> BootObservation:
    limit = context.options.timeout + boot.extra_seconds
    if boot.cut_seconds or boot.cut_share:
        seconds = boot.cut_seconds or boot.cut_share * _boot_seconds(context)
        _wait_for_line(machine, "kernel", seconds, limit, context)
        return BootObservation(keys=context.keys, sshd_seconds=None, console=read_console(machine))
    answers: Mapping[str, str] = {}
    logins: dict[str, bool] = {}
    client = connect(boot.login_key or next(iter(context.keys)), machine, scratch, context)
    droplet = Droplet(machine, client, service, context.pause, boot.denied_seconds)
    if boot.login_key:
        droplet.wait_for_login(limit)
        sshd_seconds = droplet.logged_in
        logins[boot.login_key] = True
        for name in boot.other_keys:
            other = connect(name, machine, scratch, context)
            logins[name] = other.run("true", timeout=SECOND_LOGIN_SECONDS).status == 0
        answers = checks.read_answers(droplet.run_script(format_probes(boot)))
        # `sync` leaves a disk from which the next boot can start.
        droplet.run_script(boot.final_script.format(**context.keys) + "\nsync\n")
        if boot.reboot:
            client.run("reboot", timeout=LOGIN_SECONDS)
            machine.wait(REBOOT_SECONDS)
        if boot.power_button:
            machine.press_power_button()
            machine.wait(POWER_BUTTON_SECONDS)
    elif boot.no_card:
        _wait_for_line(machine, "sshd", SETTLE_SECONDS, limit, context)
        sshd_seconds = None
    else:
        sshd_seconds = droplet.wait_for_sshd(limit)
        context.pause(SETTLE_SECONDS)
    first = context.first.observations if context.first else ()
    return BootObservation(
        keys=context.keys,
        kernel_seconds=machine.serial.matched.get("kernel"),
        sshd_seconds=sshd_seconds,
        logins=logins,
        answers=answers,
        console=read_console(machine),
        requests=tuple(text for _, text in service.requests()),
        first_boot=first[-1] if first else None,
    )


def _boot_seconds(context: RunContext) -> float:
    """Return the time of the first boot from the start of Linux to its login."""
    assert context.first is not None
    first = context.first.observations[-1]
    return (first.sshd_seconds or 0.0) - (first.kernel_seconds or 0.0)


def _wait_for_line(
    machine: Machine, name: str, seconds: float, limit: float, context: RunContext
) -> None:
    """Wait until `seconds` after a line of the console (machine.WATCH), at most until `limit`."""
    while machine.seconds < limit:
        found = machine.serial.matched.get(name)
        if found is not None and machine.seconds >= found + seconds:
            return
        context.pause(POLL_SECONDS)


def read_console(machine: Machine) -> str:
    """Return the lines of the console so far."""
    return machine.serial.file.read_text(encoding="utf-8")


def connect(name: str, machine: Machine, scratch: Path, context: RunContext) -> Client:
    """Return a client with one of the keys, which knows no host yet."""
    # A folder for each boot and key: each has its own list of known hosts.
    folder = scratch / name
    shutil.copytree(key_folder(context.folder, name), folder)
    return Client(folder, machine.ssh_port, context.options.environment)
