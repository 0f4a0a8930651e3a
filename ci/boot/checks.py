"""What must be true of a droplet that came up, and the report that says whether it is.

One login asks everything (`script`), and the answers are judged here as text: each check says
what was expected and what was found, so that a line of the report stands alone.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from build.edges.files import write_file
from ci.boot.metadata import Metadata

FORMAT = 1
BUILD, BOOT = ".build.json", ".boot.json"
MOMENTS = ("kernel", "network", "ssh", "shutdown")
"""First line of the kernel, first request to the metadata service, first login: each in seconds
since QEMU was started; and how long it took to switch off."""
MARK = "@@snowdrop"
RC_WAIT_SECONDS = 60
"""How long OpenRC may take from the first login to the end of its runlevel."""
PROBES = {
    "user": "id -un",
    "host name": "hostname",
    "address": "ip -4 -o address show dev eth0",
    "route": "ip -4 route show default",
    "release": "cat /etc/snowdrop-release",
    "distribution": "cat /etc/alpine-release",
    "services": "rc-status --nocolor --all 2>&1 || rc-status --all",
    "crashed": "rc-status --nocolor --crashed 2>/dev/null; true",
    "runlevel": "rc-status --runlevel",
    "root": "awk '$5 == \"/\"' /proc/self/mountinfo",
    "root device": 'cat "/sys/dev/block/$('
    'awk \'$5 == "/" {n = $3} END {print n}\' /proc/self/mountinfo)/uevent"',
    # Never the hash itself: the report is published.
    "shadow": 'awk -F: \'{print $1, ($2 == "" ? "none" : $2 ~ /^[*!]+$/ ? $2 : "set")}\''
    " /etc/shadow",
    "host keys": "stat -c '%Y %n' /etc/ssh/ssh_host_*_key",
    "boot time": "awk '$1 == \"btime\" {print $2}' /proc/stat",
    "kernel": "uname -sr",
}
"""Question -> command of busybox's shell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the report."""

    name: str
    passed: bool
    expected: str
    found: str


def compare(name: str, expected: str, found: str) -> Check:
    """Return the check that `found` is `expected`."""
    return Check(name=name, passed=expected == found, expected=expected, found=found)


def script(probes: Mapping[str, str] = PROBES) -> str:
    """Return the shell script that answers every question, for `sh -s` on the droplet.

    sshd is one service among others: OpenRC may still be starting the rest.
    """
    lines = [
        "n=0",
        f"while [ -e /run/openrc/rc.starting ] && [ $n -lt {RC_WAIT_SECONDS} ]; do",
        "  sleep 1; n=$((n + 1))",
        "done",
    ]
    for question, command in probes.items():
        lines += [f"echo '{MARK} {question}'", f"{{ {command}; }} </dev/null 2>&1"]
    return "\n".join([*lines, f"echo '{MARK} end'", ""])


def read_answers(output: str) -> dict[str, str]:
    """Return what was answered to each question; one that was not reached is absent."""
    answers: dict[str, str] = {}
    parts = re.split(rf"^{MARK} (.+)\n", output, flags=re.MULTILINE)
    for question, text in zip(parts[1::2], parts[2::2], strict=True):
        answers[question] = text.strip("\n")
    return answers


def judge(
    answers: Mapping[str, str], record: Mapping[str, Any], metadata: Metadata
) -> tuple[Check, ...]:
    """Return every check on `answers`, of an image built as `record` says, told `metadata`."""
    given = {question: answers.get(question, "no answer") for question in PROBES}
    release = _settings(given["release"])
    return (
        compare("login", "root", given["user"]),
        compare("host name", metadata.hostname, given["host name"]),
        _network(given, metadata),
        _distribution(given, record["branch"]),
        compare("release version", record["version"], release.get("VERSION", _none(given))),
        compare("release commit", record["source"]["commit"], release.get("COMMIT", _none(given))),
        compare("release lock", record["lock"]["id"], release.get("LOCK", _none(given))),
        _services(given),
        _root(given),
        _passwords(given),
        _host_keys(given, epoch=record["epoch"]),
        Check(
            name="kernel",
            passed=given["kernel"].startswith("Linux "),
            expected="Linux",
            found=given["kernel"],
        ),
    )


def key_only(refusal: str) -> Check:
    """Return the check on what sshd offers to a client without a key (RFC 4252, 5.1)."""
    ways = re.search(r"Permission denied \((.*)\)", refusal)
    return compare("login without a key", "publickey", ways[1] if ways else refusal)


def _none(given: Mapping[str, str]) -> str:
    return f"nothing in /etc/snowdrop-release: {_first_line(given['release'])}"


def _first_line(text: str) -> str:
    return text.partition("\n")[0] or "nothing"


def _settings(text: str) -> dict[str, str]:
    """Return KEY=value lines; values may be quoted."""
    found = re.findall(r"""^([A-Z_]+)=(["']?)(.*)\2$""", text, flags=re.MULTILINE)
    return {key: value for key, _, value in found}


def _network(given: Mapping[str, str], metadata: Metadata) -> Check:
    card = metadata.of_type("public")[0]
    address = re.search(r"inet ([0-9.]+)", given["address"])
    route = re.search(r"default via ([0-9.]+) dev (\S+)", given["route"])
    return compare(
        "network",
        f"eth0 {card.address}, default via {card.gateway} dev eth0",
        f"eth0 {address[1] if address else 'no address'}, "
        + (f"default via {route[1]} dev {route[2]}" if route else "no default route"),
    )


def _distribution(given: Mapping[str, str], branch: str) -> Check:
    """Judge Alpine's own word for what runs: branch `v3.19` is `3.19.` and a number."""
    wanted, found = branch.removeprefix("v"), _first_line(given["distribution"])
    return Check(
        name="alpine-release",
        passed=found == wanted or found.startswith((f"{wanted}.", f"{wanted}_")),
        expected=f"{wanted}, {wanted}.1, ...",
        found=found,
    )


def _services(given: Mapping[str, str]) -> Check:
    """Judge what OpenRC says of the runlevels that a boot goes through.

    `rc-status` prints `Runlevel: default` and below it ` sshd      [  started  ]`, with a time
    or a note in the brackets at times.
    """
    bad: dict[str, str] = {}
    level, started = "", 0
    for line in given["services"].splitlines():
        if heading := re.match(r"(?:Dynamic )?Runlevel: *(\S+)", line):
            level = heading[1]
        elif service := re.match(r"\s+(\S+)\s+\[\s*([a-z]+)", line):
            name, state = service.groups()
            wanted = level in {"sysinit", "boot", "default"}
            started += wanted and state == "started"
            if state in {"crashed", "failed"} or (wanted and state != "started"):
                bad[name] = state
    bad.update(dict.fromkeys(given["crashed"].split(), "crashed"))
    if given["crashed"] == "no answer" or not started:
        bad["rc-status"] = _first_line(given["services"])
    return compare(
        "services",
        "runlevel default, all started",
        f"runlevel {given['runlevel']}, "
        + (", ".join(f"{name} {state}" for name, state in bad.items()) or "all started"),
    )


def _root(given: Mapping[str, str]) -> Check:
    """Judge the line of / in /proc/self/mountinfo (proc_pid_mountinfo(5)); the last one counts."""
    before, _, after = given["root"].rpartition("\n")[2].partition(" - ")
    device = re.search(r"^DEVNAME=(\S+)$", given["root device"], flags=re.MULTILINE)
    words, types = before.split(), after.split()
    if len(words) < 6 or len(types) < 3 or device is None:
        found = f"{given['root']}; {given['root device']}"
    else:
        # Of the mount and of the file system: both must let writes through.
        options = {*words[5].split(","), *types[2].split(",")}
        found = f"{types[0]}, {'read-only' if 'ro' in options else 'read-write'}, on {device[1]}"
    return compare("root file system", "ext4, read-write, on vda1", found)


def _passwords(given: Mapping[str, str]) -> Check:
    fields = dict(re.findall(r"^(\S+) (none|set|[*!]+)$", given["shadow"], flags=re.MULTILINE))
    words = {"none": "empty: anybody may come in", "set": "a password"}
    wrong = [f"{user}: {words[field]}" for user, field in fields.items() if field in words]
    # `!` would keep root out with a key as well: sshd takes the account for locked.
    if fields.get("root") not in {"*", *words}:
        wrong.append(f"root: {fields.get('root', 'no line')}")
    return compare("passwords", "none; root: *", "; ".join(wrong) or "none; root: *")


def _host_keys(given: Mapping[str, str], *, epoch: int) -> Check:
    """Judge when sshd's keys were written: all that is in the image is as old as its epoch."""
    keys = re.findall(r"^(\d+) \S*ssh_host_(\w+)_key$", given["host keys"], flags=re.MULTILINE)
    boot = int(given["boot time"]) if given["boot time"].isdigit() else 0
    # A second: btime is rounded, and file times come from a clock that lags by a tick.
    old = [kind for written, kind in keys if int(written) <= max(epoch, boot - 1)]
    kinds = sorted(kind for _, kind in keys)
    if not boot:
        found = f"no boot time: {given['boot time']}"
    elif "ed25519" not in kinds:
        found = f"no ed25519 key: {_first_line(given['host keys'])}"
    else:
        found = f"older than this boot: {', '.join(old)}" if old else "made on this boot"
    return compare("host keys", "made on this boot", found)


def shutdown(reason: str) -> Check:
    """Return the check on why the machine ended."""
    expected = "switched itself off"
    return compare("shutdown", expected, expected if reason == "guest-shutdown" else reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One row of the table of faults."""

    name: str
    passed: bool
    expected: str
    found: str
    seconds: float
    """How long it took to play."""

    def document(self) -> dict[str, Any]:
        """Return the row as JSON's types."""
        return asdict(self) | {"seconds": round(self.seconds, 1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class BootReport:
    """What one boot of one image found."""

    image_file: str
    image_sha256: str
    accelerator: str
    """`tcg` or `kvm`."""
    qemu: str
    """Version of QEMU."""
    metadata: Mapping[str, Any]
    """The v1.json that the droplet was given; its keys are public ones, made for this boot."""
    checks: tuple[Check, ...]
    seconds: Mapping[str, float] = field(default_factory=dict)
    """By moment; one that was not reached is absent."""
    error: str = ""
    """Why the boot broke off, or empty."""
    faults: tuple[Fault, ...] | None = None
    """How it boots when something is amiss, or None when that was not tried."""

    @property
    def passed(self) -> bool:
        """Whether the boot came to its end and every check holds, under faults too."""
        held = [check.passed for check in self.checks]
        held += [fault.passed for fault in self.faults or ()]
        return not self.error and bool(self.checks) and all(held)

    def document(self) -> dict[str, Any]:
        """Return the report as JSON's types; what is unknown is null."""
        seconds = {moment: self.seconds.get(moment) for moment in MOMENTS}
        return {
            "format": FORMAT,
            "image": {"file": self.image_file, "sha256": self.image_sha256},
            "passed": self.passed,
            "accelerator": self.accelerator,
            "qemu": self.qemu,
            "checks": [asdict(check) for check in self.checks],
            "seconds": {
                moment: None if value is None else round(value, 3)
                for moment, value in seconds.items()
            },
            "metadata": dict(self.metadata),
            "error": self.error or None,
            "faults": None if self.faults is None else [fault.document() for fault in self.faults],
        }


def report_path(record_path: Path) -> Path:
    """Return where the report of the image of a build record lies.

    >>> report_path(Path("dist/x.build.json")).name
    'x.boot.json'
    """
    return record_path.with_name(record_path.name.removesuffix(BUILD) + BOOT)


def write_report(record_path: Path, report: BootReport) -> None:
    """Write the report beside the build record, whole or not at all."""
    text = json.dumps(report.document(), indent=2, sort_keys=True) + "\n"
    write_file(report_path(record_path), text.encode())
