"""`boot`: boot the images of this release as droplets and check them."""

import argparse
import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from build.edges.process import PATH, PLAIN
from build.errors import ConfigError
from ci.boot.boot_image import BootOptions, boot_image
from ci.boot.checks import MOMENTS, BootReport, Check, report_path, write_report
from ci.boot.machine import ACCELERATORS
from ci.boot.scenarios.power_cuts import random_cuts
from ci.boot.scenarios.run_all import run_scenarios
from ci.boot.scenarios.runner import ScenarioResult
from ci.boot.scenarios.scenarios import Scenario, select_scenarios
from ci.boot.timing import format_slowest
from ci.config import ReleaseConfig, read_config
from ci.publish.summary import format_summary, read_summary
from ci.release.checkout import build_records, read_record
from ci.report.actions import write_summary
from ci.report.console import Console

HELP = "Boot the built images as droplets and check them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `boot`."""
    parser.add_argument(
        "records",
        nargs="*",
        type=Path,
        metavar="RECORD",
        help="a *.build.json; by default those of this release in dist",
    )
    parser.add_argument("--variant", help="boot only this image")
    parser.add_argument(
        "--image", type=Path, metavar="FILE.qcow2", help="boot this file, which has the same bytes"
    )
    parser.add_argument(
        "--timeout", type=seconds, default=300.0, metavar="S", help="seconds to the first login"
    )
    parser.add_argument(
        "--accelerator",
        choices=ACCELERATORS,
        default="tcg",
        # Not detected by trying: with a broken KVM the attempt never ends.
        help="tcg works everywhere (default); kvm is faster where /dev/kvm really works; "
        "icount measures, without GRUB: a nanosecond of the droplet's clock is one instruction",
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave the droplet running until it is powered off"
    )
    parser.add_argument(
        "--faults", action="store_true", help="boot also under faults: the table of scenarios"
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="SCENARIO",
        help="run only this scenario and write no report",
    )
    parser.add_argument(
        "--power-cuts",
        nargs="?",
        type=int,
        const=secrets.randbelow(1 << 32),
        metavar="SEED",
        help="cut the power of 20 first boots and of 10 copies' at random moments, and write no "
        "report; the seed is printed",
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Boot each image and print its checks; return 1 when a check failed."""
    seed = arguments.power_cuts
    selects = bool(arguments.only) or seed is not None
    if arguments.accelerator == "icount" and (arguments.faults or selects):
        raise ConfigError(
            "--accelerator icount: it starts the kernel without GRUB",
            hint="run the scenarios with `--accelerator tcg`",
        )
    config = read_config(arguments.config)
    records = _records(arguments, config)
    options = BootOptions(
        work=config.build.work / "boot",
        accelerator=arguments.accelerator,
        timeout=arguments.timeout,
        keep=arguments.keep,
        environment={**PLAIN, "PATH": console.environment.get("PATH") or PATH},
    )
    if seed is not None:
        console.line(f"power cuts with the seed {seed}")
        return _run_selected(records, options, arguments, console, random_cuts(seed))
    if arguments.only:
        selected = select_scenarios(arguments.only)
        return _run_selected(records, options, arguments, console, selected)
    reports = []
    for record in records:
        report = boot_image(record, options, console.progress, image=arguments.image)
        _print_report(report, report_path(record), console)
        if arguments.faults:
            results = run_scenarios(record, options, console.progress, image=arguments.image)
            report = replace(report, faults=tuple(result.row for result in results))
            write_report(record, report)
            _print_scenarios(results, console)
        reports.append(report)
    write_summary(console.environment, format_summary(read_summary(config)))
    console.data({"reports": [report.document() for report in reports]})
    return 0 if all(report.passed for report in reports) else 1


def _run_selected(
    records: Sequence[Path],
    options: BootOptions,
    arguments: argparse.Namespace,
    console: Console,
    scenarios: Sequence[Scenario],
) -> int:
    """Run scenarios without a report: a report has the whole table or none of it."""
    rows = []
    for record in records:
        results = run_scenarios(
            record, options, console.progress, image=arguments.image, scenarios=scenarios
        )
        _print_scenarios(results, console)
        rows += [result.row for result in results]
    console.data({"faults": [row.document() for row in rows]})
    return 0 if all(row.passed for row in rows) else 1


def _print_report(report: BootReport, path: Path, console: Console) -> None:
    rows = []
    for check in report.checks:
        rows.append(["ok" if check.passed else "FAILED", check.name, check.found])
        if not check.passed:
            rows.append(["", "", f"expected: {check.expected}"])
    console.line(f"{report.image_file}: QEMU {report.qemu}, {report.accelerator}")
    console.table(rows)
    times = [f"{name} {report.seconds[name]:.1f}" for name in MOMENTS if name in report.seconds]
    console.line(f"seconds: {', '.join(times)}")
    if report.services:
        console.line(f"slowest services, droplet's seconds: {format_slowest(report.services)}")
    if report.ports is not None:
        console.line(f"open ports: {', '.join(report.ports) or 'none'}")
    console.line(f"{path}: {_count_failures(report.checks, 'checks')}")


def _print_scenarios(results: Sequence[ScenarioResult], console: Console) -> None:
    """Print the results; below a failed scenario, its failed checks and its console logs."""
    lines = []
    for result in results:
        row = result.row
        status = "ok" if row.passed else "FAILED"
        lines.append([status, row.name, result.scenario.expectation, f"{row.seconds:.0f} s"])
        for check in result.checks:
            if not check.passed:
                lines.append(["", "", f"{check.name}: {check.found}", ""])
                lines.append(["", "", f"expected: {check.expected}", ""])
        if not row.passed:
            lines += [["", "", f"console: {path}", ""] for path in result.logs]
    console.table(lines, header=["", "scenario", "expectation", "time"])
    console.line(_count_failures([result.row for result in results], "scenarios"))


def _count_failures(rows: Sequence[Check], noun: str) -> str:
    failed = sum(not row.passed for row in rows)
    return f"{failed} of {len(rows)} {noun} failed" if failed else f"all {len(rows)} {noun} passed"


def _records(arguments: argparse.Namespace, config: ReleaseConfig) -> list[Path]:
    records: list[Path] = arguments.records
    if not records:
        records = build_records(config, arguments.variant)
    elif arguments.variant:
        found = {path: str(read_record(path)["variant"]) for path in records}
        records = [path for path, variant in found.items() if variant == arguments.variant]
        if not records:
            raise ConfigError(
                f"--variant {arguments.variant}: no such build record, expected one of: "
                f"{', '.join(sorted(set(found.values())))}"
            )
    if arguments.image and len(records) != 1:
        raise ConfigError(
            f"--image {arguments.image}: there are {len(records)} build records, expected one",
            hint="name the record too, or the variant with `--variant`",
        )
    return records


def seconds(text: str) -> float:
    """Return a time-out in seconds; argparse prints this function's name in its error.

    Raises:
        ValueError: not a number between 0 and a day.
    """
    value = float(text)
    if not 0 < value <= 24 * 3600:
        raise ValueError(text)
    return value
