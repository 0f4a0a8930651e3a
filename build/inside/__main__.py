"""The steps in the builder: /in/plan.json -> /out/*.qcow2 and /out/result.json.

Each step is reported as a JSON line on standard output, which the host displays.
"""

import errno
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from build.inside import bootloader, ext4, initramfs, normalise, programs, services
from build.inside.environment import read_environment
from build.inside.install import Request, install
from build.inside.listing import list_tree
from build.inside.programs import StepError
from build.inside.qcow2 import digest, write_qcow2

PLAN = Path("/in/plan.json")
OUT = Path("/out")
PACKAGES = Path("/apk/packages")
WORK = Path("/apk/build")
"""A tmpfs: it keeps owners, device nodes and attributes, and the host never sees them."""
TREE = WORK / "tree"
RAW = WORK / "disk.raw"


def main() -> int:
    """Build as the plan describes; return the status and print a failure as a JSON line."""
    umask = os.umask(0o022)
    try:
        plan = json.loads(PLAN.read_text(encoding="utf-8"))
        environment = read_environment(WORK, PACKAGES, umask)
        result = build(plan, programs.environment(plan["epoch"]))
        result["environment"] = environment
        (OUT / "result.json").write_text(json.dumps(result, sort_keys=True))
    except StepError as error:
        print_event(error=str(error), hint=error.hint)
        return 1
    except OSError as error:
        hint = programs.FREE_SPACE if error.errno == errno.ENOSPC else ""
        print_event(error=f"{error.filename or 'builder'}: {error.strerror}", hint=hint)
        return 1
    return 0


def build(plan: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
    """Run every step; return digests and seconds for the build record.

    Raises:
        StepError: a step failed.
    """
    seconds: dict[str, float] = {}
    with step("install", seconds):
        install(TREE, _request(plan), variables)
    with step("services", seconds):
        services.enable(TREE, plan["services"])
        services.write_files(
            TREE, root_uuid=plan["root_uuid"], repositories=plan["public_repositories"]
        )
    with step("initramfs", seconds):
        kernel = initramfs.find_kernel(TREE)
        initramfs.make_initramfs(TREE, kernel, variables)
        options = bootloader.kernel_options(plan["root_uuid"], plan["kernel_options"])
        bootloader.write_menu(TREE, kernel, options)
    with step("normalise", seconds):
        normalise.normalise(TREE, plan["epoch"], without=plan["without_rules"])
    with step("list", seconds):
        listing = list_tree(TREE)
        (OUT / "tree.txt").write_bytes(listing.text)
    with step("disk", seconds):
        _write_disk(plan, listing.bytes, listing.entries, variables)
    with step("digest", seconds):
        raw = digest(RAW)
    with step("qcow2", seconds):
        write_qcow2(RAW, OUT / plan["image"], variables)
    tree = {"entries": listing.entries, "sha256": listing.sha256, "bytes": listing.bytes}
    return {"raw": asdict(raw), "tree": tree, "seconds": seconds}


def _request(plan: Mapping[str, Any]) -> Request:
    return Request(
        arch=plan["arch"],
        repositories=tuple(plan["repositories"]),
        world=tuple(plan["world"]),
        expected=dict(plan["expected"]),
        local_key=plan["local_key"],
    )


def _write_disk(
    plan: Mapping[str, Any], content: int, entries: int, variables: Mapping[str, str]
) -> None:
    """Write the raw disk: partition table, boot code, file system."""
    offset = bootloader.FIRST_SECTOR * bootloader.SECTOR
    ext4.check_space(plan["disk"], content=content, entries=entries, variant=plan["variant"])
    ext4.check_memory(WORK, content)
    with RAW.open("wb") as file:
        file.truncate(plan["disk"])
    bootloader.write_partition_table(RAW, plan["disk_id"], variables)
    bootloader.write_boot_code(RAW, variables)
    ext4.write_ext4(
        RAW,
        TREE,
        variables,
        uuid=plan["root_uuid"],
        hash_seed=plan["hash_seed"],
        label=plan["label"],
        offset=offset,
        size=plan["disk"] - offset,
    )


@contextmanager
def step(name: str, seconds: dict[str, float]) -> Iterator[None]:
    """Print that a step starts and ends, and add its duration to `seconds`."""
    print_event(step=name)
    start = time.monotonic()
    yield
    seconds[name] = round(time.monotonic() - start, 3)
    print_event(done=name, seconds=seconds[name])


def print_event(**fields: object) -> None:
    """Print one JSON line, at once."""
    sys.stdout.write(json.dumps(fields, sort_keys=True) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
