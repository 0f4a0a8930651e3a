"""The table: in each case what is amiss at each boot, and what must hold."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from build.errors import ConfigError
from ci.boot.droplet import DENIED_SECONDS
from ci.boot.machine import GATEWAY, NAMESERVER, PUBLIC, VENDOR
from ci.boot.metadata import Interface, Metadata
from ci.boot.metadata_service import PROMPT, Manner
from ci.boot.scenarios import assertions as holds
from ci.boot.scenarios.assertions import MIB, RUNS_FILE, TRACE, Hold

KEYS = ("given", "second", "later", "owner")
"""Made for one table. In `public_keys` a name stands for the key's public line."""
FIRST = "first boot"
"""The case whose disk the others begin with that say `settled`."""
DROPLET, CLONE = 424_242_001, 424_242_002
NAME, CLONE_NAME = "droplet-1", "droplet-2"
UNTOLD_NAME = "localhost"
"""What the image itself is called."""
RUN = f"echo run >>{RUNS_FILE}\n"
SCRIPT = f"#!/bin/sh\n{RUN}"
SHELL_NAME = f"x$(touch /{TRACE});touch /{TRACE};`touch /{TRACE}`"
LARGE_DISK = 3072 * MIB
LONG_WAIT = 300.0
"""Seconds that a boot may take longer where a droplet waits for all of its patience."""
OWNER_WAS_HERE = """\
umask 077
mkdir -p /root/.ssh
echo '{owner}' >>/root/.ssh/authorized_keys
"""
"""What the owner does by hand; the key's public line goes in."""

PRIVATE = Interface(
    type="private",
    mac="52:54:00:5e:10:06",
    address="10.110.0.2",
    netmask="255.255.240.0",
    gateway="10.110.0.1",
)
TOLD = Metadata(
    droplet_id=DROPLET,
    hostname=NAME,
    public_keys=("given",),
    interfaces=(PUBLIC,),
    nameservers=(NAMESERVER,),
    user_data=SCRIPT,
)
TOLD_CLONE = replace(TOLD, droplet_id=CLONE, hostname=CLONE_NAME, public_keys=("later",))
SILENT = Manner(silent_seconds=math.inf)
MALFORMED = (
    "ssh-ed25519",
    "ssh-ed25519 not*base64 x",
    # The right beginning, and then nothing.
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== cut",
    "<html>404</html>",
    "ssh-rsa AAAAB3NzaC1yc2EA; touch /root/" + TRACE,
)


def long_script(size: int) -> str:
    """Return a script of `size` bytes whose last line does something."""
    start, end = "#!/bin/sh\n", f"\n{RUN}"
    return start + "#".ljust(size - len(start) - len(end), "x") + end


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """One start of the machine: what is amiss, and what must hold."""

    told: Metadata = TOLD
    manner: Manner = PROMPT
    holds: tuple[Hold, ...]
    log_in: str = "given"
    """The key with which the droplet is looked into; empty when nobody is let in."""
    tried: tuple[str, ...] = ()
    """Further keys that are tried."""
    drive: bool = False
    """Whether there is a config drive, which says what the service says."""
    private: bool = False
    """Whether there is a second network card."""
    dhcp: bool = True
    vendor: str = VENDOR
    afterwards: str = ""
    """A shell script at the end, with names of keys in braces."""
    restarts: bool = False
    """Whether it is restarted from inside at the end; otherwise the power goes, after `sync`."""
    longer: float = 0.0
    """Seconds that it may take longer than an ordinary boot."""
    denied: float = DENIED_SECONDS
    """Seconds that sshd may refuse the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A row of the table: boots, one after the other on one disk."""

    name: str
    promise: str
    """What must hold, for a person."""
    begins: Literal["fresh", "settled"] = "fresh"
    """With a disk as it was built, or as the first case has left it."""
    boots: tuple[Boot, ...]
    compared: bool = False
    """Whether it is judged beside the first case, though its disk is fresh."""
    disk: int | None = None
    """Bytes of a disk that is larger than the image."""
    waits: bool = False
    """Whether most of it is waiting, and other cases may be played meanwhile."""

    @property
    def needs_first(self) -> bool:
        """Whether the first case must be played before it."""
        return self.compared or self.begins == "settled" or self.name == FIRST


KEYED = (holds.sshd, holds.lets_in("given"), holds.has_keys("given"))
UP = (*KEYED, holds.is_called(NAME), holds.sound)
WHOLE = (*UP, holds.ran(1))
"""A droplet as it must be, after one boot or any number of them."""


CASES = (
    Case(
        name=FIRST,
        promise="comes up with its keys, its name, its script run once",
        boots=(
            Boot(
                holds=(*WHOLE, holds.has_address("eth0", PUBLIC), holds.one_way_out(GATEWAY)),
                afterwards=OWNER_WAS_HERE,
            ),
        ),
    ),
    Case(
        name="metadata late by 60 s",
        promise="waits for it, and comes up whole",
        boots=(
            Boot(
                manner=Manner(silent_seconds=60),
                holds=(*WHOLE, holds.was_asked("silent")),
                longer=LONG_WAIT,
            ),
        ),
        waits=True,
    ),
    Case(
        name="metadata late by 200 s",
        promise="sshd does not wait so long; keys, name and script come behind it",
        boots=(
            Boot(
                manner=Manner(silent_seconds=200),
                holds=(*WHOLE, holds.tells("SSH keys: .* stay")),
                longer=LONG_WAIT,
                denied=LONG_WAIT,
            ),
        ),
        waits=True,
    ),
    Case(
        name="metadata down, config drive there",
        promise="comes up whole from the drive",
        boots=(Boot(manner=SILENT, drive=True, holds=WHOLE, longer=LONG_WAIT),),
        waits=True,
    ),
    Case(
        name="metadata down, new droplet",
        promise="sshd is up, the console says so; the next boot brings all",
        boots=(
            Boot(
                manner=SILENT,
                holds=(holds.sshd, holds.tells("SSH keys: .* stay")),
                log_in="",
                longer=LONG_WAIT,
            ),
            Boot(holds=WHOLE),
        ),
        waits=True,
    ),
    Case(
        name="metadata down, known droplet",
        promise="nothing is lost, sshd is up, the console says so",
        begins="settled",
        boots=(
            Boot(
                manner=SILENT,
                holds=(
                    *WHOLE,
                    holds.lets_in("owner"),
                    holds.same_host_keys,
                    holds.tells("SSH keys: .* stay"),
                ),
                tried=("owner",),
                longer=LONG_WAIT,
            ),
        ),
        waits=True,
    ),
    Case(
        name="metadata answers 500, then well",
        promise="asks again, and comes up whole",
        boots=(Boot(manner=Manner(errors=2), holds=(*WHOLE, holds.was_asked("500"))),),
    ),
    Case(
        name="connection cut half-way",
        promise="half an answer is none: asks again, and comes up whole",
        boots=(Boot(manner=Manner(cuts=2), holds=(*WHOLE, holds.was_asked("cut"))),),
    ),
    Case(
        name="no keys in metadata",
        promise="the old ones stay, the console says so",
        begins="settled",
        boots=(
            Boot(
                told=replace(TOLD, public_keys=()),
                holds=(*WHOLE, holds.lets_in("owner"), holds.tells("SSH keys: .* stay")),
                tried=("owner",),
            ),
        ),
    ),
    Case(
        name="malformed keys among good ones",
        promise="the good ones are taken, the others told on the console",
        boots=(
            Boot(
                told=replace(TOLD, public_keys=("given", *MALFORMED, "second")),
                holds=(
                    holds.lets_in("given", "second"),
                    holds.has_keys("given", "second"),
                    holds.is_called(NAME),
                    holds.sound,
                    holds.no_trace,
                    holds.tells(f"SSH keys: .*{len(MALFORMED)}"),
                ),
                tried=("second",),
            ),
        ),
    ),
    Case(
        name="host name with shell characters",
        promise="is refused and told; keys and the rest are there",
        boots=(
            Boot(
                told=replace(TOLD, hostname=SHELL_NAME),
                holds=(
                    *KEYED,
                    holds.is_called(UNTOLD_NAME),
                    holds.no_trace,
                    holds.sound,
                    holds.ran(1),
                    holds.tells("host name: .* stays"),
                ),
            ),
        ),
    ),
    Case(
        name="host name too long",
        promise="is refused and told; keys and the rest are there",
        boots=(
            Boot(
                told=replace(TOLD, hostname="long" * 64),
                holds=(
                    *KEYED,
                    holds.is_called(UNTOLD_NAME),
                    holds.sound,
                    holds.ran(1),
                    holds.tells("host name: .* stays"),
                ),
            ),
        ),
    ),
    Case(
        name="user-data of 1 MiB",
        promise="runs to its last line",
        boots=(Boot(told=replace(TOLD, user_data=long_script(MIB)), holds=WHOLE, longer=60),),
    ),
    Case(
        name="user-data script that fails",
        promise="is told with its status; all else is there",
        boots=(
            Boot(
                told=replace(TOLD, user_data=f"{SCRIPT}exit 7\n"),
                holds=(*WHOLE, holds.tells("user-data: .*status 7")),
            ),
        ),
    ),
    Case(
        name="private network card",
        promise="has metadata's address, without a gateway",
        boots=(
            Boot(
                told=replace(TOLD, interfaces=(PUBLIC, PRIVATE)),
                private=True,
                holds=(
                    *WHOLE,
                    holds.has_address("eth0", PUBLIC),
                    holds.has_address("eth1", PRIVATE),
                    holds.one_way_out(GATEWAY),
                ),
            ),
        ),
    ),
    Case(
        name="reboot",
        promise="no second run of the script, the same host keys",
        begins="settled",
        boots=(
            Boot(
                holds=(*WHOLE, holds.same_host_keys, holds.lets_in("owner")),
                tried=("owner",),
                restarts=True,
            ),
            Boot(
                holds=(*WHOLE, holds.same_host_keys, holds.lets_in("owner")),
                tried=("owner",),
            ),
        ),
    ),
    Case(
        name="same disk, another droplet",
        promise="all is new: host keys, name, keys; the owner's own stay",
        begins="settled",
        boots=(
            Boot(
                told=TOLD_CLONE,
                log_in="later",
                holds=(
                    holds.lets_in("later", "owner"),
                    holds.keeps_out("given"),
                    holds.has_keys("later"),
                    holds.is_called(CLONE_NAME),
                    holds.new_host_keys,
                    holds.ran(2),
                    holds.sound,
                ),
                tried=("owner", "given"),
            ),
        ),
    ),
    Case(
        name="another droplet, told no keys",
        promise="the key that the owner added by hand opens",
        begins="settled",
        boots=(
            Boot(
                told=replace(TOLD_CLONE, public_keys=()),
                log_in="owner",
                holds=(
                    holds.lets_in("owner"),
                    holds.is_called(CLONE_NAME),
                    holds.new_host_keys,
                    holds.sound,
                ),
            ),
        ),
    ),
    Case(
        name="two fresh boots",
        promise="have no host key in common",
        boots=(Boot(holds=(*WHOLE, holds.new_host_keys)),),
        compared=True,
    ),
    Case(
        name="disk larger than the image",
        promise="partition and file system fill it",
        boots=(Boot(holds=(*WHOLE, holds.fills(LARGE_DISK))),),
        disk=LARGE_DISK,
    ),
    Case(
        name="no DHCP",
        promise="the address comes from metadata, the console says so",
        boots=(
            Boot(
                dhcp=False,
                holds=(
                    *WHOLE,
                    holds.has_address("eth0", PUBLIC),
                    holds.one_way_out(GATEWAY),
                    holds.tells("no address from DHCP"),
                ),
                longer=60,
            ),
        ),
    ),
    Case(
        name="not a droplet",
        promise="asks nobody, waits for nothing, the console says so",
        boots=(
            Boot(
                manner=SILENT,
                vendor="QEMU",
                log_in="",
                holds=(holds.sshd, holds.never_asked, holds.soon, holds.tells("no droplet")),
            ),
        ),
        compared=True,
    ),
)


def cases_called(names: Iterable[str]) -> tuple[Case, ...]:
    """Return the cases with these names in the order of the table; without names all of them.

    Raises:
        ConfigError: there is no such case; the message lists those that there are.
    """
    wanted, known = set(names), {case.name for case in CASES}
    if unknown := sorted(wanted - known):
        raise ConfigError(
            f"--only {', '.join(unknown)}: no such case, expected one of: "
            + "; ".join(case.name for case in CASES)
        )
    return tuple(case for case in CASES if case.name in wanted or not wanted)
