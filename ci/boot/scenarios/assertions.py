"""What can be asked to hold of one boot, judged from what was seen of it (pure)."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ci.boot.checks import Check, compare
from ci.boot.metadata import Interface, Metadata

KEYS_FILE = "/etc/snowdrop/authorized_keys/root"
RUNS_FILE = "/root/runs"
"""To which each user-data script of the table adds a line."""
TRACE = "owned-by-metadata"
"""The name of a file that a host name tries to make."""
USER_DATA_SECONDS = 60
QUESTIONS = {
    # It runs in the background, after sshd has started. The bracket keeps grep itself out.
    "user-data ended": "n=0; while cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' |"
    f" grep -q 'snowdrop-init[ ]user-data' && [ $n -lt {USER_DATA_SECONDS} ];"
    " do sleep 1; n=$((n + 1)); done; echo $n",
    "runlevel": "rc-status --runlevel",
    "crashed": "rc-status --nocolor --crashed 2>/dev/null; true",
    "host name": "hostname",
    "keys": f"cat {KEYS_FILE}",
    "host keys": "cat /etc/ssh/ssh_host_*_key.pub",
    "runs": f"cat {RUNS_FILE} 2>/dev/null; true",
    "addresses": "ip -4 -o address show",
    "routes": "ip -4 route show default",
    "traces": f"find / -xdev -name '{TRACE}*' 2>/dev/null; true",
    "disk": "cat /sys/class/block/vda/size",
    "partition": "cat /sys/class/block/vda1/size",
    "file system": "df -k / | awk 'END {print $(NF - 4)}'",
    "log mode": "stat -c %a /var/log/snowdrop-init.log",
    "log": "tail -n 60 /var/log/snowdrop-init.log",
}
"""Question -> command of busybox's shell."""
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one boot showed."""

    told: Metadata
    keys: Mapping[str, str]
    """Public lines by the name that the table gives to a key."""
    sshd: float | None
    """Seconds until sshd answered, if it did."""
    let_in: Mapping[str, bool] = field(default_factory=dict)
    """Whether root came in, by the name of the key that was tried."""
    answers: Mapping[str, str] = field(default_factory=dict)
    console: str = ""
    requests: tuple[str, ...] = ()
    """What the metadata service was asked, each `STATUS METHOD PATH`."""
    settled: "Seen | None" = None
    """The boot that left the disk on which this one began, if any did."""

    def answer(self, question: str) -> str:
        """Return what the droplet said, or that it did not."""
        return self.answers.get(question, "no answer")


Hold = Callable[[Seen], Check]


def sshd(seen: Seen) -> Check:
    """Judge whether sshd came up, whoever may log in."""
    return compare("sshd", "answers", "silent" if seen.sshd is None else "answers")


def lets_in(*names: str) -> Hold:
    """Return the check that root comes in with each of these keys."""
    return lambda seen: compare(
        "let in",
        ", ".join(names),
        ", ".join(name for name in names if seen.let_in.get(name)) or "nobody",
    )


def keeps_out(*names: str) -> Hold:
    """Return the check that none of these keys opens."""
    return lambda seen: compare(
        "kept out",
        ", ".join(names),
        ", ".join(name for name in names if seen.let_in.get(name) is False) or "nobody",
    )


def has_keys(*names: str) -> Hold:
    """Return the check that metadata's file of keys has exactly these."""

    def judge(seen: Seen) -> Check:
        known = {line.split()[1]: name for name, line in seen.keys.items()}
        words = [line.split() for line in seen.answer("keys").splitlines()]
        found = [
            known.get(word[1], " ".join(word)) if len(word) > 1 else " ".join(word)
            for word in words
        ]
        return compare("metadata's keys", ", ".join(names), ", ".join(found) or "none")

    return judge


def is_called(name: str) -> Hold:
    """Return the check on the host name."""
    return lambda seen: compare("host name", name, seen.answer("host name"))


def sound(seen: Seen) -> Check:
    """Judge whether OpenRC got through, and the log is for root alone."""
    crashed = ", ".join(seen.answer("crashed").split()) or "nothing"
    return compare(
        "services",
        "runlevel default, nothing crashed, log of mode 600",
        f"runlevel {seen.answer('runlevel')}, {crashed} crashed,"
        f" log of mode {seen.answer('log mode')}",
    )


def ran(times: int) -> Hold:
    """Return the check on how often a user-data script came to its last line on this disk."""

    def judge(seen: Seen) -> Check:
        runs = seen.answers.get("runs")
        found = "no answer" if runs is None else f"run {len(runs.split())} times"
        return compare("user-data", f"run {times} times", found)

    return judge


def has_address(interface: str, card: Interface) -> Hold:
    """Return the check that a network card has its address and no other IPv4 address."""

    def judge(seen: Seen) -> Check:
        found = re.findall(rf"^\d+: {interface} +inet (\S+)", seen.answer("addresses"), re.M)
        bits = sum(int(part).bit_count() for part in card.netmask.split("."))
        return compare(interface, f"{card.address}/{bits}", ", ".join(found) or "no address")

    return judge


def one_way_out(gateway: str) -> Hold:
    """Return the check that there is one default route, by eth0."""

    def judge(seen: Seen) -> Check:
        found = [" ".join(line.split()[:5]) for line in seen.answer("routes").splitlines()]
        return compare(
            "way out", f"default via {gateway} dev eth0", ", ".join(found) or "no default route"
        )

    return judge


def tells(pattern: str) -> Hold:
    """Return the check that snowdrop-init writes a line on the console that has `pattern`."""

    def judge(seen: Seen) -> Check:
        lines = [line for line in seen.console.splitlines() if "snowdrop-init:" in line]
        passed = any(re.search(pattern, line) for line in lines)
        found = "that" if passed else " | ".join(line.strip() for line in lines) or "nothing"
        return Check(name="console", passed=passed, expected=f"says `{pattern}`", found=found)

    return judge


def was_asked(status: str) -> Hold:
    """Return the check that the service was in the way in which it was meant to be."""

    def judge(seen: Seen) -> Check:
        words = {request.split()[0] for request in seen.requests}
        return Check(
            name="service",
            passed=status in words,
            expected=f"{status} among its answers",
            found=", ".join(sorted(words)) or "never asked",
        )

    return judge


def never_asked(seen: Seen) -> Check:
    """Judge whether the metadata service was left alone."""
    return compare("service", "never asked", seen.requests[0] if seen.requests else "never asked")


def same_host_keys(seen: Seen) -> Check:
    """Judge whether the host keys are those of the boot before."""
    kept = _host_keys(seen) and _host_keys(seen) == _host_keys(seen.settled)
    return compare("host keys", "the same", "the same" if kept else _kinds(seen))


def new_host_keys(seen: Seen) -> Check:
    """Judge whether not one host key is a host key of the boot before."""
    common = _host_keys(seen) & _host_keys(seen.settled)
    new = bool(_host_keys(seen)) and bool(_host_keys(seen.settled)) and not common
    return compare("host keys", "all new", "all new" if new else _kinds(seen))


def _host_keys(seen: Seen | None) -> frozenset[str]:
    lines = seen.answers.get("host keys", "").splitlines() if seen else []
    return frozenset(line.split()[1] for line in lines if len(line.split()) > 1)


def _kinds(seen: Seen) -> str:
    """Return which host keys are there, and which of them the boot before had too."""
    before = _host_keys(seen.settled)
    words = [line.split() for line in seen.answers.get("host keys", "").splitlines()]
    return (
        ", ".join(
            f"{word[0]} ({'former' if word[1] in before else 'new'})"
            for word in words
            if len(word) > 1
        )
        or "none"
    )


def fills(size: int) -> Hold:
    """Return the check that partition and file system take a disk of `size` bytes."""

    def judge(seen: Seen) -> Check:
        partition = _number(seen.answer("partition")) * 512
        # What ext4 keeps for itself does not count for df: 8 % at most at these sizes.
        file_system = _number(seen.answer("file system")) * 1024
        return Check(
            name="disk",
            passed=partition >= size - 4 * MIB and file_system >= size * 0.92,
            expected=f"partition and file system of {size // MIB} MiB",
            found=f"partition of {partition // MIB} MiB, file system of {file_system // MIB} MiB",
        )

    return judge


def no_trace(seen: Seen) -> Check:
    """Judge whether a shell took a value from metadata for a command."""
    found = ", ".join(seen.answer("traces").split()) or "none"
    return compare("traces of a command in the host name", "none", found)


def soon(seen: Seen, seconds: float = 100.0) -> Check:
    """Judge whether sshd came up before a wait for metadata could have ended: 150 s.

    Measured against the first boot of the same image on the same machine, which had its
    metadata at once. Other machines may be running at the same time, hence not much less.
    """
    first = seen.settled.sshd if seen.settled else None
    late = None if seen.sshd is None or first is None else seen.sshd - first
    return Check(
        name="time to sshd",
        passed=late is not None and late < seconds,
        expected=f"at most {seconds:g} s more than a droplet takes",
        found="no sshd" if late is None else f"{late:+.0f} s",
    )


def of_boot(number: int, check: Check) -> Check:
    """Return the check with the number of the boot that it is about."""
    return replace(check, name=f"boot {number}: {check.name}")


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0
