"""Table of scenarios: the fault of each boot, and the assertions that must pass."""

import math
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, replace
from typing import Literal

from build.errors import ConfigError
from ci.boot.droplet import DENIED_SECONDS
from ci.boot.machine import GATEWAY, NAMESERVER, PUBLIC, VENDOR
from ci.boot.metadata import Interface, Metadata
from ci.boot.metadata_service import NO_FAULTS, ServiceFaults
from ci.boot.scenarios import assertions as expect
from ci.boot.scenarios.assertions import INJECTED, MIB, RUNS_FILE, Assertion

KEYS = ("given", "second", "later", "owner")
"""Made once for all scenarios. In `public_keys` a name is replaced by the key's public line."""
FIRST = "first boot"
"""Scenario whose disk and observation others start from."""
DROPLET, CLONE = 424_242_001, 424_242_002
NAME, CLONE_NAME = "droplet-1", "droplet-2"
IMAGE_NAME = "localhost"
"""Host name in the image itself."""
RUN = f"echo run >>{RUNS_FILE}\n"
SCRIPT = f"#!/bin/sh\n{RUN}"
SHELL_NAME = f"x$(touch /{INJECTED});touch /{INJECTED};`touch /{INJECTED}`"
LARGE_DISK = 3072 * MIB
LONG_WAIT = 300.0
"""Additional seconds for a boot in which the droplet waits for metadata as long as it can."""
ADD_OWNER_KEY = """\
umask 077
mkdir -p /root/.ssh
echo '{owner}' >>/root/.ssh/authorized_keys
"""
"""Adds a key of the owner's; its public line is filled in."""

PRIVATE = Interface(
    type="private",
    mac="52:54:00:5e:10:06",
    address="10.110.0.2",
    netmask="255.255.240.0",
    gateway="10.110.0.1",
)
METADATA = Metadata(
    droplet_id=DROPLET,
    hostname=NAME,
    public_keys=("given",),
    interfaces=(PUBLIC,),
    nameservers=(NAMESERVER,),
    user_data=SCRIPT,
)
CLONE_METADATA = replace(METADATA, droplet_id=CLONE, hostname=CLONE_NAME, public_keys=("later",))
SILENT = ServiceFaults(silent_seconds=math.inf)
MALFORMED = (
    "ssh-ed25519",
    "ssh-ed25519 not*base64 x",
    # A correct beginning without the key itself.
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== cut",
    "<html>404</html>",
    "ssh-rsa AAAAB3NzaC1yc2EA; touch /root/" + INJECTED,
)


def pad_script(size: int) -> str:
    """Return a script of `size` bytes whose last line is a command."""
    start, end = "#!/bin/sh\n", f"\n{RUN}"
    return start + "#".ljust(size - len(start) - len(end), "x") + end


@dataclass(frozen=True, slots=True)
class Boot:
    """One start of the machine: its faults, and the assertions about it."""

    assertions: tuple[Assertion, ...]
    _: KW_ONLY
    metadata: Metadata = METADATA
    faults: ServiceFaults = NO_FAULTS
    login_key: str = "given"
    """Key of the login that runs the probes; empty: no login is expected."""
    other_keys: tuple[str, ...] = ()
    """Further keys to try."""
    config_drive: bool = False
    """Whether there is a config drive with the same metadata."""
    private_card: bool = False
    """Whether there is a second network card."""
    dhcp: bool = True
    vendor: str = VENDOR
    final_script: str = ""
    """A shell script run at the end, with names of keys in braces."""
    reboot: bool = False
    """Whether it is rebooted from inside at the end; otherwise it is switched off after `sync`."""
    extra_seconds: float = 0.0
    """Additional time for the boot, in seconds."""
    denied_seconds: float = DENIED_SECONDS
    """How long sshd may refuse the key, in seconds."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Row of the table: one or two boots of one disk."""

    name: str
    expectation: str
    """The expected behaviour, for the documentation and the console."""
    boot: Boot
    _: KW_ONLY
    second_boot: Boot | None = None
    """A further boot of the same disk."""
    starts_from: Literal["image", "first boot"] = "image"
    """Disk at the beginning: the image, or the disk that the first scenario left."""
    compares: bool = False
    """Whether an assertion reads the observation of the first scenario."""
    disk_size: int | None = None
    """Size of a disk larger than the image, in bytes."""

    @property
    def boots(self) -> tuple[Boot, ...]:
        """All boots, in order."""
        return (self.boot, self.second_boot) if self.second_boot else (self.boot,)

    @property
    def mostly_waits(self) -> bool:
        """Whether it mostly waits, so that other scenarios can run at the same time."""
        return self.boot.extra_seconds >= LONG_WAIT

    @property
    def needs_first(self) -> bool:
        """Whether the first scenario must run before it."""
        return self.compares or self.starts_from == "first boot" or self.name == FIRST


WITH_KEY = (expect.sshd_answers(), expect.accepts("given"), expect.keys_file_has("given"))
COMPLETE = (*WITH_KEY, expect.hostname_is(NAME), expect.services_run(), expect.user_data_ran(1))
"""Assertions about a complete droplet, after any number of boots."""
WITH_NETWORK = (*COMPLETE, expect.address_is("eth0", PUBLIC), expect.default_route_is(GATEWAY))
UNNAMED = (
    *WITH_KEY,
    expect.hostname_is(IMAGE_NAME),
    expect.services_run(),
    expect.user_data_ran(1),
    expect.console_shows("host name: .* stays"),
)
"""Assertions about a droplet whose host name was refused."""
KEYS_STAY = expect.console_shows("SSH keys: .* stay")


SCENARIOS = (
    Scenario(
        FIRST,
        "boots with its keys and host name, and runs its script once",
        Boot(WITH_NETWORK, final_script=ADD_OWNER_KEY),
    ),
    Scenario(
        "metadata late by 60 s",
        "waits for the metadata and boots completely",
        Boot(
            (*COMPLETE, expect.service_replied("silent")),
            faults=ServiceFaults(silent_seconds=60),
            extra_seconds=LONG_WAIT,
        ),
    ),
    Scenario(
        "metadata late by 200 s",
        "sshd starts before the metadata; keys, host name and script follow",
        Boot(
            (*COMPLETE, KEYS_STAY),
            faults=ServiceFaults(silent_seconds=200),
            extra_seconds=LONG_WAIT,
            denied_seconds=LONG_WAIT,
        ),
    ),
    Scenario(
        "no metadata service, but a config drive",
        "boots completely from the drive",
        Boot(COMPLETE, faults=SILENT, config_drive=True, extra_seconds=LONG_WAIT),
    ),
    Scenario(
        "no metadata service, new droplet",
        "sshd starts, the console reports it; the next boot is complete",
        Boot(
            (expect.sshd_answers(), KEYS_STAY), faults=SILENT, login_key="", extra_seconds=LONG_WAIT
        ),
        second_boot=Boot(COMPLETE),
    ),
    Scenario(
        "no metadata service, known droplet",
        "nothing is lost, sshd starts, the console reports it",
        Boot(
            (*COMPLETE, expect.accepts("owner"), expect.host_keys_kept(), KEYS_STAY),
            faults=SILENT,
            other_keys=("owner",),
            extra_seconds=LONG_WAIT,
        ),
        starts_from="first boot",
    ),
    Scenario(
        "two replies with status 500",
        "retries and boots completely",
        Boot((*COMPLETE, expect.service_replied("500")), faults=ServiceFaults(errors=2)),
    ),
    Scenario(
        "connection cut half-way",
        "discards the partial reply, retries and boots completely",
        Boot((*COMPLETE, expect.service_replied("cut")), faults=ServiceFaults(cuts=2)),
    ),
    Scenario(
        "no keys in metadata",
        "the former keys stay, the console reports it",
        Boot(
            (*COMPLETE, expect.accepts("owner"), KEYS_STAY),
            metadata=replace(METADATA, public_keys=()),
            other_keys=("owner",),
        ),
        starts_from="first boot",
    ),
    Scenario(
        "malformed keys among valid ones",
        "the valid keys are installed, the console reports the others",
        Boot(
            (
                expect.accepts("given", "second"),
                expect.keys_file_has("given", "second"),
                expect.hostname_is(NAME),
                expect.services_run(),
                expect.nothing_injected(),
                expect.console_shows(f"SSH keys: .*{len(MALFORMED)}"),
            ),
            metadata=replace(METADATA, public_keys=("given", *MALFORMED, "second")),
            other_keys=("second",),
        ),
    ),
    Scenario(
        "host name with shell characters",
        "is refused and reported; keys and everything else are in place",
        Boot(
            (*UNNAMED, expect.nothing_injected()), metadata=replace(METADATA, hostname=SHELL_NAME)
        ),
    ),
    Scenario(
        "host name too long",
        "is refused and reported; keys and everything else are in place",
        Boot(UNNAMED, metadata=replace(METADATA, hostname="long" * 64)),
    ),
    Scenario(
        "user-data of 1 MiB",
        "runs to its last line",
        Boot(COMPLETE, metadata=replace(METADATA, user_data=pad_script(MIB)), extra_seconds=60),
    ),
    Scenario(
        "user-data script that fails",
        "its status is reported; everything else is in place",
        Boot(
            (*COMPLETE, expect.console_shows("user-data: .*status 7")),
            metadata=replace(METADATA, user_data=f"{SCRIPT}exit 7\n"),
        ),
    ),
    Scenario(
        "private network card",
        "gets the address of the metadata, without a gateway",
        Boot(
            (*WITH_NETWORK, expect.address_is("eth1", PRIVATE)),
            metadata=replace(METADATA, interfaces=(PUBLIC, PRIVATE)),
            private_card=True,
        ),
    ),
    Scenario(
        "reboot",
        "the script does not run again, the host keys stay",
        Boot(
            (*COMPLETE, expect.host_keys_kept(), expect.accepts("owner")),
            other_keys=("owner",),
            reboot=True,
        ),
        second_boot=Boot(
            (*COMPLETE, expect.host_keys_kept(), expect.accepts("owner")), other_keys=("owner",)
        ),
        starts_from="first boot",
    ),
    Scenario(
        "same disk, another droplet",
        "gets new host keys, name and keys; the owner's key stays",
        Boot(
            (
                expect.accepts("later", "owner"),
                expect.rejects("given"),
                expect.keys_file_has("later"),
                expect.hostname_is(CLONE_NAME),
                expect.host_keys_replaced(),
                expect.user_data_ran(2),
                expect.services_run(),
            ),
            metadata=CLONE_METADATA,
            login_key="later",
            other_keys=("owner", "given"),
        ),
        starts_from="first boot",
    ),
    Scenario(
        "another droplet, no keys in metadata",
        "the key that the owner added by hand is accepted",
        Boot(
            (
                expect.accepts("owner"),
                expect.hostname_is(CLONE_NAME),
                expect.host_keys_replaced(),
                expect.services_run(),
            ),
            metadata=replace(CLONE_METADATA, public_keys=()),
            login_key="owner",
        ),
        starts_from="first boot",
    ),
    Scenario(
        "two fresh boots",
        "have no host key in common",
        Boot((*COMPLETE, expect.host_keys_replaced())),
        compares=True,
    ),
    Scenario(
        "disk larger than the image",
        "partition and file system fill it",
        Boot((*COMPLETE, expect.disk_filled(LARGE_DISK))),
        disk_size=LARGE_DISK,
    ),
    Scenario(
        "no DHCP",
        "the address comes from the metadata, the console reports it",
        Boot(
            (*WITH_NETWORK, expect.console_shows("no address from DHCP")),
            dhcp=False,
            extra_seconds=60,
        ),
    ),
    Scenario(
        "not a droplet",
        "sends no request, does not wait, the console reports it",
        Boot(
            (
                expect.sshd_answers(),
                expect.service_not_requested(),
                expect.sshd_without_wait(),
                expect.console_shows("no droplet"),
            ),
            faults=SILENT,
            vendor="QEMU",
            login_key="",
        ),
        compares=True,
    ),
)


def select_scenarios(names: Iterable[str]) -> tuple[Scenario, ...]:
    """Return the scenarios with these names in the order of the table; without names all.

    Raises:
        ConfigError: there is no such scenario; the message lists all names.
    """
    wanted, known = set(names), [scenario.name for scenario in SCENARIOS]
    if unknown := sorted(wanted.difference(known)):
        raise ConfigError(
            f"--only {', '.join(unknown)}: no such scenario, expected one of: {'; '.join(known)}"
        )
    return tuple(scenario for scenario in SCENARIOS if scenario.name in wanted or not wanted)
