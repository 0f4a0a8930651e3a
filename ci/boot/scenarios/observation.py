"""Observation of one boot of a scenario, from which its assertions are evaluated."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ci.boot.checks import read_probes

PROBES = read_probes(Path(__file__).with_name("probes.sh"))


@dataclass(frozen=True, slots=True, kw_only=True)
class BootObservation:
    """The observation of one boot."""

    keys: Mapping[str, str]
    """Public lines by the names of the keys (`scenarios.KEYS`)."""
    sshd_seconds: float | None
    """Seconds until sshd answered, or None."""
    kernel_seconds: float | None = None
    """Seconds until Linux started."""
    logins: Mapping[str, bool] = field(default_factory=dict)
    """Whether root could log in, by the name of the key."""
    answers: Mapping[str, str] = field(default_factory=dict)
    """Output of each probe."""
    console: str = ""
    requests: tuple[str, ...] = ()
    """Requests to the metadata service, each `STATUS METHOD PATH`."""
    first_boot: "BootObservation | None" = None
    """Observation of the first scenario's boot, if it ran."""

    def answer(self, probe: str) -> str:
        """Return the output of a probe, or `no answer`."""
        return self.answers.get(probe, "no answer")

    @property
    def host_keys(self) -> dict[str, str]:
        """Type of each SSH host key, by the key."""
        lines = [line.split() for line in self.answers.get("host keys", "").splitlines()]
        return {fields[1]: fields[0] for fields in lines if len(fields) > 1}
