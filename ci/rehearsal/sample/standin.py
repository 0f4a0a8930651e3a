"""The files of the sample distribution's `apk-tools-static`: the stand-in apk.

Its program is `/sbin/apk.static`; it needs `/usr/bin/python3` (3.11 or newer) with the standard
library's `tarfile`, `zlib`, `hashlib` and `subprocess`, no site packages and no `ctypes`. The
package that holds these files depends on the one with python3, and on nothing else.
"""

from pathlib import Path

FOLDER = "usr/lib/apk-standin"

LAUNCHER = f"""#!/usr/bin/python3 -ISB
import sys

sys.path.insert(0, "/{FOLDER}")
from apk.program import main

sys.exit(main(sys.argv[1:]))
"""
"""Isolated, without site packages, leaving no compiled files behind."""


def standin_entries() -> list[tuple[str, int, bytes]]:
    """Return (path, mode, content) of each file, sorted; paths without a leading slash."""
    source = Path(__file__).parent / "programs" / "apk"
    modules = [
        (f"{FOLDER}/apk/{path.name}", 0o644, path.read_bytes())
        for path in sorted(source.glob("*.py"))
    ]
    return [("sbin/apk.static", 0o755, LAUNCHER.encode()), *modules]
