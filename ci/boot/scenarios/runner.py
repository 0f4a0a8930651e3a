"""One case: its boots, one after the other on one disk, each looked at and judged."""

import re
import shutil
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from build.errors import BootError, ProcessError
from ci.boot import checks
from ci.boot.boot_image import BootOptions
from ci.boot.checks import Check, Fault
from ci.boot.droplet import BANNER_SECONDS, LOGIN_SECONDS, POLL_SECONDS, Droplet
from ci.boot.machine import Hardware, Machine, running
from ci.boot.metadata import Metadata, Service
from ci.boot.scenarios.assertions import QUESTIONS, Seen, of_boot
from ci.boot.scenarios.dhcp_filter import CARD_END, without_dhcp
from ci.boot.scenarios.drives import make_config_drive, make_overlay
from ci.boot.scenarios.scenarios import PRIVATE, Boot, Case
from ci.boot.ssh import Client

TRY_SECONDS = 90.0
"""For one login: other machines may keep this one busy."""
SETTLE_SECONDS = 10.0
"""Before the power goes where nobody can log in to say `sync`: ext4 writes every 5 s by itself."""


class GivenUpError(Exception):
    """The table was left while this case was being played."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key made for one table."""

    folder: Path
    """With the private half, as `ssh.make_key` leaves it."""
    line: str
    """The public half, as in an authorized_keys file."""


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a case."""

    checks: tuple[Check, ...]
    seen: tuple[Seen, ...]
    """Of each boot that came up."""
    disk: Path
    seconds: float

    def row(self, name: str) -> Fault:
        """Return the line of the boot report."""
        return Fault(
            name=name,
            passed=all(check.passed for check in self.checks),
            expected="; ".join(f"{check.name}: {check.expected}" for check in self.checks),
            found="; ".join(f"{check.name}: {check.found}" for check in self.checks),
            seconds=self.seconds,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What all cases of one table have in common."""

    image: Path
    folder: Path
    """For what is deleted afterwards."""
    logs: Path
    keys: Mapping[str, Key]
    here: BootOptions
    given_up: threading.Event
    first: Played | None = None
    """What came of the first case, once it was played."""

    def pause(self, seconds: float) -> None:
        """Wait.

        Raises:
            GivenUpError: the table is left.
        """
        if self.given_up.wait(seconds):
            raise GivenUpError


def play(case: Case, stage: Stage) -> Played:
    """Boot as `case` says; return whether everything holds that must.

    A boot that does not come up is a check that does not hold, not an error.

    Raises:
        MissingToolError: QEMU or another program is not on this machine.
        GivenUpError: the table is left.
    """
    start = stage.here.clock()
    folder = stage.folder / log_name(case, 0)
    folder.mkdir()
    disk = folder / "disk.qcow2"
    below = stage.first.disk if case.begins == "settled" and stage.first else stage.image
    make_overlay(disk, below, stage.here.environment, size=case.disk)
    found: list[Check] = []
    seen: list[Seen] = []
    for number, boot in enumerate(case.boots, start=1):
        place = folder / str(number)
        place.mkdir()
        try:
            one = _boot(boot, disk, place, stage, stage.logs / log_name(case, number))
        except (BootError, ProcessError) as error:
            failed = checks.compare("boot", "comes up", str(error).partition("\n")[0])
            found.append(of_boot(number, failed))
            break
        seen.append(one)
        found += [of_boot(number, hold(one)) for hold in boot.holds]
    if len(case.boots) == 1:
        found = [replace(check, name=check.name.removeprefix("boot 1: ")) for check in found]
    return Played(tuple(found), tuple(seen), disk, stage.here.clock() - start)


def log_name(case: Case, number: int) -> str:
    """Return the name of a boot's log, and with 0 that of the case's folder."""
    word = re.sub(r"[^a-z0-9]+", "-", case.name.lower())
    return f"{word}-{number}.log" if number else word


def _boot(boot: Boot, disk: Path, place: Path, stage: Stage, log: Path) -> Seen:
    """Switch on, look, switch off."""
    told = _told(boot.told, stage.keys)
    service = Service(place)
    service.tell(told, boot.manner)
    with ExitStack() as stack:
        hardware = Hardware(
            disk=disk.absolute(),
            droplet_id=told.droplet_id,
            service=service,
            accelerator=stage.here.accelerator,
            keeps_writes=True,
            vendor=boot.vendor,
        )
        hardware = _equipped(hardware, boot, told, place, stage, stack)
        machine = stack.enter_context(
            running(
                hardware,
                scratch=place,
                log=log,
                clock=stage.here.clock,
                environment=stage.here.environment,
            )
        )
        return _look(boot, told, machine, service, place, stage)


def _told(told: Metadata, keys: Mapping[str, Key]) -> Metadata:
    lines = tuple(keys[word].line if word in keys else word for word in told.public_keys)
    return replace(told, public_keys=lines)


def _equipped(
    hardware: Hardware, boot: Boot, told: Metadata, place: Path, stage: Stage, stack: ExitStack
) -> Hardware:
    more: list[str] = []
    if boot.private:
        # A hub with one card: a network on which nobody else is.
        more += ["-netdev", "hubport,id=n1,hubid=1"]
        more += ["-device", f"virtio-net-pci,netdev=n1,mac={PRIVATE.mac},romfile="]
    if boot.drive:
        image = place / "config.iso"
        make_config_drive(image, told)
        path = str(image.absolute()).replace(",", ",,")
        more += ["-drive", f"if=none,id=config,format=raw,read-only=on,file={path}"]
        more += ["-device", "virtio-blk-pci,drive=config"]
    if not boot.dhcp:
        hardware = replace(hardware, card_on=CARD_END)
        more += stack.enter_context(without_dhcp())
    return replace(hardware, more=tuple(more))


def _look(
    boot: Boot, told: Metadata, machine: Machine, service: Service, place: Path, stage: Stage
) -> Seen:
    limit = stage.here.timeout + boot.longer
    answers: Mapping[str, str] = {}
    let_in: dict[str, bool] = {}
    sshd: float | None = None
    if boot.log_in:
        client = _client(boot.log_in, machine, place, stage)
        droplet = Droplet(machine, client, service, stage.pause, denied_seconds=boot.denied)
        droplet.wait_for_login(limit)
        sshd = machine.seconds
        let_in[boot.log_in] = True
        for name in boot.tried:
            other = _client(name, machine, place, stage)
            let_in[name] = other.run("true", timeout=TRY_SECONDS).status == 0
        answers = checks.read_answers(droplet.ask(checks.script(QUESTIONS)))
        _end(boot, droplet, stage)
    else:
        sshd = _wait_for_sshd(machine, next(iter(stage.keys)), limit, place, stage)
        stage.pause(SETTLE_SECONDS)
    return Seen(
        told=told,
        keys={name: key.line for name, key in stage.keys.items()},
        sshd=sshd,
        let_in=let_in,
        answers=answers,
        console=machine.serial.file.read_text(encoding="utf-8"),
        requests=tuple(text for _, text in service.requests()),
        settled=stage.first.seen[-1] if stage.first and stage.first.seen else None,
    )


def _end(boot: Boot, droplet: Droplet, stage: Stage) -> None:
    """Do what is done last, and leave a disk that another boot can begin with."""
    lines = {name: key.line for name, key in stage.keys.items()}
    droplet.ask(boot.afterwards.format(**lines) + "\nsync\n")
    if boot.restarts:
        droplet.client.run("reboot", timeout=LOGIN_SECONDS)
        droplet.machine.wait(120)


def _client(name: str, machine: Machine, place: Path, stage: Stage) -> Client:
    # A folder for each boot and key: each has its own list of known hosts.
    folder = place / name
    shutil.copytree(stage.keys[name].folder, folder)
    return Client(folder, machine.ssh_port, stage.here.environment)


def _wait_for_sshd(
    machine: Machine, key: str, limit: float, place: Path, stage: Stage
) -> float | None:
    """Return the seconds until sshd answers, or None when it does not by `limit`."""
    client = _client(key, machine, place, stage)
    while machine.seconds < limit and not machine.has_ended():
        if client.banner(timeout=BANNER_SECONDS, hopeless=machine.has_ended):
            return machine.seconds
        stage.pause(POLL_SECONDS)
    return None
