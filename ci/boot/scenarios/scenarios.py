"""Table of scenarios, read from scenarios.toml: the faults of each boot, and its assertions."""

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

KEYS = ("given", "second", "later", "owner")
"""Made once for all scenarios. In `public_keys` a name is replaced by the key's public line."""
Severity = Literal["lockout", "security", "data", "surprise"]
"""Nobody can log in; somebody can who must not; something is lost; something is not as expected."""
FIRST = "first boot"
"""Scenario whose disk and observation others start from."""
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
CARDS = {card.type: card for card in (PUBLIC, PRIVATE)}
INTERFACES = {
    "": (PUBLIC,),
    "second": (PUBLIC, PRIVATE),
    "first": (PUBLIC, PRIVATE),
    # With the addresses of QEMU's network, which leads to the service.
    "only": (replace(PUBLIC, type="private"),),
}
"""Interfaces in metadata, by `Boot.private_card`."""
METADATA = Metadata(
    droplet_id=424_242_001,
    hostname="droplet-1",
    public_keys=("given",),
    interfaces=(PUBLIC,),
    nameservers=(NAMESERVER,),
    user_data=f"#!/bin/sh\n{RUN}",
)
"""The metadata of an ordinary droplet."""
_TABLE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


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
    other_keys: Sequence[str] = ()
    """Further keys to try."""
    config_drive: bool = False
    """Whether there is a config drive with the same metadata."""
    private_card: Literal["", "second", "first", "only"] = ""
    """Whether there is a private network card, which the metadata has too, and where it is.

    `only`: the droplet has no public card, and its private network leads to the service.
    """
    no_card: bool = False
    """Whether there is no network card at all."""
    cut_seconds: float = 0.0
    """Seconds from the start of Linux to a power cut; 0: none."""
    dhcp: bool = True
    vendor: str = VENDOR
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


def _read_assertions(names: Iterable[str | list[Any]]) -> Iterator[Assertion]:
    """Yield the assertions of a list `checks`, those of named lists included."""
    for name in names:
        if isinstance(name, str) and name in _TABLE["checks"]:
            yield from _read_assertions(_TABLE["checks"][name])
            continue
        function, *words = [name] if isinstance(name, str) else name
        yield getattr(assertions, function)(*(CARDS.get(word, word) for word in words))


def _read_boot(values: Mapping[str, Any]) -> Boot:
    rest = dict(values)
    metadata = dict(rest.pop("metadata", {}))
    if size := rest.pop("script_size", None):
        metadata["user_data"] = pad_script(size)
    metadata["interfaces"] = INTERFACES[rest.get("private_card", "")]
    return Boot(
        assertions=tuple(_read_assertions(rest.pop("checks"))),
        metadata=replace(METADATA, **metadata),
        faults=ServiceFaults(**rest.pop("faults", {})),
        **rest,
    )


def _read_scenarios() -> Iterator[Scenario]:
    for row in _TABLE["scenario"]:
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
