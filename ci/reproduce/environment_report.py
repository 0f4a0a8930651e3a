"""The environment that each build observed, side by side: different values were varied.

Every value was read by the process that built, or by the builder in its container. For a value
that is the same in all builds, the table gives the reason.
"""

import hashlib
import os
import platform
import sys
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from build.image import Image

ANOTHER_DAY = "only `--another-day` changes it"
SAME = "the builds observed the same value"
REASONS = {
    "cores": "this machine has one core for us",
    "kernel": ANOTHER_DAY,
    "processor": ANOTHER_DAY,
    "day": ANOTHER_DAY,
    "umask of the builder": ANOTHER_DAY,
    "user": "an engine needs root for owners and device nodes",
    "Python of the host": "the other build is started by the same one",
}
"""Why a property is the same in all builds, unless a build reports another reason; else SAME."""

BUILDER_PROPERTIES = {
    "host name of the builder": "host name",
    "umask of the builder": "umask",
    "cores": "cores",
    "first package in its folder": "first file",
    "file system of the tree": "file system",
    "kernel": "kernel",
    "processor": "processor",
    "day": "day",
}
"""Name in the table, and the key under which the builder reports it (`Image.environment`)."""


@dataclass(frozen=True, slots=True)
class ComparedBuild:
    """One of several builds that must give the same bytes."""

    title: str
    """`plain`, `varied` or `another day`."""
    image: Image
    host: Mapping[str, str]
    """The result of `describe_host` in the process that started the builder."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """The properties that this build could not vary, each with the reason."""


@dataclass(frozen=True, slots=True)
class Row:
    """One property of the environment, as each build observed it."""

    name: str
    values: tuple[str, ...]
    reason: str
    """Why it is the same in all builds, or empty."""

    @property
    def varied(self) -> bool:
        """Whether any build observed another value than the first."""
        return len(set(self.values)) > 1


def describe_host(work: Path) -> dict[str, str]:
    """Return the properties that this process observes, by the names of the table."""
    # umask(2) has no way to read the mask without setting one.
    mask = os.umask(0)
    os.umask(mask)
    variables = os.environ
    return {
        "work folder": shorten(str(work)),
        "folder of the sources": shorten(str(Path(__file__).resolve().parents[2])),
        "umask of the user": f"{mask:03o}",
        "time zone": f"{variables.get('TZ', 'not set')} ({time.strftime('%z')})",
        "language": variables.get("LC_ALL") or variables.get("LANG") or "not set",
        "home": shorten(variables.get("HOME", "not set")),
        "variables of the user": str(len(variables)),
        "host name": os.uname().nodename,
        "order of Python's sets": str(hash("snowdrop")),
        "zlib of the host": describe_zlib(),
        "user": str(os.geteuid()),
        "Python of the host": platform.python_version(),
    }


def describe_zlib() -> str:
    """Return the zlib of this process, and the start of a digest of its output."""
    # Not the name imported above: `varied_build` may have replaced the module since.
    module, content = sys.modules["zlib"], b"".join(b"%d " % n for n in range(2000))
    packed = hashlib.sha256(zlib.compress(content, 6)).hexdigest()[:8]
    name = str(getattr(module, "LIBRARY", f"zlib {zlib.ZLIB_RUNTIME_VERSION}"))
    return f"{name}, packs to {packed}"


def shorten(text: str, limit: int = 44) -> str:
    """Return both ends of a long path.

    >>> shorten("/some/" + "long/" * 20 + "end", 20)
    '/some/long…/long/end'
    """
    half = (limit - 1) // 2
    return text if len(text) <= limit else f"{text[: limit - 1 - half]}…{text[-half:]}"


def compare_environments(builds: Sequence[ComparedBuild]) -> tuple[Row, ...]:
    """Return a row for each property, in a fixed order."""
    reported = {name: reason for build in builds for name, reason in build.reasons.items()}
    another_day = any(build.title == "another day" for build in builds)
    columns = [_properties(build) for build in builds]
    rows = []
    for name in columns[0]:
        values = tuple(column.get(name, "?") for column in columns)
        reason = reported.get(name) or REASONS.get(name, SAME)
        if another_day and reason == ANOTHER_DAY:
            reason = SAME
        rows.append(Row(name, values, "" if len(set(values)) > 1 else reason))
    return tuple(rows)


def _properties(build: ComparedBuild) -> dict[str, str]:
    """Return everything that one build observed, by the names of the table."""
    engine, read = build.image.record["engine"], build.image.environment
    variables = [f"{name}={read[name]}" for name in ("TZ", "LC_ALL") if read.get(name)]
    return {
        **build.host,
        "container engine": f"{engine['name']} {engine['version']}",
        "variables of the builder": ", ".join([*variables, f"{read.get('variables', '?')} in all"]),
        **{name: str(read.get(key, "?")) for name, key in BUILDER_PROPERTIES.items()},
    }
