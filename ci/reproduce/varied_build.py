"""The other build: a process that is unlike the one that asked for it, as far as may be.

Started as a program, with a folder and an environment of its own; `request.json`, its one
argument, says what to build. It answers with a JSON file, an error of ours included.
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
"""A host name of one's own: unshare(2)."""
HOST_NAME = "another-host"
BUILDER_NAME = "another-builder"
UMASK = 0o077


def main(request_path: Path) -> int:
    """Build what the request says, and write the answer beside it."""
    signal.signal(signal.SIGTERM, _interrupt)
    request = json.loads(request_path.read_text(encoding="utf-8"))
    replace_zlib()
    why_not = vary_process()
    # Only now: what these modules import must find the other zlib.
    from build.errors import SnowdropError

    try:
        answer = _build(request)
        answer["why_not"] = {**request["why_not"], **why_not, **answer["why_not"]}
    except SnowdropError as error:
        answer = {"error": str(error), "hint": error.hint, "exit_code": error.exit_code}
    except KeyboardInterrupt:
        return 130
    Path(request["answer"]).write_text(json.dumps(answer), encoding="utf-8")
    return 0


def _interrupt(number: int, frame: types.FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt


def replace_zlib() -> None:
    """Put zlib-ng, which packs the same data to other bytes, in the place of zlib."""
    import zlib

    from zlib_ng import zlib_ng

    other = types.ModuleType("zlib")
    # Whatever zlib-ng lacks stays zlib's.
    other.__dict__.update(zlib.__dict__)
    other.__dict__.update(
        {name: value for name, value in vars(zlib_ng).items() if not name.startswith("__")}
    )
    other.__dict__["LIBRARY"] = f"zlib-ng {zlib_ng.ZLIBNG_VERSION}"
    sys.modules["zlib"] = other


def vary_process() -> Mapping[str, str]:
    """Set umask, cores and host name of this process; return what cannot be, and why."""
    why_not = {}
    os.umask(UMASK)
    cores = os.sched_getaffinity(0)
    if len(cores) > 1:
        os.sched_setaffinity(0, {max(cores)})
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUTS) == 0:
        with contextlib.suppress(OSError):
            socket.sethostname(HOST_NAME)
    else:
        why_not["host name"] = os.strerror(ctypes.get_errno())
    return why_not


def _build(request: Mapping[str, Any]) -> dict[str, Any]:
    from build.config import Origin
    from build.edges.progress import Silent
    from build.edges.variation import Variation
    from build.snapshot.lock import read_lock
    from build.snapshot.store import Store
    from ci.config import read_config
    from ci.release.build_job import Order, build_variant
    from ci.report.progress import progress_for
    from ci.reproduce.environment_report import look_here

    work = Path(request["work"])
    config = read_config(Path(request["config"]))
    order = Order(
        config=replace(config, build=replace(config.build, work=work)),
        lock=read_lock(Path(request["lock"])),
        store=Store(Path(request["store"])),
        engine=None,
        origin=Origin(**request["origin"]),
    )
    variation = Variation(
        reverse=True,
        tree=Path(request["tree"]) if request["tree"] else None,
        host_name=BUILDER_NAME,
        environment=dict(os.environ),
        last_engine=request["engine"],
        without_rules=tuple(request["without_rules"]),
    )
    image = build_variant(
        order,
        request["variant"],
        Path(request["out"]),
        Silent() if request["silent"] else progress_for(),
        variation,
    )
    engine, why_not = image.record["engine"], {}
    if engine["name"] == request["engine"]:
        refused = [f"{name['name']}: {name['reason']}" for name in engine["refused"]]
        why_not["container engine"] = "; ".join(refused)
    listing = Path(request["out"]) / "tree.txt"
    listing.write_bytes(image.listing)
    return {
        "image": str(image.path),
        "record_path": str(image.record_path),
        "record": dict(image.record),
        "listing": str(listing),
        "seen": dict(image.environment),
        "here": dict(look_here(work)),
        "why_not": why_not,
    }


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
