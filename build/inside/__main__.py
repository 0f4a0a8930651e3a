"""The walk in the builder: /in/plan.json -> /out/*.qcow2 and /out/result.json.

Each step is one JSON line on standard output, so that whoever waits sees what is going on.
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
from build.inside.install import Request, install
from build.inside.machine import look_around
from build.inside.programs import Failure
from build.inside.qcow2 import digest, write_qcow2
from build.inside.tree import list_tree

PLAN = Path("/in/plan.json")
OUT = Path("/out")
PACKAGES = Path("/apk/packages")
WORK = Path("/apk/build")
"""A tmpfs: owners, device nodes and attributes are kept, and the host never sees them."""


def main() -> int:
    """Do what the plan says; return the status, having told a failure as a JSON line."""
    mask = os.umask(0o022)
    try:
        plan = json.loads(PLAN.read_text(encoding="utf-8"))
        Walk(plan).go(look_around(WORK, PACKAGES, mask))
    except Failure as failure:
        _tell(error=str(failure), hint=failure.hint)
        return 1
    except OSError as error:
        hint = programs.MAKE_ROOM if error.errno == errno.ENOSPC else ""
        _tell(error=f"{error.filename or 'builder'}: {error.strerror}", hint=hint)
        return 1
    return 0


class Walk:
    """One image on its way: the plan, where things are, and how long each step took."""

    def __init__(self, plan: Mapping[str, Any]) -> None:
        self.plan = plan
        self.tree = WORK / "tree"
        self.raw = WORK / "disk.raw"
        self.variables = programs.environment(plan["epoch"])
        self.seconds: dict[str, float] = {}

    def go(self, machine: Mapping[str, object]) -> None:
        """Take every step, one line each, and write the result, with what is seen here, last."""
        plan, tree = self.plan, self.tree
        with self.step("install"):
            install(tree, self.request(), self.variables)
        with self.step("services"):
            services.enable(tree, plan["services"])
            services.write_files(
                tree, root_uuid=plan["root_uuid"], repositories=plan["public_repositories"]
            )
        with self.step("initramfs"):
            kernel = initramfs.find_kernel(tree)
            initramfs.make_initramfs(tree, kernel, self.variables)
            options = bootloader.kernel_options(plan["root_uuid"], plan["kernel_options"])
            bootloader.write_menu(tree, kernel, options)
        with self.step("normalise"):
            normalise.normalise(tree, plan["epoch"], without=plan["without_rules"])
        with self.step("list"):
            listing = list_tree(tree)
            (OUT / "tree.txt").write_bytes(listing.text)
        with self.step("disk"):
            self.write_disk(listing.bytes, listing.entries)
        with self.step("digest"):
            raw = digest(self.raw)
        with self.step("qcow2"):
            write_qcow2(self.raw, OUT / plan["image"], self.variables)
        found = {"entries": listing.entries, "sha256": listing.sha256, "bytes": listing.bytes}
        result = {
            "raw": asdict(raw),
            "tree": found,
            "seconds": self.seconds,
            "machine": machine,
        }
        (OUT / "result.json").write_text(json.dumps(result, sort_keys=True))

    def request(self) -> Request:
        """Return what the plan wants installed."""
        plan = self.plan
        return Request(
            arch=plan["arch"],
            repositories=tuple(plan["repositories"]),
            world=tuple(plan["world"]),
            expected=dict(plan["expected"]),
            local_key=plan["local_key"],
        )

    def write_disk(self, content: int, entries: int) -> None:
        """Write the raw disk: partition table, boot code, file system."""
        plan, offset = self.plan, bootloader.FIRST_SECTOR * bootloader.SECTOR
        ext4.check_space(plan["disk"], content=content, entries=entries, variant=plan["variant"])
        ext4.check_memory(WORK, content)
        with self.raw.open("wb") as file:
            file.truncate(plan["disk"])
        bootloader.write_partition_table(self.raw, plan["disk_id"], self.variables)
        bootloader.write_boot_code(self.raw, self.variables)
        system = ext4.FileSystem(
            uuid=plan["root_uuid"],
            hash_seed=plan["hash_seed"],
            label=plan["label"],
            size=plan["disk"] - offset,
        )
        ext4.write_ext4(self.raw, self.tree, system, offset=offset, variables=self.variables)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Tell that a step starts and ends, and keep its seconds."""
        _tell(step=name)
        start = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - start, 3)
        _tell(done=name, seconds=self.seconds[name])


def _tell(**fields: object) -> None:
    sys.stdout.write(json.dumps(fields, sort_keys=True) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
