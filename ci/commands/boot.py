"""`boot`: the images of this release, booted as droplets and checked."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from build.edges.process import PATH, PLAIN
from build.errors import ConfigError
from ci.boot.boot_image import BootOptions, boot_image
from ci.boot.checks import MOMENTS, BootReport, report_path, write_report
from ci.boot.machine import ACCELERATORS
from ci.boot.scenarios.run_all import Row, boot_under_faults
from ci.boot.scenarios.scenarios import cases_called
from ci.config import ReleaseConfig, read_config
from ci.release.checkout import build_records, read_record
from ci.report.console import Console

NAME = "boot"
HELP = "Boot the built images as droplets and check them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `boot` takes."""
    parser.add_argument(
        "records",
        nargs="*",
        type=Path,
        metavar="RECORD",
        help="a *.build.json; without any, those of this release in dist",
    )
    parser.add_argument("--variant", help="boot only this image")
    parser.add_argument(
        "--image", type=Path, metavar="FILE.qcow2", help="boot this file: it has the same bytes"
    )
    parser.add_argument(
        "--timeout", type=seconds, default=300.0, metavar="S", help="seconds to the first login"
    )
    parser.add_argument(
        "--accelerator",
        choices=ACCELERATORS,
        default=ACCELERATORS[0],
        # Not found out by trying: where KVM only pretends to work, the try hangs for ever.
        help="tcg works everywhere (default); kvm is faster where /dev/kvm really works",
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave the droplet running until it is switched off"
    )
    parser.add_argument(
        "--faults", action="store_true", help="boot also with something amiss: a table of cases"
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="CASE",
        help="play this case of the table alone; nothing is written",
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Boot each image and print its checks; 1 when one does not hold."""
    config = read_config(arguments.config)
    records = _records(arguments, config)
    here = BootOptions(
        work=config.build.work / "boot",
        accelerator=arguments.accelerator,
        timeout=arguments.timeout,
        keep=arguments.keep,
        environment={**PLAIN, "PATH": console.environment.get("PATH") or PATH},
    )
    if arguments.only:
        return _some_cases(records, here, arguments, console)
    reports = []
    for record in records:
        report = boot_image(record, here, console.progress, image=arguments.image)
        tell(report, report_path(record), console)
        if arguments.faults:
            rows = boot_under_faults(record, here, console.progress, image=arguments.image)
            report = replace(report, faults=tuple(row.fault for row in rows))
            write_report(record, report)
            tell_rows(rows, console)
        reports.append(report)
    console.data({"reports": [report.document() for report in reports]})
    return 0 if all(report.passed for report in reports) else 1


def _some_cases(
    records: Sequence[Path], here: BootOptions, arguments: argparse.Namespace, console: Console
) -> int:
    """Play them for a person who looks into them: a report holds the whole table or none."""
    cases, found = cases_called(arguments.only), []
    for record in records:
        rows = boot_under_faults(record, here, console.progress, image=arguments.image, cases=cases)
        tell_rows(rows, console)
        found += [row.fault for row in rows]
    console.data({"faults": [fault.document() for fault in found]})
    return 0 if all(fault.passed for fault in found) else 1


def tell(report: BootReport, path: Path, console: Console) -> None:
    """Print one report for a person."""
    rows = []
    for check in report.checks:
        rows.append(["ok" if check.passed else "FAILED", check.name, check.found])
        if not check.passed:
            rows.append(["", "", f"expected: {check.expected}"])
    console.line(f"{report.image_file}: QEMU {report.qemu}, {report.accelerator}")
    console.table(rows)
    times = [f"{name} {report.seconds[name]:.1f}" for name in MOMENTS if name in report.seconds]
    console.line(f"seconds: {', '.join(times)}")
    failed = sum(not check.passed for check in report.checks)
    console.line(f"{path}: " + (f"{failed} checks failed" if failed else "all checks passed"))


def tell_rows(rows: Sequence[Row], console: Console) -> None:
    """Print the table of faults for a person: below a row that failed, what did not hold."""
    lines = []
    for row in rows:
        fault = row.fault
        word = "ok" if fault.passed else "FAILED"
        lines.append([word, fault.name, row.case.promise, f"{fault.seconds:.0f} s"])
        for check in row.played.checks:
            if not check.passed:
                lines.append(["", "", f"{check.name}: {check.found}", ""])
                lines.append(["", "", f"expected: {check.expected}", ""])
        if not fault.passed:
            lines += [["", "", f"console: {path}", ""] for path in row.logs]
    console.table(lines, header=["", "what is amiss", "what must hold", "time"])
    failed = sum(not row.fault.passed for row in rows)
    console.line(f"{len(rows)} cases, " + (f"{failed} failed" if failed else "all hold"))


def _records(arguments: argparse.Namespace, config: ReleaseConfig) -> list[Path]:
    records: list[Path] = arguments.records or build_records(config)
    if arguments.variant:
        records = [path for path in records if read_record(path)["variant"] == arguments.variant]
        if not records:
            raise ConfigError(f"--variant {arguments.variant}: no such build record")
    if arguments.image and len(records) != 1:
        raise ConfigError(
            f"--image {arguments.image}: there are {len(records)} build records, expected one",
            hint="name the record too, or the variant with `--variant`",
        )
    return records


def seconds(text: str) -> float:
    """Return a time-out; argparse turns the refusal into a message that says `seconds`."""
    value = float(text)
    if not 0 < value <= 24 * 3600:
        raise ValueError(text)
    return value
