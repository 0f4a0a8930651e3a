"""The walk of an inspection, from a file to findings and image.json: read me first."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.edges.files import hash_file, write_file
from build.errors import ImageError
from build.inspect.boot_code import BootCode, boot_digests, check_boot_code
from build.inspect.external_checks import check_with_programs
from build.inspect.findings import Finding, accepted
from build.inspect.readers.disk import Disk, Table, open_disk, read_table
from build.inspect.readers.ext4 import FileSystem, find_file_system
from build.inspect.readers.packages import Database, read_database
from build.inspect.readers.superblock import Superblock, features
from build.inspect.readers.tree import Entry, read_tree
from build.inspect.rules import (
    check_header,
    check_packages,
    check_system,
    check_table,
    check_triggers,
    unowned_reason,
)
from build.inspect.secrets import scan, search_for
from build.inspect.startup import Start, check_start, read_start, services

FORMAT = 1
SUFFIX = ".image.json"
SET_ID = 0o6000
ROOT_SIGNS = ("etc", "bin", "sbin", "usr")
"""Folders of which a root file system has at least two."""
SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectOptions:
    """What an image is judged by, beside what holds for every one."""

    boot_code: BootCode | None = None
    """GRUB's, when the builder's packages are at hand."""
    build_paths: tuple[str, ...] = ()
    """Paths of the machine that built, which no file may hold."""
    tree_sha256: str = ""
    """Of the listing that the builder wrote; empty when it is not known."""
    accept: tuple[str, ...] = ()
    """Findings that are meant so, as release.toml has them: `RULE /PATH: REASON`."""
    programs: Path | None = None
    """A folder to work in, when qemu-img and e2fsck are to look too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """Everything that is said of an image."""

    path: Path
    disk: Mapping[str, Any]
    superblock: Superblock
    tree_sha256: str
    """Of the listing, as `build.inside.tree` takes it."""
    entries: Mapping[str, Entry]
    database: Database
    start: Start
    services: Mapping[str, tuple[str, ...]]
    findings: tuple[Finding, ...]

    @property
    def set_id(self) -> tuple[Entry, ...]:
        """Files that run with the rights of their owner or group."""
        found = (entry for entry in self.entries.values() if entry.kind == "file")
        return tuple(entry for entry in found if entry.mode & SET_ID)

    @property
    def free(self) -> int:
        """Free bytes of the file system."""
        return int(self.superblock["free blocks"]) * int(self.superblock["block size"])

    def document(self) -> dict[str, Any]:
        """Return image.json: the same for the same bytes, whoever looks, whenever."""
        block = self.superblock
        return {
            "format": FORMAT,
            **self.disk,
            "file_system": {
                "uuid": block["UUID"],
                "hash_seed": block["hash seed"],
                "label": block["label"],
                "features": sorted(features(block)),
                "block_size": block["block size"],
                "blocks": block["blocks"],
                "free_blocks": block["free blocks"],
                "inodes": block["inodes"],
                "free_inodes": block["free inodes"],
            },
            "tree": {"sha256": self.tree_sha256},
            "kernel": {
                "file": self.start.kernel,
                "initramfs": self.start.initramfs,
                "releases": list(self.start.releases),
                "command_line": self.start.options,
            },
            "packages": self.database.packages,
            "services": {level: list(names) for level, names in self.services.items()},
            "setuid": [f"/{entry.path}" for entry in self.set_id],
            "files": [self._file(entry) for entry in self.entries.values()],
        }

    def _file(self, entry: Entry) -> dict[str, Any]:
        inode, owner = entry.inode, self.database.owner(entry.path)
        what = {"file": "sha256", "link": "target", "char": "device", "block": "device"}
        told: dict[str, Any] = {
            "path": f"/{entry.path}" if entry.path != "." else "/",
            "kind": entry.kind,
            "mode": entry.mode_text,
            "owner": inode.owner,
            "group": inode.group,
            "mtime": inode.times["mtime"] // 10**9,
        }
        if owner:
            told["package"] = owner
        elif reason := unowned_reason(entry):
            told["reason"] = reason
        if entry.kind == "file":
            told["size"] = entry.size
        if entry.kind in what:
            told[what[entry.kind]] = entry.target or entry.content
        if inode.attributes:
            told["attributes"] = {name: value.hex() for name, value in inode.attributes.items()}
        return told


def inspect_image(path: Path, measures: InspectOptions) -> Inspection:
    """Return what the image at `path` holds and everything that is wrong with it.

    Raises:
        ImageError: it cannot be read, or holds no ext4 file system.
        MissingToolError: a program is asked for and is not on this machine.
    """
    with open_disk(path) as disk:
        table = read_table(disk)
        system = root_system(disk, table)
        search = search_for(measures.build_paths)
        tree = read_tree(system, search)
        database, start = read_database(tree), read_start(tree)
        listed = hashlib.sha256(tree.listing()).hexdigest()
        findings = [
            *check_header(disk),
            *check_table(disk, table, system),
            *check_boot_code(disk, measures.boot_code),
            *check_system(system),
            *check_start(tree, start),
            *check_packages(tree, database),
            *check_triggers(tree),
            *scan(tree, database, search),
        ]
        if measures.tree_sha256 not in ("", listed):
            text = f"sha256 {listed}, the builder listed {measures.tree_sha256}"
            findings.append(Finding("tree", "tree", text))
        if measures.programs:
            findings += check_with_programs(disk, system.offset, measures.programs)
        return Inspection(
            path=path,
            disk=_disk(disk, table),
            superblock=system.superblock,
            tree_sha256=listed,
            entries=tree.entries,
            database=database,
            start=start,
            services=services(tree),
            findings=_kept(findings, measures.accept),
        )


def _kept(findings: Sequence[Finding], accept: Sequence[str]) -> tuple[Finding, ...]:
    return tuple(sorted(each for each in set(findings) if not accepted(each, accept)))


def root_system(disk: Disk, table: Table) -> FileSystem:
    """Return the root file system: of a partition, or of the disk as a whole.

    Raises:
        ImageError: there is no ext4 file system that looks like a root.
    """
    places = [(part.start, part.size) for part in table.partitions] or [(0, disk.size)]
    found = [find_file_system(disk, start, size) for start, size in places]
    systems = [system for system in found if system is not None]
    for system in systems:
        names = {name.decode(errors="replace") for name, _ in system.names(system.inode(2))}
        if len(names & set(ROOT_SIGNS)) > 1 or len(systems) == 1:
            return system
    raise ImageError(f"{disk.path}: no ext4 file system in {table.kind} partitions, expected one")


def write_image_json(inspection: Inspection, path: Path) -> None:
    """Write image.json, whole or not at all."""
    content = json.dumps(inspection.document(), sort_keys=True, indent=1, ensure_ascii=True)
    write_file(path, f"{content}\n".encode())


def refuse(inspection: Inspection) -> None:
    """Check that nothing was found.

    Raises:
        ImageError: a line for each of the first findings.
    """
    if not inspection.findings:
        return
    lines = [finding.line for finding in inspection.findings[:SHOWN]]
    more = len(inspection.findings) - SHOWN
    lines += [f"and {more} more"] if more > 0 else []
    name = inspection.path.name
    raise ImageError(
        "\n  ".join([f"{name}: {counted(inspection.findings)}", *lines]),
        hint=f"`nox -s inspect -- {inspection.path}` shows all of the image",
    )


def _disk(disk: Disk, table: Table) -> dict[str, Any]:
    made = hash_file(disk.path)
    return {
        "image": {
            "file": disk.path.name,
            "format": disk.format,
            "size": made.size,
            "sha256": made.sha256,
        },
        "disk": {
            "size": disk.size,
            "table": table.kind,
            "id": table.identity,
            "partitions": [
                {
                    "number": part.number,
                    "start": part.start,
                    "size": part.size,
                    "type": part.kind,
                    "active": part.active,
                }
                for part in table.partitions
            ],
            "boot_code": boot_digests(disk),
        },
    }


def counted(findings: Sequence[Finding]) -> str:
    """Return how many findings there are, in words."""
    return f"{len(findings)} finding{'s' * (len(findings) != 1)}" if findings else "no findings"


def measures_text(measures: InspectOptions) -> Sequence[str]:
    """Return a line for everything that could not be looked at."""
    lines = []
    if measures.boot_code is None:
        lines.append("boot code not compared: no lock with the builder's GRUB at hand")
    if not measures.tree_sha256:
        lines.append("tree not compared: no build record beside the image")
    return lines
