"""What two builds could see of their machines, side by side: what differs was varied.

Nothing here is claimed: each value was read by the process that built, or by the builder in
its container. What is the same in all builds was not varied, and the table says why.
"""

import hashlib
import os
import platform
import sys
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from build.image import Image

ANOTHER_DAY = "only `--another-day` changes it"
SAME = "it came out the same"
WHY_NOT = {
    "cores": "this machine has one core for us",
    "kernel": ANOTHER_DAY,
    "processor": ANOTHER_DAY,
    "day": ANOTHER_DAY,
    "umask of the builder": ANOTHER_DAY,
    "user": "an engine needs root for owners and device nodes",
    "Python of the host": "the other build is started by the same one",
}
"""Why a thing is the same in all builds, unless the other build knows better; else SAME."""

Here = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Built:
    """One build of several that must give the same bytes."""

    title: str
    """`plain`, `varied` or `another day`."""
    image: Image
    here: Here
    """What the process saw that started the builder."""
    why_not: Mapping[str, str] = field(default_factory=dict)
    """What it could not vary, and why."""


@dataclass(frozen=True, slots=True)
class Row:
    """One thing, as each build saw it."""

    thing: str
    values: tuple[str, ...]
    why_not: str
    """Why it is the same in all, or empty."""

    @property
    def varied(self) -> bool:
        """Return whether any build saw something else than the first."""
        return len(set(self.values)) > 1


def look_here(work: Path) -> Here:
    """Return what this process sees of its machine."""
    mask = os.umask(0)
    os.umask(mask)
    variables = os.environ
    sources = Path(__file__).resolve().parents[2]
    return {
        "work folder": shortened(str(work)),
        "sources": shortened(str(sources)),
        "umask": f"{mask:03o}",
        "time zone": f"{variables.get('TZ', 'not set')} ({time.strftime('%z')})",
        "language": variables.get("LC_ALL") or variables.get("LANG") or "not set",
        "home": shortened(variables.get("HOME", "not set")),
        "host name": os.uname().nodename,
        "zlib": zlib_name(),
        "hash seed": str(hash("snowdrop")),
        "variables": str(len(variables)),
        "user": str(os.geteuid()),
        "python": platform.python_version(),
    }


def zlib_name() -> str:
    """Return the zlib of this process, and the start of a digest of what it packs."""
    module, content = sys.modules["zlib"], b"".join(b"%d " % n for n in range(2000))
    packed = hashlib.sha256(zlib.compress(content, 6)).hexdigest()[:8]
    name = str(getattr(module, "LIBRARY", f"zlib {zlib.ZLIB_RUNTIME_VERSION}"))
    return f"{name}, packs to {packed}"


def shortened(text: str, limit: int = 44) -> str:
    """Return both ends of a long path.

    >>> shortened("/some/" + "long/" * 20 + "end", 20)
    '/some/long…/long/end'
    """
    half = (limit - 1) // 2
    return text if len(text) <= limit else f"{text[: limit - 1 - half]}…{text[-half:]}"


def _inside(name: str) -> Callable[[Built], str]:
    return lambda built: str(built.image.environment.get(name, "?"))


def _outside(name: str) -> Callable[[Built], str]:
    return lambda built: built.here.get(name, "?")


def _engine(built: Built) -> str:
    engine = built.image.record["engine"]
    return f"{engine['name']} {engine['version']}"


def _variables_inside(built: Built) -> str:
    seen = built.image.environment
    named = [f"{name}={seen[name]}" for name in ("TZ", "LC_ALL") if seen.get(name)]
    return ", ".join([*named, f"{seen.get('variables', '?')} in all"])


THINGS: tuple[tuple[str, Callable[[Built], str]], ...] = (
    ("work folder", _outside("work folder")),
    ("folder of the sources", _outside("sources")),
    ("umask of the user", _outside("umask")),
    ("time zone", _outside("time zone")),
    ("language", _outside("language")),
    ("home", _outside("home")),
    ("variables of the user", _outside("variables")),
    ("host name", _outside("host name")),
    ("order of Python's sets", _outside("hash seed")),
    ("zlib of the host", _outside("zlib")),
    ("container engine", _engine),
    ("host name of the builder", _inside("host name")),
    ("variables of the builder", _variables_inside),
    ("umask of the builder", _inside("umask")),
    ("cores", _inside("cores")),
    ("first package in its folder", _inside("first file")),
    ("file system of the tree", _inside("file system")),
    ("kernel", _inside("kernel")),
    ("processor", _inside("processor")),
    ("day", _inside("day")),
    ("user", _outside("user")),
    ("Python of the host", _outside("python")),
)


def compare_sights(builds: Sequence[Built]) -> tuple[Row, ...]:
    """Return a row for each thing, in a fixed order."""
    told = {name: why for built in builds for name, why in built.why_not.items()}
    rows = []
    for thing, read in THINGS:
        values = tuple(read(built) for built in builds)
        rows.append(Row(thing, values, ""))
        if not rows[-1].varied:
            why = told.get(thing) or WHY_NOT.get(thing, SAME)
            tried = why == ANOTHER_DAY and any(built.title == "another day" for built in builds)
            rows[-1] = Row(thing, values, SAME if tried else why)
    return tuple(rows)
