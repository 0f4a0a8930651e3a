"""Tables of scenarios, scenarios.toml and restarts.toml: faults and assertions of each boot."""

import base64
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from build.errors import ConfigError
from ci.boot.droplet import DENIED_SECONDS
from ci.boot.machine import NAMESERVER, PUBLIC, VENDOR
from ci.boot.metadata import Interface, Metadata
from ci.boot.metadata_service import NO_FAULTS, ServiceFaults
from ci.boot.scenarios import assertions
from ci.boot.scenarios.assertions import Assertion
from ci.boot.scenarios.pages import Form

KEYS = ("given", "second", "later", "owner")
"""Made once for all scenarios. In `public_keys` a name is replaced by the key's public line."""
Severity = Literal["lockout", "security", "data", "surprise"]
"""Nobody can log in; somebody can who must not; something is lost; something is not as expected."""
FIRST = "first boot"
"""Scenario whose disk and observation others start from."""
RUNNING = "running droplet"
"""Value of `starts_from` of the scenarios that share a droplet, which is not booted again."""
RUN = "echo run >>/root/runs\n"
"""Last line of each user-data script; the probe `runs` reads the file."""
LONG_WAIT = 300.0
"""Scenarios with so many additional seconds wait for metadata most of the time."""
PRIVATE = Interface(
    type="private",
    mac="52:54:00:5e:10:06",
    address="10.110.0.2",
    netmask="255.255.240.0",
    gateway="10.110.0.1",
)
TWELVE = tuple(
    replace(PRIVATE, mac=f"52:54:00:5e:11:{number:02x}", address=f"10.110.{number}.2")
    for number in range(1, 13)
)
INTERFACES = {
    "": (PUBLIC,),
    "second": (PUBLIC, PRIVATE),
    "first": (PUBLIC, PRIVATE),
    # With the addresses of QEMU's network, which leads to the service.
    "only": (replace(PUBLIC, type="private"),),
    "alone": (replace(PUBLIC, type="private", netmask="255.255.255.255"),),
    "twelve": (PUBLIC, *TWELVE),
}
"""Interfaces in metadata, by `Boot.private_card`."""
CARDS = {
    "public": PUBLIC,
    "private": PRIVATE,
    "alone": INTERFACES["alone"][0],
    "first": TWELVE[0],
    "twelfth": TWELVE[-1],
}
"""Cards by their names in the tables' checks."""
METADATA = Metadata(
    droplet_id=424_242_001,
    hostname="droplet-1",
    public_keys=("given",),
    interfaces=(PUBLIC,),
    nameservers=(NAMESERVER,),
    user_data=f"#!/bin/sh\n{RUN}",
)
"""The metadata of an ordinary droplet."""
_FOLDER = Path(__file__).parent
_TABLES = [
    tomllib.loads((_FOLDER / name).read_text(encoding="utf-8"))
    for name in ("scenarios.toml", "restarts.toml")
]
_CHECKS = {name: checks for table in _TABLES for name, checks in table["checks"].items()}
RESET = (_FOLDER / "reset.sh").read_text(encoding="utf-8")


def pad_script(size: int) -> str:
    """Return a script of `size` bytes whose last line is a command."""
    start, end = "#!/bin/sh\n", f"\n{RUN}"
    return start + "#".ljust(size - len(start) - len(end), "x") + end


def make_rsa_lines(count: int) -> tuple[str, ...]:
    """Return `count` public lines of the size of RSA keys of 4096 bits; nobody has their keys."""
    # RFC 4253, 6.6: the words ssh-rsa, e and n, each behind its length in 4 bytes.
    return tuple(
        "ssh-rsa "
        + base64.b64encode(
            b"".join(
                len(word).to_bytes(4, "big") + word
                for word in (b"ssh-rsa", b"\1\0\1", b"\0" + bytes([128 + number]) * 512)
            )
        ).decode()
        + f" key-{number}"
        for number in range(count)
    )


@dataclass(frozen=True, slots=True)
class Boot:
    """One start of the machine: its faults, and the assertions about it."""

    assertions: tuple[Assertion, ...]
    _: KW_ONLY
    metadata: Metadata = METADATA
    faults: ServiceFaults = NO_FAULTS
    login_key: str = "given"
    """Key of the login that runs the probes; empty: no login is expected."""
    other_keys: Sequence[str] = ()
    """Further keys to try."""
    config_drive: bool = False
    """Whether there is a config drive with the same metadata."""
    form: Form = ""
    """Form of the service's pages."""
    missing_pages: Sequence[str] = ()
    """Names of pages that the service does not have."""
    private_card: Literal["", "second", "first", "only", "alone", "twelve"] = ""
    """Whether there is a private network card, which the metadata has too, and where it is.

    `only`: the droplet has no public card, and its private network leads to the service. `alone`:
    the same, and its network has no other address. `twelve`: there are so many, besides the
    public card.
    """
    no_card: bool = False
    """Whether there is no network card at all."""
    cut_seconds: float = 0.0
    """Seconds from the start of Linux to a power cut; 0: none."""
    cut_share: float = 0.0
    """The same as a share of the time from the start of Linux to the login of the first boot."""
    dhcp: bool = True
    vendor: str = VENDOR
    prepare: str = ""
    """A shell script run before the service is restarted, with names of keys in braces."""
    look: str = ""
    """A shell command that is run with the probes, as the probe `look`."""
    final_script: str = ""
    """A shell script run at the end, with names of keys in braces."""
    reboot: bool = False
    """Whether it is rebooted from inside at the end; otherwise it is switched off after `sync`."""
    power_button: bool = False
    """Whether the power button is pressed at the end, and the machine must switch itself off."""
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
    severity: Severity
    """What a droplet that fails here means for its owner."""
    second_boot: Boot | None = None
    """A further boot of the same disk."""
    starts_from: Literal["image", "first boot", "running droplet"] = "image"
    """Disk at the beginning: the image, or the disk that the first scenario left.

    `running droplet`: nothing is booted. On a droplet that runs, the state of the service is
    removed (reset.sh), the metadata is replaced, and the service is started again.
    """
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
        return self.compares or self.starts_from != "image" or self.name == FIRST


def _read_assertions(names: Iterable[str | list[Any]]) -> Iterator[Assertion]:
    """Yield the assertions of a list `checks`, those of named lists included."""
    for name in names:
        if isinstance(name, str) and name in _CHECKS:
            yield from _read_assertions(_CHECKS[name])
            continue
        function, *words = [name] if isinstance(name, str) else name
        yield getattr(assertions, function)(*(CARDS.get(word, word) for word in words))


def _read_boot(values: Mapping[str, Any]) -> Boot:
    rest = dict(values)
    metadata = dict(rest.pop("metadata", {}))
    if size := rest.pop("script_size", None):
        metadata["user_data"] = pad_script(size)
    if count := rest.pop("rsa_keys", 0):
        metadata["public_keys"] = (*make_rsa_lines(count), *METADATA.public_keys)
    cards = INTERFACES[rest.get("private_card", "")]
    metadata["interfaces"] = tuple(
        replace(card, address6=metadata.pop("address6", "")) for card in cards
    )
    return Boot(
        assertions=tuple(_read_assertions(rest.pop("checks"))),
        metadata=replace(METADATA, **metadata),
        faults=ServiceFaults(**rest.pop("faults", {})),
        **rest,
    )


def _read_scenarios() -> Iterator[Scenario]:
    for row in (row for table in _TABLES for row in table["scenario"]):
        boots = {key: _read_boot(row[key]) for key in ("boot", "second_boot") if key in row}
        yield Scenario(**row | boots)


SCENARIOS = tuple(_read_scenarios())


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
