"""Checks of a booted droplet, and the boot report.

To change the checks of a normal boot, add a command to probes.sh, and a check of its output
to `check_answers`. One login runs all probes (`format_script`); their output is checked as text.
Each check states the expected and the found value, so that each line of the report is complete.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from build.edges.files import write_file
from ci.boot.metadata import Metadata
from ci.boot.timing import ServiceTime

FORMAT = 1
BUILD, BOOT = ".build.json", ".boot.json"
MOMENTS = ("kernel", "network", "ssh", "power button", "shutdown")
"""First line of the kernel, first request to the metadata service, first login: each in seconds
since QEMU was started; and the duration of a shutdown by the power button and by `poweroff`."""
MARKER = "@@snowdrop"
RC_WAIT_SECONDS = 60
"""Limit from the first login until OpenRC has started the runlevel."""


def read_probes(file: Path) -> dict[str, str]:
    """Return the commands in a probes.sh by the names in its lines `## NAME`."""
    parts = re.split(r"^## (.+)\n", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}


PROBES = read_probes(Path(__file__).with_name("probes.sh"))


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the boot report."""

    name: str
    passed: bool
    expected: str
    found: str


def compare(name: str, expected: str, found: str) -> Check:
    """Return a check that passes when `found` equals `expected`."""
    return Check(name, expected == found, expected, found)


def format_script(probes: Mapping[str, str] = PROBES) -> str:
    """Return the shell script that runs every probe, for `sh -s` on the droplet.

    It waits first until OpenRC has started all services: sshd is not the last one.
    """
    # A limit: a service that hangs must fail its check, not the boot.
    lines = [
        "n=0",
        f"while [ -e /run/openrc/rc.starting ] && [ $n -lt {RC_WAIT_SECONDS} ]; do",
        "  sleep 1; n=$((n + 1))",
        "done",
    ]
    for name, command in probes.items():
        lines += [f"echo '{MARKER} {name}'", "{", command, "} </dev/null 2>&1"]
    return "\n".join([*lines, f"echo '{MARKER} end'", ""])


def read_answers(output: str) -> dict[str, str]:
    """Return the output of each probe by its name; a probe that did not run is absent."""
    parts = re.split(rf"^{MARKER} (.+)\n", output, flags=re.MULTILINE)
    return {name: text.strip("\n") for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def check_answers(
    answers: Mapping[str, str], record: Mapping[str, Any], metadata: Metadata
) -> tuple[Check, ...]:
    """Return all checks of the probes' output.

    `record` is the build record of the image, `metadata` that of the metadata service.
    """
    answers = {name: answers.get(name, "no answer") for name in PROBES}
    release = _parse_settings(answers["release"])
    no_value = f"nothing in /etc/snowdrop-release: {_first_line(answers['release'])}"
    return (
        compare("login", "root", answers["user"]),
        compare("host name", metadata.hostname, answers["host name"]),
        _network(answers, metadata),
        _distribution(answers, record["branch"]),
        compare("release version", record["version"], release.get("VERSION", no_value)),
        compare("release commit", record["source"]["commit"], release.get("COMMIT", no_value)),
        compare("release lock", record["lock"]["id"], release.get("LOCK", no_value)),
        _services(answers),
        _root(answers),
        _passwords(answers),
        _host_keys(answers, epoch=record["epoch"]),
        Check("kernel", answers["kernel"].startswith("Linux "), "Linux", answers["kernel"]),
    )


def check_login_without_key(error: str) -> Check:
    """Return the check of the methods that sshd offers to a client without a key (RFC 4252, 5.1).

    `error` is the message of such a client.
    """
    methods = re.search(r"Permission denied \((.*)\)", error)
    return compare("login without a key", "publickey", methods[1] if methods else error)


def _first_line(text: str) -> str:
    return text.partition("\n")[0] or "nothing"


def _parse_settings(text: str) -> dict[str, str]:
    """Return KEY=value lines; values may be quoted."""
    found = re.findall(r"""^([A-Z_]+)=(["']?)(.*)\2$""", text, flags=re.MULTILINE)
    return {key: value for key, _, value in found}


def _network(answers: Mapping[str, str], metadata: Metadata) -> Check:
    card = metadata.of_type("public")[0]
    address = re.search(r"inet ([0-9.]+)", answers["address"])
    route = re.search(r"default via ([0-9.]+) dev (\S+)", answers["route"])
    return compare(
        "network",
        f"eth0 {card.address}, default via {card.gateway} dev eth0",
        f"eth0 {address[1] if address else 'no address'}, "
        + (f"default via {route[1]} dev {route[2]}" if route else "no default route"),
    )


def _distribution(answers: Mapping[str, str], branch: str) -> Check:
    """Check /etc/alpine-release: branch `v3.19` is `3.19.` and a number."""
    wanted, found = branch.removeprefix("v"), _first_line(answers["distribution"])
    passed = found == wanted or found.startswith((f"{wanted}.", f"{wanted}_"))
    return Check("alpine-release", passed, f"{wanted}, {wanted}.1, ...", found)


def _services(answers: Mapping[str, str]) -> Check:
    """Check the services of the runlevels that a boot starts.

    `rc-status` prints `Runlevel: default` and below it ` sshd      [  started  ]`, sometimes
    with a time or a note in the brackets.
    """
    bad: dict[str, str] = {}
    level, started = "", 0
    for line in answers["services"].splitlines():
        if heading := re.match(r"(?:Dynamic )?Runlevel: *(\S+)", line):
            level = heading[1]
        elif service := re.match(r"\s+(\S+)\s+\[\s*([a-z]+)", line):
            name, state = service.groups()
            wanted = level in {"sysinit", "boot", "default"}
            started += wanted and state == "started"
            if state in {"crashed", "failed"} or (wanted and state != "started"):
                bad[name] = state
    bad.update(dict.fromkeys(answers["crashed"].split(), "crashed"))
    if answers["crashed"] == "no answer" or not started:
        bad["rc-status"] = _first_line(answers["services"])
    return compare(
        "services",
        "runlevel default, all started",
        f"runlevel {answers['runlevel']}, "
        + (", ".join(f"{name} {state}" for name, state in bad.items()) or "all started"),
    )


def _root(answers: Mapping[str, str]) -> Check:
    """Check the last line of / in /proc/self/mountinfo (proc_pid_mountinfo(5)): the top mount."""
    before, _, after = answers["root"].rpartition("\n")[2].partition(" - ")
    device = re.search(r"^DEVNAME=(\S+)$", answers["root device"], flags=re.MULTILINE)
    words, types = before.split(), after.split()
    if len(words) < 6 or len(types) < 3 or device is None:
        found = f"{answers['root']}; {answers['root device']}"
    else:
        # Options of the mount and of the file system: each can make it read-only.
        options = {*words[5].split(","), *types[2].split(",")}
        found = f"{types[0]}, {'read-only' if 'ro' in options else 'read-write'}, on {device[1]}"
    return compare("root file system", "ext4, read-write, on vda1", found)


def _passwords(answers: Mapping[str, str]) -> Check:
    fields = dict(re.findall(r"^(\S+) (none|set|[*!]+)$", answers["shadow"], flags=re.MULTILINE))
    words = {"none": "empty: anyone can log in", "set": "a password"}
    wrong = [f"{user}: {words[field]}" for user, field in fields.items() if field in words]
    # `!` would refuse root with a key as well: sshd treats the account as locked.
    if fields.get("root") not in {"*", *words}:
        wrong.append(f"root: {fields.get('root', 'no line')}")
    return compare("passwords", "none; root: *", "; ".join(wrong) or "none; root: *")


def _host_keys(answers: Mapping[str, str], *, epoch: int) -> Check:
    """Check when sshd's keys were written: every file of the image is as old as its epoch."""
    keys = re.findall(r"^(\d+) \S*ssh_host_(\w+)_key$", answers["host keys"], flags=re.MULTILINE)
    boot = int(answers["boot time"]) if answers["boot time"].isdigit() else 0
    # One second less: btime is rounded, and file times come from a clock that lags by a tick.
    old = [kind for written, kind in keys if int(written) <= max(epoch, boot - 1)]
    kinds = sorted(kind for _, kind in keys)
    if not boot:
        found = f"no boot time: {answers['boot time']}"
    elif "ed25519" not in kinds:
        found = f"no ed25519 key: {_first_line(answers['host keys'])}"
    else:
        found = f"older than this boot: {', '.join(old)}" if old else "made on this boot"
    return compare("host keys", "made on this boot", found)


def check_power_button(*, switches_off: bool) -> Check:
    """Return the check that the ACPI power button, the panel's, switches the machine off."""
    expected = "switches it off"
    return compare("power button", expected, expected if switches_off else "it still runs")


def check_shutdown(reason: str) -> Check:
    """Return the check of QEMU's reason for the end of the machine."""
    expected = "switched itself off"
    return compare("shutdown", expected, expected if reason == "guest-shutdown" else reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRow(Check):
    """Result of one scenario, as the boot report lists it."""

    severity: str
    """What a failure means for the owner (`scenarios.Severity`)."""
    seconds: float
    """Duration of the scenario."""

    def document(self) -> dict[str, Any]:
        """Return the row as JSON types."""
        return asdict(self) | {"seconds": round(self.seconds, 1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class BootReport:
    """Result of one boot of one image."""

    image_file: str
    image_sha256: str
    accelerator: str
    """A word of `machine.ACCELERATORS`."""
    qemu: str
    """Version."""
    metadata: Mapping[str, Any]
    """The v1.json of the metadata service; its keys are public ones, made for this boot."""
    checks: tuple[Check, ...]
    seconds: Mapping[str, float] = field(default_factory=dict)
    """By moment (`MOMENTS`); a moment that was not reached is absent."""
    services: tuple[ServiceTime, ...] = ()
    """The started services, in their order; empty when no login succeeded."""
    ports: tuple[str, ...] | None = None
    """Open ports, such as `22/tcp`; None when no login succeeded."""
    error: str = ""
    """Why the boot failed, or empty."""
    faults: tuple[FaultRow, ...] | None = None
    """Results of the scenarios, or None when they were not run."""

    @property
    def passed(self) -> bool:
        """Whether the boot completed and every check and every scenario passed."""
        rows = [*self.checks, *(self.faults or ())]
        return not self.error and bool(self.checks) and all(row.passed for row in rows)

    def document(self) -> dict[str, Any]:
        """Return the report as JSON types; an unknown value is null."""
        seconds = dict.fromkeys(MOMENTS) | {
            moment: round(value, 3) for moment, value in self.seconds.items()
        }
        return {
            "format": FORMAT,
            "image": {"file": self.image_file, "sha256": self.image_sha256},
            "passed": self.passed,
            "accelerator": self.accelerator,
            "qemu": self.qemu,
            "checks": [asdict(check) for check in self.checks],
            "seconds": seconds,
            "services": [asdict(service) for service in self.services],
            "ports": None if self.ports is None else list(self.ports),
            "metadata": dict(self.metadata),
            "error": self.error or None,
            "faults": None if self.faults is None else [fault.document() for fault in self.faults],
        }


def report_path(record_path: Path) -> Path:
    """Return the path of the boot report of a build record.

    >>> report_path(Path("dist/x.build.json")).name
    'x.boot.json'
    """
    return record_path.with_name(record_path.name.removesuffix(BUILD) + BOOT)


def write_report(record_path: Path, report: BootReport) -> None:
    """Write the report atomically beside the build record."""
    text = json.dumps(report.document(), indent=2, sort_keys=True) + "\n"
    write_file(report_path(record_path), text.encode())
