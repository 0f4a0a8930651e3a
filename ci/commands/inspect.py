"""`inspect`: a disk image -> what it holds, and everything that is wrong with it."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from build.config import BuildConfig
from build.errors import SnowdropError
from build.inspect.boot_code import BootCode, boot_code_of
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

HELP = "Show what a disk image holds, without mounting it, and what is wrong with it"
FOUND = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `inspect` takes."""
    parser.add_argument("image", type=Path, metavar="IMAGE", help="a qcow2 or raw disk image")
    parser.add_argument("--files", action="store_true", help="show every file")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write image.json to FILE")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Tell what is in the image; return 1 when there is a finding."""
    with TemporaryDirectory(prefix="inspect-") as folder:
        measures = _measures(arguments.image, arguments.config, Path(folder))
        inspection = inspect_image(arguments.image, measures)
    if arguments.write:
        write_image_json(inspection, arguments.write)
    tell(inspection, console, files=arguments.files)
    for line in measures_text(measures):
        console.line(line)
    console.data({**inspection.document(), "findings": _findings(inspection)})
    return FOUND if inspection.findings else 0


def tell(inspection: Inspection, console: Console, *, files: bool) -> None:
    """Print the image in tables: the disk, services, packages, findings."""
    told = inspection.document()
    console.table(_summary(inspection, told))
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
        [f"{len(packages)} packages", "version", "license"],
    )
    if files:
        _section(console, [_file_row(each) for each in told["files"]], ["file", "mode", "package"])
    _section(
        console,
        [[finding.where, finding.text, finding.rule] for finding in inspection.findings],
        ["found", "what", "rule"],
    )
    console.line()
    console.line(counted(inspection.findings))


def _summary(inspection: Inspection, told: Mapping[str, Any]) -> list[list[str]]:
    """Return what is said of the disk as a whole; `told` is the image.json."""
    block, start = inspection.superblock, inspection.start
    image, disk = told["image"], told["disk"]
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


def _section(console: Console, rows: list[list[str]], header: list[str]) -> None:
    if rows:
        console.line()
        console.table(rows, header=header)


def _file_row(file: dict[str, Any]) -> list[str]:
    return [file["path"], file["mode"], file.get("package") or file.get("reason") or "-"]


def _findings(inspection: Inspection) -> list[dict[str, str]]:
    return [
        {"where": each.where, "rule": each.rule, "text": each.text, "reason": each.reason}
        for each in inspection.findings
    ]


def _measures(image: Path, file: Path, work: Path) -> InspectOptions:
    """Return what is known of an image: by its build record, and by this checkout."""
    config = read_config(file).build if file.exists() else None
    record = _record(image)
    wanted = config.images.get(str(record.get("variant"))) if config else None
    return InspectOptions(
        boot_code=_boot_code(config, work) if config else None,
        tree_sha256=str(record["tree"]["sha256"]) if record else "",
        accept=wanted.accept if wanted else (),
        programs=work,
    )


def _boot_code(config: BuildConfig, work: Path) -> BootCode | None:
    """Return the boot code of this checkout's lock, None when it is not at hand."""
    if not config.lock.exists():
        return None
    try:
        return boot_code_of(read_lock(config.lock), Store(config.store), work)
    except SnowdropError:
        # The image is to be shown whatever became of the store.
        return None


def _record(image: Path) -> Mapping[str, Any]:
    """Return the build record beside the image, an empty one when none speaks of it."""
    path = image.with_suffix(".build.json")
    record = read_record(path) if path.is_file() else {}
    match record:
        case {"tree": {"sha256": str()}, "image": {"file": image.name}}:
            return record
        case _:
            return {}
