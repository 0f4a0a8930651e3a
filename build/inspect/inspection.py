"""The inspection of an image, from a file to findings and image.json: read this module first."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from build.edges.files import hash_file, write_file
from build.errors import ImageError
from build.inspect import rules
from build.inspect.boot_code import BootCode, boot_digests, check_boot_code
from build.inspect.external_checks import check_with_programs
from build.inspect.readers.disk import Disk, Table, open_disk, read_table
from build.inspect.readers.ext4 import FileSystem, find_file_system
from build.inspect.readers.packages import Database, read_database
from build.inspect.readers.superblock import Superblock, features
from build.inspect.readers.tree import Entry, read_tree
from build.inspect.rules import Finding
from build.inspect.secrets import check_secrets, secret_patterns
from build.inspect.startup import (
    Startup,
    check_initramfs,
    check_startup,
    list_services,
    read_startup,
)

FORMAT = 1
SUFFIX = ".image.json"
SET_ID = 0o6000
"""Bits of set-user-id and set-group-id (inode(7))."""
ROOT_FOLDERS = {"etc", "bin", "sbin", "usr"}
"""A root file system has at least two of these."""
MAX_PRINTED = 20
DETAILS = {"file": "sha256", "link": "target", "char": "device", "block": "device"}
"""Key of an entry's content in image.json, by the kind of the entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectOptions:
    """Facts about one image that its checks need."""

    boot_code: BootCode | None = None
    """GRUB's, when the builder's packages are available."""
    build_paths: tuple[str, ...] = ()
    """Paths of the machine that built the image, which no file may contain."""
    tree_sha256: str = ""
    """Digest of the listing that the builder wrote; empty when it is unknown."""
    accept: tuple[str, ...] = ()
    """Accepted findings, as in release.toml: `RULE /PATH: REASON`."""
    programs: Path | None = None
    """Folder for temporary files of qemu-img and e2fsck; None does not run them."""

    def skipped_checks(self) -> tuple[str, ...]:
        """Return a line for each check that needs an unknown fact."""
        lines = {
            "boot code not compared: no lock with the builder's GRUB": self.boot_code is None,
            "tree not compared: no build record beside the image": not self.tree_sha256,
        }
        return tuple(line for line, is_skipped in lines.items() if is_skipped)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """The content of an image and its findings."""

    path: Path
    disk: Mapping[str, Any]
    superblock: Superblock
    tree_sha256: str
    """Digest of the listing, as `build.inside.listing` computes it."""
    entries: Mapping[str, Entry]
    database: Database
    startup: Startup
    services: Mapping[str, tuple[str, ...]]
    findings: tuple[Finding, ...]

    @property
    def set_id(self) -> tuple[Entry, ...]:
        """Files that run with the rights of their owner or group."""
        files = (entry for entry in self.entries.values() if entry.kind == "file")
        return tuple(entry for entry in files if entry.mode & SET_ID)

    @property
    def free(self) -> int:
        """Free bytes of the file system."""
        return int(self.superblock["free blocks"]) * int(self.superblock["block size"])

    def document(self) -> dict[str, Any]:
        """Return image.json, which depends on the bytes of the image only."""
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
                "file": self.startup.kernel,
                "initramfs": self.startup.initramfs,
                "releases": list(self.startup.releases),
                "command_line": self.startup.options,
            },
            "packages": self.database.packages,
            "services": {level: list(names) for level, names in self.services.items()},
            "setuid": [f"/{entry.path}" for entry in self.set_id],
            "files": [self._file(entry) for entry in self.entries.values()],
        }

    def _file(self, entry: Entry) -> dict[str, Any]:
        inode, owner = entry.inode, self.database.owner(entry.path)
        file: dict[str, Any] = {
            "path": f"/{entry.path}" if entry.path != "." else "/",
            "kind": entry.kind,
            "mode": entry.mode_text,
            "owner": inode.owner,
            "group": inode.group,
            "mtime": inode.times["mtime"] // 10**9,
        }
        if owner:
            file["package"] = owner
        elif reason := rules.unowned_reason(entry):
            file["reason"] = reason
        if entry.kind == "file":
            file["size"] = entry.size
        if entry.kind in DETAILS:
            file[DETAILS[entry.kind]] = entry.target or entry.content
        if inode.attributes:
            file["attributes"] = {name: value.hex() for name, value in inode.attributes.items()}
        return file


def inspect_image(path: Path, options: InspectOptions) -> Inspection:
    """Return the content of the image at `path` and its findings.

    Raises:
        ImageError: it cannot be read, or has no ext4 file system.
        MissingToolError: `options.programs` is set, and a program is not on this machine.
    """
    with open_disk(path) as disk:
        table = read_table(disk)
        system = root_system(disk, table)
        patterns = secret_patterns(options.build_paths)
        tree = read_tree(system, patterns)
        database, startup = read_database(tree), read_startup(tree)
        listed = hashlib.sha256(tree.listing()).hexdigest()
        findings = [
            *rules.check_header(disk),
            *rules.check_table(disk, table, system),
            *check_boot_code(disk, options.boot_code),
            *rules.check_system(system),
            *check_startup(tree, startup),
            *check_initramfs(tree, startup),
            *rules.check_packages(tree, database),
            *rules.check_triggers(tree),
            *check_secrets(tree, database, patterns),
        ]
        if options.tree_sha256 not in ("", listed):
            text = f"sha256 {listed}, the builder listed {options.tree_sha256}"
            findings.append(Finding("tree", "tree", text))
        if options.programs:
            findings += check_with_programs(disk, system.offset, options.programs)
        kept = {each for each in findings if not rules.is_accepted(each, options.accept)}
        return Inspection(
            path=path,
            disk=_disk(disk, table),
            superblock=system.superblock,
            tree_sha256=listed,
            entries=tree.entries,
            database=database,
            startup=startup,
            services=list_services(tree),
            findings=tuple(sorted(kept)),
        )


def root_system(disk: Disk, table: Table) -> FileSystem:
    """Return the root file system: of a partition, or of the disk as a whole.

    Raises:
        ImageError: there is no ext4 file system that looks like a root.
    """
    ranges = [(part.start, part.size) for part in table.partitions] or [(0, disk.size)]
    found = [find_file_system(disk, start, size) for start, size in ranges]
    systems = [system for system in found if system is not None]
    for system in systems:
        names = {name.decode(errors="replace") for name, _ in system.names(system.inode(2))}
        if len(names & ROOT_FOLDERS) > 1 or len(systems) == 1:
            return system
    raise ImageError(f"{disk.path}: no ext4 file system in {table.kind} partitions, expected one")


def write_image_json(inspection: Inspection, path: Path) -> None:
    """Write image.json atomically."""
    content = json.dumps(inspection.document(), sort_keys=True, indent=1, ensure_ascii=True)
    write_file(path, f"{content}\n".encode())


def check_findings(inspection: Inspection) -> None:
    """Check that there are no findings.

    Raises:
        ImageError: a line for each of the first findings.
    """
    if not inspection.findings:
        return
    lines = [finding.line for finding in inspection.findings[:MAX_PRINTED]]
    more = len(inspection.findings) - MAX_PRINTED
    lines += [f"and {more} more"] if more > 0 else []
    title = f"{inspection.path.name}: {format_count(inspection.findings)}"
    raise ImageError(
        "\n  ".join([title, *lines]),
        hint=f"run `nox -s inspect -- {inspection.path}` to see the whole image",
    )


def _disk(disk: Disk, table: Table) -> dict[str, Any]:
    file = {"file": disk.path.name, "format": disk.format, **asdict(hash_file(disk.path))}
    return {
        "image": file,
        "disk": {
            "size": disk.size,
            "table": table.kind,
            "id": table.identity,
            "partitions": [asdict(part) for part in table.partitions],
            "boot_code": boot_digests(disk),
        },
    }


def format_count(findings: Sequence[Finding]) -> str:
    """Return the number of findings as text."""
    return f"{len(findings)} finding{'s' * (len(findings) != 1)}" if findings else "no findings"
