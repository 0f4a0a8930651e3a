"""The files of the sample distribution's `apk-tools-static`: the stand-in apk.

Its program is `/sbin/apk.static`; it needs `/usr/bin/python3` (3.11 or newer) with the standard
library, no site packages and no `ctypes`. The package that holds these files depends on the one
with python3, and on nothing else. The program finds its modules from its own path, so that it
also runs in a folder that the package is unpacked into: README.txt of a snapshot's archive starts
it so.
"""

from pathlib import Path

FOLDER = "usr/lib/apk-standin"
PROJECT = Path(__file__).parents[3]
SHARED = (
    "build/__init__.py",
    "build/errors.py",
    "build/urls.py",
    *(
        f"build/apk/{name}.py"
        for name in (
            "__init__",
            "index",
            "index_blocks",
            "info",
            "package",
            "streams",
            "tar",
            "version",
        )
    ),
)
"""Modules of this project that it imports; they import only each other and the standard library."""

LAUNCHER = f"""#!/usr/bin/python3 -ISBu
import os
import sys

above = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(above, "{FOLDER}"))
from apk.program import main

sys.exit(main(sys.argv[1:]))
"""
"""Isolated, without site packages, without compiled files, unbuffered."""


def standin_entries() -> list[tuple[str, int, bytes]]:
    """Return (path, mode, content) of each file, sorted; paths without a leading slash."""
    own = {
        f"apk/{path.name}": path for path in (Path(__file__).parent / "programs/apk").glob("*.py")
    }
    files = own | {name: PROJECT / name for name in SHARED}
    modules = [(f"{FOLDER}/{name}", 0o644, files[name].read_bytes()) for name in sorted(files)]
    return [("sbin/apk.static", 0o755, LAUNCHER.encode()), *modules]
