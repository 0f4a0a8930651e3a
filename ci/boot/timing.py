"""Seconds that each service of a boot took, from the links that OpenRC makes when it has started.

Without `rc_parallel` OpenRC starts one service after the other, so that the time between two links
is what the later service took. Times are those of the droplet: with the accelerator `icount` they
count instructions, one each nanosecond, and do not depend on the speed of the machine.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

STARTED = "/run/openrc/started/"
LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\.(\d+) [+-]\d{4} (\S+)")
"""Output of `stat -c '%z %n'`."""
UPTIME = re.compile(r"^uptime (\d+\.\d+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ServiceTime:
    """One started service."""

    name: str
    started: float
    """Seconds from the kernel's start until the service had started."""
    seconds: float
    """Since the service before; of the first one, since the kernel's start."""


def read_service_times(answer: str) -> tuple[ServiceTime, ...]:
    """Return the started services in their order, from the output of the probe `service times`.

    Nothing without an uptime: the probe failed.
    """
    uptime = UPTIME.search(answer)
    times = {path: _seconds(clock, part) for clock, part, path in LINE.findall(answer)}
    # The newest time is that of a file that the probe has just made.
    now = next((time for path, time in times.items() if not path.startswith(STARTED)), None)
    if uptime is None or now is None:
        return ()
    moments = sorted(
        (float(uptime[1]) - (now - time), path.removeprefix(STARTED))
        for path, time in times.items()
        if path.startswith(STARTED)
    )
    before = [0.0, *(moment for moment, _ in moments)]
    return tuple(
        ServiceTime(name, round(moment, 3), round(moment - earlier, 3))
        for (moment, name), earlier in zip(moments, before, strict=False)
    )


def format_slowest(services: Sequence[ServiceTime], count: int = 5) -> str:
    """Return the slowest services in one line.

    >>> format_slowest([ServiceTime("sysfs", 2.0, 2.0), ServiceTime("sshd", 5.5, 3.5)])
    'sshd 3.5, sysfs 2.0'
    """
    slowest = sorted(services, key=lambda service: -service.seconds)[:count]
    return ", ".join(f"{service.name} {service.seconds:.1f}" for service in slowest)


def _seconds(clock: str, part: str) -> float:
    # Only differences are used: the zone of the droplet does not matter.
    days = datetime.strptime(f"{clock} +0000", "%Y-%m-%d %H:%M:%S %z").timestamp()
    return days + float(f"0.{part}")
