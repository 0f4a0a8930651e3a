"""`inspect`: print the contents of a disk image, and everything that is wrong with it."""

import argparse
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from build.errors import SnowdropError
from build.inspect.boot_code import boot_code_of
from build.inspect.inspection import (
    Inspection,
    InspectOptions,
    counted,
    inspect_image,
    measures_text,
    write_image_json,
)
from build.inspect.readers.superblock import features
from build.snapshot.lock import read_lock
from build.snapshot.store import Store
from ci.config import read_config
from ci.release.checkout import read_record
from ci.report.console import Console
from ci.report.table import size_text

HELP = "Show the contents of a disk image, without mounting it, and what is wrong with it"
FOUND = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `inspect`."""
    parser.add_argument("image", type=Path, metavar="IMAGE", help="a qcow2 or raw disk image")
    parser.add_argument("--files", action="store_true", help="print every file")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write image.json to FILE")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print what is in the image; return 1 when there is a finding."""
    with TemporaryDirectory(prefix="inspect-") as folder:
        options = _options(arguments.image, arguments.config, Path(folder))
        inspection = inspect_image(arguments.image, options)
    if arguments.write:
        write_image_json(inspection, arguments.write)
    _print(inspection, console, files=arguments.files)
    for line in measures_text(options):
        console.line(line)
    findings = [{**asdict(finding), "reason": finding.reason} for finding in inspection.findings]
    console.data({**inspection.document(), "findings": findings})
    return FOUND if inspection.findings else 0


def _print(inspection: Inspection, console: Console, *, files: bool) -> None:
    """Print the image in tables: the disk, services, packages, findings."""
    document, owner = inspection.document(), inspection.database.owner
    packages = inspection.database.packages
    sections: dict[tuple[str, ...], list[list[str]]] = {
        ("set-user-id or set-group-id", "mode", "package"): [
            [f"/{entry.path}", entry.mode_text, owner(entry.path) or "-"]
            for entry in inspection.set_id
        ],
        (f"{len(packages)} packages", "version", "license"): [
            [each["name"], each["version"], each["license"]] for each in packages
        ],
        ("file", "mode", "package"): [
            [file["path"], file["mode"], file.get("package") or file.get("reason") or "-"]
            for file in document["files"]
            if files
        ],
        ("found", "what", "rule"): [
            [finding.where, finding.text, finding.rule] for finding in inspection.findings
        ],
    }
    console.table(_summary(inspection, document))
    for header, rows in sections.items():
        if rows:
            console.line()
            console.table(rows, header=header)
    console.line()
    console.line(counted(inspection.findings))


def _summary(inspection: Inspection, document: Mapping[str, Any]) -> list[list[str]]:
    """Return the rows about the disk as a whole; `document` is the image.json."""
    block, start = inspection.superblock, inspection.start
    image, disk = document["image"], document["disk"]
    parts = [
        f"{part['number']}: {part['type']}{' active' if part['active'] else ''}, "
        f"{size_text(part['size'])} from byte {part['start']}"
        for part in disk["partitions"]
    ]
    return [
        ["image", f"{inspection.path}, {image['format']}, {size_text(image['size'])}"],
        ["sha256", image["sha256"]],
        ["disk", f"{size_text(disk['size'])}, table {disk['table']} {disk['id']}".rstrip()],
        *[["partition", part] for part in parts],
        ["ext4", f"{block['UUID']}, label {block['label'] or '-'}"],
        ["features", " ".join(features(block))],
        ["free", f"{size_text(inspection.free)}, {block['free inodes']} inodes"],
        ["kernel", f"/{start.kernel}, {', '.join(start.releases) or 'release unknown'}"],
        ["command line", start.options or "-"],
        ["tree", f"{len(inspection.entries)} entries, sha256 {inspection.tree_sha256}"],
        *[[f"at {level}", " ".join(names)] for level, names in inspection.services.items()],
    ]


def _options(image: Path, file: Path, work: Path) -> InspectOptions:
    """Return what its build record and this checkout say that the image must be."""
    config = read_config(file).build if file.exists() else None
    record = _record(image)
    wanted = config.images.get(str(record.get("variant"))) if config else None
    boot_code = None
    if config and config.lock.exists():
        # A damaged store must not prevent the inspection of an image.
        with suppress(SnowdropError):
            boot_code = boot_code_of(read_lock(config.lock), Store(config.store), work)
    return InspectOptions(
        boot_code=boot_code,
        tree_sha256=str(record["tree"]["sha256"]) if record else "",
        accept=wanted.accept if wanted else (),
        programs=work,
    )


def _record(image: Path) -> Mapping[str, Any]:
    """Return the build record beside the image, an empty one when it is about another image."""
    path = image.with_suffix(".build.json")
    record = read_record(path) if path.is_file() else {}
    match record:
        case {"tree": {"sha256": str()}, "image": {"file": image.name}}:
            return record
        case _:
            return {}
