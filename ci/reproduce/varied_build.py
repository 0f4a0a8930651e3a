"""The varied build: a process that differs from the one that started it as far as possible.

It is started as a program, with its own environment and folder, which is its one argument. There,
`request.json` and `lock` describe the build. It writes the result, or a SnowdropError, to
`answer.json` beside them.
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
import sys
import types
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

CLONE_NEWUTS = 0x04000000
"""unshare(2): a host name of this process alone."""
HOST_NAME = "another-host"
BUILDER_NAME = "another-builder"
UMASK = 0o077


def main(home: Path) -> int:
    """Build as the request in `home` describes, and write the answer."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    replace_zlib()
    reasons = vary_process()
    # Imported only now: these modules and their imports must get the replaced zlib.
    from build.errors import SnowdropError

    try:
        answer = _build(home, reasons)
    except SnowdropError as error:
        answer = {"error": str(error), "hint": error.hint}
    except KeyboardInterrupt:
        return 130
    (home / "answer.json").write_text(json.dumps(answer), encoding="utf-8")
    return 0


def replace_zlib() -> None:
    """Replace zlib by zlib-ng, which compresses the same data to other bytes."""
    import zlib

    from zlib_ng import zlib_ng

    other = types.ModuleType("zlib")
    # A name that zlib-ng lacks keeps zlib's value.
    other.__dict__.update(zlib.__dict__)
    other.__dict__.update(
        {name: value for name, value in vars(zlib_ng).items() if not name.startswith("__")}
    )
    other.__dict__["LIBRARY"] = f"zlib-ng {zlib_ng.ZLIBNG_VERSION}"
    sys.modules["zlib"] = other


def vary_process() -> Mapping[str, str]:
    """Set umask, cores and host name of this process; return the failures with their reasons."""
    reasons = {}
    os.umask(UMASK)
    cores = os.sched_getaffinity(0)
    if len(cores) > 1:
        os.sched_setaffinity(0, {max(cores)})
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUTS) == 0:
        with contextlib.suppress(OSError):
            socket.sethostname(HOST_NAME)
    else:
        reasons["host name"] = os.strerror(ctypes.get_errno())
    return reasons


def _build(home: Path, reasons: Mapping[str, str]) -> dict[str, Any]:
    """Return the answer; `reasons` are those of `vary_process`."""
    from build.config import Origin
    from build.edges.progress import Silent
    from build.edges.variation import Variation
    from build.snapshot.lock_reader import read_lock
    from build.snapshot.store import Store
    from ci.config import read_config
    from ci.release.build_job import BuildJob, build_variant
    from ci.report.progress import progress_for
    from ci.report.safe_output import cleaner
    from ci.reproduce.environment_report import describe_host

    request = json.loads((home / "request.json").read_text(encoding="utf-8"))
    work = Path(request["work"])
    config = read_config(Path(request["config"]))
    job = BuildJob(
        config=replace(config, build=replace(config.build, work=work)),
        lock=read_lock(home / "lock"),
        store=Store(Path(request["store"])),
        engine=None,
        origin=Origin(**request["origin"]),
        caller=request["caller"],
    )
    variation = Variation(
        reverse=True,
        tree=Path(request["tree"]) if request["tree"] else None,
        host_name=BUILDER_NAME,
        environment=dict(os.environ),
        last_engine=request["engine"],
        without_rules=tuple(request["without_rules"]),
    )
    shown = progress_for(sys.stderr, cleaner(os.environ))
    out, progress = Path(request["out"]), Silent() if request["silent"] else shown
    image = build_variant(job, request["variant"], out, progress, variation)
    engine = image.record["engine"]
    if engine["name"] == request["engine"]:
        refused = [f"{each['name']}: {each['reason']}" for each in engine["refused"]]
        reasons = {**reasons, "container engine": "; ".join(refused)}
    return {
        "image": str(image.path),
        "record_path": str(image.record_path),
        "record": dict(image.record),
        # A path in it may be of any bytes, and JSON contains text only.
        "listing": image.listing.decode(errors="surrogateescape"),
        "environment": dict(image.environment),
        "host": describe_host(work),
        "reasons": dict(reasons),
    }


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
