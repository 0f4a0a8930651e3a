"""Assertions about one boot of a scenario, evaluated from its observation (pure).

To change the checks of a boot with a fault, add a command to probes.sh and an assertion that
reads its output; scenarios.toml names the assertions of each boot.
"""

import re
from collections.abc import Callable
from typing import Concatenate, ParamSpec

from ci.boot.checks import Check, compare
from ci.boot.metadata import Interface
from ci.boot.scenarios.observation import BootObservation

MIB = 1024 * 1024

Assertion = Callable[[BootObservation], Check]
P = ParamSpec("P")


def assertion(
    check: Callable[Concatenate[BootObservation, P], Check],
) -> Callable[P, Assertion]:
    """Return a function that binds all arguments of `check` but the first, the observation."""

    def bind(*args: P.args, **kwargs: P.kwargs) -> Assertion:
        return lambda boot: check(boot, *args, **kwargs)

    return bind


@assertion
def sshd_answers(boot: BootObservation) -> Check:
    """Assert that sshd came up, with any keys."""
    return compare("sshd", "answers", "silent" if boot.sshd_seconds is None else "answers")


@assertion
def accepts(boot: BootObservation, *names: str) -> Check:
    """Assert that root can log in with each of these keys."""
    found = ", ".join(name for name in names if boot.logins.get(name)) or "none"
    return compare("accepted keys", ", ".join(names), found)


@assertion
def rejects(boot: BootObservation, *names: str) -> Check:
    """Assert that each of these keys was tried and refused."""
    found = ", ".join(name for name in names if boot.logins.get(name) is False) or "none"
    return compare("refused keys", ", ".join(names), found)


@assertion
def keys_file_has(boot: BootObservation, *names: str) -> Check:
    """Assert that the file of metadata's keys has exactly these keys."""
    known = {line.split()[1]: name for name, line in boot.keys.items()}
    found = []
    for line in boot.answer("keys").splitlines():
        fields = line.split()
        found.append(known.get(fields[1] if len(fields) > 1 else "", " ".join(fields)))
    return compare("metadata's keys", ", ".join(names), ", ".join(found) or "none")


@assertion
def hostname_is(boot: BootObservation, name: str) -> Check:
    """Assert the host name."""
    return compare("host name", name, boot.answer("host name"))


@assertion
def services_run(boot: BootObservation) -> Check:
    """Assert that OpenRC reached its runlevel, and that only root can read the log."""
    crashed = ", ".join(boot.answer("crashed").split()) or "nothing"
    return compare(
        "services",
        "runlevel default, nothing crashed, log of mode 600",
        f"runlevel {boot.answer('runlevel')}, {crashed} crashed,"
        f" log of mode {boot.answer('log mode')}",
    )


@assertion
def user_data_ran(boot: BootObservation, times: int) -> Check:
    """Assert how often a user-data script reached its last line on this disk."""
    runs = boot.answers.get("runs")
    found = "no answer" if runs is None else f"run {len(runs.split())} times"
    return compare("user-data", f"run {times} times", found)


@assertion
def user_data_ran_at_most(boot: BootObservation, times: int) -> Check:
    """Assert the same of a droplet whose power was cut: what was begun is not begun again."""
    runs = boot.answers.get("runs")
    passed = runs is not None and len(runs.split()) <= times
    found = "no answer" if runs is None else f"run {len(runs.split())} times"
    return Check("user-data", passed, f"run at most {times} times", found)


@assertion
def address_is(boot: BootObservation, interface: str, card: Interface) -> Check:
    """Assert that a network card has its address and no other IPv4 address."""
    found = re.findall(rf"^\d+: {interface} +inet (\S+)", boot.answer("addresses"), re.M)
    bits = sum(int(part).bit_count() for part in card.netmask.split("."))
    return compare(interface, f"{card.address}/{bits}", ", ".join(found) or "no address")


@assertion
def no_address(boot: BootObservation, interface: str) -> Check:
    """Assert that a network card has no IPv4 address."""
    found = re.findall(rf"^\d+: {interface} +inet (\S+)", boot.answer("addresses"), re.M)
    if "addresses" not in boot.answers:
        found = ["no answer"]
    return compare(interface, "no address", ", ".join(found) or "no address")


@assertion
def default_route_is(boot: BootObservation, gateway: str, interface: str = "eth0") -> Check:
    """Assert that there is one default route, by this network card."""
    found = [" ".join(line.split()[:5]) for line in boot.answer("routes").splitlines()]
    expected = f"default via {gateway} dev {interface}"
    return compare("default route", expected, ", ".join(found) or "none")


@assertion
def console_shows(boot: BootObservation, pattern: str) -> Check:
    """Assert that snowdrop-init wrote a line that matches `pattern` on the console."""
    lines = [line for line in boot.console.splitlines() if "snowdrop-init:" in line]
    passed = any(re.search(pattern, line) for line in lines)
    found = "that line" if passed else " | ".join(line.strip() for line in lines) or "nothing"
    return Check("console", passed, f"a line with `{pattern}`", found)


@assertion
def linux_started(boot: BootObservation) -> Check:
    """Assert that Linux had started when the power was cut."""
    started = "Linux version" in boot.console
    return compare(
        "power cut", "after the start of Linux", "after the start of Linux" if started else "before"
    )


@assertion
def sshd_starts_soon(boot: BootObservation, seconds: float = 100.0) -> Check:
    """Assert by the consoles that OpenRC starts sshd almost as soon as in the first boot.

    For a machine without a network card, which nobody can log in to by ssh. Other machines may run
    at the same time, as in `sshd_without_wait`.
    """
    took, first = (_console_seconds(each) for each in (boot, boot.first_boot))
    late = None if took is None or first is None else took - first
    found = "no sshd" if late is None else f"{late:+.0f} s"
    expected = f"at most {seconds:g} s more than in the first boot"
    return Check("time to sshd", late is not None and late <= seconds, expected, found)


def _console_seconds(boot: BootObservation | None) -> float | None:
    """Return the seconds between Linux and sshd, from the times of the console's log."""
    console = boot.console if boot else ""
    kernel = re.search(r"^ *([0-9.]+)  .*Linux version", console, re.M)
    sshd = re.search(r"^ *([0-9.]+)  .*Starting sshd", console, re.M)
    return float(sshd[1]) - float(kernel[1]) if kernel and sshd else None


@assertion
def owner_left(boot: BootObservation, what: str) -> Check:
    """Assert that files that the owner changed are as it left them, by the probe `owner`."""
    return compare("the owner's files", what, " ".join(boot.answer("owner").split()))


@assertion
def cloud_config_made(boot: BootObservation, what: str) -> Check:
    """Assert the account and the file that a cloud-config asks for, by the probe `cloud`."""
    return compare("cloud-config", what, " ".join(boot.answer("cloud").split()))


@assertion
def finds(boot: BootObservation, what: str) -> Check:
    """Assert the words that the scenario's own command `look` prints."""
    return compare("look", what, " ".join(boot.answer("look").split()))


@assertion
def output_is_cut(boot: BootObservation) -> Check:
    """Assert that the file with the output of the user data is small (script.sh, OUTPUT_BYTES)."""
    text = boot.answer("output")
    passed = text.isdigit() and 0 < int(text) < MIB
    return Check("output of the user data", passed, "less than 1 MiB", f"{text} bytes")


@assertion
def no_litter(boot: BootObservation) -> Check:
    """Assert that no file that the service writes is empty, and that none was left over."""
    return compare("empty or left over", "none", boot.answer("litter") or "none")


@assertion
def no_new_empty_file(boot: BootObservation) -> Check:
    """Assert that no file is empty but those that are empty after the first boot, too."""
    first = boot.first_boot.answers.get("empty", "") if boot.first_boot else ""
    found = sorted(set(boot.answer("empty").splitlines()) - set(first.splitlines()))
    return compare("files without content", "none", ", ".join(found) or "none")


@assertion
def service_replied(boot: BootObservation, status: str) -> Check:
    """Assert that the metadata service replied with `status`: that its fault occurred."""
    statuses = {request.split()[0] for request in boot.requests}
    found = ", ".join(sorted(statuses)) or "no request"
    return Check("service", status in statuses, f"{status} among its replies", found)


@assertion
def service_not_requested(boot: BootObservation) -> Check:
    """Assert that the metadata service got no request."""
    return compare("service", "no request", boot.requests[0] if boot.requests else "no request")


@assertion
def host_keys_kept(boot: BootObservation) -> Check:
    """Assert that the host keys are those of the first boot."""
    kept = boot.host_keys and boot.host_keys.keys() == _first_host_keys(boot).keys()
    return compare("host keys", "the same", "the same" if kept else _describe_host_keys(boot))


@assertion
def host_keys_replaced(boot: BootObservation) -> Check:
    """Assert that no host key is one of the first boot."""
    first = _first_host_keys(boot)
    new = bool(boot.host_keys and first) and not boot.host_keys.keys() & first.keys()
    return compare("host keys", "all new", "all new" if new else _describe_host_keys(boot))


def _first_host_keys(boot: BootObservation) -> dict[str, str]:
    return boot.first_boot.host_keys if boot.first_boot else {}


def _describe_host_keys(boot: BootObservation) -> str:
    first = _first_host_keys(boot)
    kinds = [
        f"{kind} ({'same' if key in first else 'new'})" for key, kind in boot.host_keys.items()
    ]
    return ", ".join(kinds) or "none"


@assertion
def disk_filled(boot: BootObservation, size: int) -> Check:
    """Assert that partition and file system use a disk of `size` bytes."""
    partition, file_system = (
        int(text) if text.isdigit() else 0
        for text in (boot.answer("partition"), boot.answer("file system"))
    )
    # Linux counts sectors of 512 bytes, df -k blocks of 1024.
    partition, file_system = partition * 512, file_system * 1024
    # df leaves out the metadata of ext4: at most 8 % at these sizes.
    passed = partition >= size - 4 * MIB and file_system >= size * 0.92
    expected = f"partition and file system of {size // MIB} MiB"
    found = f"partition of {partition // MIB} MiB, file system of {file_system // MIB} MiB"
    return Check("disk", passed, expected, found)


@assertion
def nothing_injected(boot: BootObservation) -> Check:
    """Assert that no shell ran a value of the metadata as a command."""
    found = ", ".join(boot.answer("traces").split()) or "none"
    return compare("files made by a command in the host name", "none", found)


@assertion
def sshd_without_wait(boot: BootObservation, seconds: float = 100.0) -> Check:
    """Assert that sshd came up before a wait for metadata could have ended: 150 s.

    Compared with the first boot of the same image on the same machine, which got its metadata at
    once. The limit is generous because other machines may run at the same time.
    """
    first = boot.first_boot.sshd_seconds if boot.first_boot else None
    late = None if boot.sshd_seconds is None or first is None else boot.sshd_seconds - first
    expected = f"at most {seconds:g} s more than the first boot"
    found = "no sshd" if late is None else f"{late:+.0f} s"
    return Check("time to sshd", late is not None and late < seconds, expected, found)
