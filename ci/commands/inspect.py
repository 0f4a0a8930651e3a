"""`inspect`: a disk image -> its content and its findings."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from build.config import BuildConfig
from build.edges.temporary import temporary_folder
from build.errors import SnowdropError
from build.inspect.boot_code import BootCode, read_boot_code
from build.inspect.inspection import (
    Inspection,
    InspectOptions,
    format_count,
    inspect_image,
    write_image_json,
)
from build.inspect.readers.superblock import features
from build.snapshot.lock_reader import read_lock
from build.snapshot.store import Store
from build.words import counted
from ci.config import read_config
from ci.release.checkout import read_record
from ci.report.console import Console
from ci.report.table import size_text

HELP = "Show the content of a disk image and its findings, without mounting it"
FOUND = 1
"""Exit code when there are findings."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `inspect`."""
    parser.add_argument("image", type=Path, metavar="IMAGE", help="a qcow2 or raw disk image")
    parser.add_argument("--files", action="store_true", help="show every file")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write image.json to FILE")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print the content of the image; return 1 when there are findings."""
    with temporary_folder("snowdrop-inspect-", Path(gettempdir())) as folder:
        options = _options(arguments.image, arguments.config, folder)
        inspection = inspect_image(arguments.image, options)
    if arguments.write:
        write_image_json(inspection, arguments.write)
    print_inspection(inspection, console, files=arguments.files)
    for line in options.skipped_checks():
        console.line(line)
    findings = [
        {"where": each.where, "rule": each.rule, "text": each.text, "reason": each.reason}
        for each in inspection.findings
    ]
    console.data({**inspection.document(), "findings": findings})
    return FOUND if inspection.findings else 0


def print_inspection(inspection: Inspection, console: Console, *, files: bool) -> None:
    """Print tables of the disk, set-user-id files, packages, files if requested, and findings."""
    document = inspection.document()
    console.table(_summary(inspection, document))
    _section(
        console,
        [
            [f"/{entry.path}", entry.mode_text, inspection.database.owner(entry.path) or "-"]
            for entry in inspection.set_id
        ],
        ["set-user-id or set-group-id", "mode", "package"],
    )
    packages = inspection.database.packages
    _section(
        console,
        [[each["name"], each["version"], each["license"]] for each in packages],
        [f"{counted(len(packages), 'package')}", "version", "license"],
    )
    if files:
        rows = [
            [each["path"], each["mode"], each.get("package") or each.get("reason") or "-"]
            for each in document["files"]
        ]
        _section(console, rows, ["file", "mode", "package"])
    _section(
        console,
        [[finding.where, finding.text, finding.rule] for finding in inspection.findings],
        ["found", "what", "rule"],
    )
    console.line()
    console.line(format_count(inspection.findings))


def _summary(inspection: Inspection, document: Mapping[str, Any]) -> list[list[str]]:
    """Return rows about the disk as a whole; `document` is its image.json."""
    block, startup = inspection.superblock, inspection.startup
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
        ["kernel", f"/{startup.kernel}, {', '.join(startup.releases) or 'release unknown'}"],
        ["command line", startup.options or "-"],
        ["tree", f"{len(inspection.entries)} entries, sha256 {inspection.tree_sha256}"],
        *[[f"at {level}", " ".join(names)] for level, names in inspection.services.items()],
    ]


def _section(console: Console, rows: list[list[str]], header: list[str]) -> None:
    if rows:
        console.line()
        console.table(rows, header=header)


def _options(image: Path, file: Path, work: Path) -> InspectOptions:
    """Return the facts about an image from its build record and from this checkout."""
    config = read_config(file).build if file.exists() else None
    record = _record(image)
    variant = config.images.get(str(record.get("variant"))) if config else None
    return InspectOptions(
        boot_code=_boot_code(config, work) if config else None,
        tree_sha256=str(record["tree"]["sha256"]) if record else "",
        accept=variant.accept if variant else (),
        programs=work,
    )


def _boot_code(config: BuildConfig, work: Path) -> BootCode | None:
    """Return the boot code of the GRUB in this checkout's lock, None when it is not available."""
    if not config.lock.exists():
        return None
    try:
        return read_boot_code(read_lock(config.lock), Store(config.store), work)
    except SnowdropError:
        # An incomplete store must not keep the image from being shown.
        return None


def _record(image: Path) -> Mapping[str, Any]:
    """Return the build record beside the image, an empty one when there is none for it."""
    path = image.with_suffix(".build.json")
    record = read_record(path) if path.is_file() else {}
    match record:
        case {"tree": {"sha256": str()}, "image": {"file": image.name}}:
            return record
        case _:
            return {}
