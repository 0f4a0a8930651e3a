"""`preflight`: check everything that a release needs before it begins."""

import argparse
import time
from collections.abc import Callable, Mapping
from functools import partial

from build.errors import ConfigError
from ci.config import ReleaseConfig, read_config
from ci.preflight.bucket import check_bucket
from ci.preflight.checks import Row, print_document, require, run_checks, table_rows
from ci.preflight.kept import check_kept
from ci.preflight.machine import BUILD_SESSIONS, check_room, check_tools
from ci.preflight.previous import PreviousRelease
from ci.preflight.release import Planned, workflow_repository
from ci.preflight.workflow import check_workflow
from ci.publish.github_release import ReleaseHost
from ci.publish.release_files import require_protected
from ci.release.checkout import ROOT
from ci.report.actions import write_outputs, write_summary
from ci.report.console import Console
from ci.report.safe_output import read_secret
from ci.report.table import escape, markdown_table

HELP = "Check everything that a release needs before it begins, and change nothing"
PARTS = ("release", "bucket")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `preflight`."""
    parser.add_argument("tag", nargs="?", help="tag of the release; by default that of the version")
    parser.add_argument(
        "--part",
        choices=PARTS,
        help="only this: `release` needs GITHUB_TOKEN, `bucket` needs the keys of the bucket",
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Run every check and print one line for each; return 1 when one failed."""
    config = read_config(arguments.config)
    if arguments.tag and arguments.part == "bucket":
        raise ConfigError("--part bucket: takes no tag")
    rows: list[Row] = []
    planned = _plan_release(config, arguments.tag, console.environment)
    previous = PreviousRelease(planned, ROOT, console.progress)
    if arguments.part != "bucket":
        rows += _check_release(planned, previous)
    if arguments.part != "release":
        rows += run_checks([("bucket", partial(check_bucket, config.spaces, console.environment))])
    failed = sum(row.state != "ok" for row in rows)
    console.table(table_rows(rows))
    console.line(f"{failed} of {len(rows)} checks failed" if failed else "ready for a release")
    cells = [[row.state, row.name, escape(row.found), row.hint] for row in rows]
    header = ["", "check", "found", "what to do"]
    write_summary(console.environment, f"## Preflight\n\n{markdown_table(cells, header)}")
    # A later job of the workflow runs only when there is a bucket.
    outputs = {"mirror": "true" if config.spaces else "false"}
    if arguments.part != "bucket" and not failed:
        outputs["previous"] = previous.tag or ""
    write_outputs(console.environment, outputs)
    print_document(rows, {"mirror": config.spaces is not None}, console)
    return 1 if failed else 0


def _plan_release(
    config: ReleaseConfig, tag: str | None, environment: Mapping[str, str]
) -> Planned:
    running_in = workflow_repository(environment)
    return Planned(config, tag, running_in, partial(_open_host, config, environment))


def _check_release(planned: Planned, previous: PreviousRelease) -> list[Row]:
    config = planned.config
    others: tuple[tuple[str, Callable[[], str]], ...] = (
        ("previous release", previous.check),
        ("workflows", lambda: check_workflow(config, planned.origin.version, ROOT)),
        ("kept snapshot", lambda: check_kept(config, planned.lock, lambda: planned.github)),
        ("programs", partial(check_tools, BUILD_SESSIONS)),
        ("room", partial(check_room, config)),
    )
    return run_checks([*planned.checks(), *others])


def _open_host(config: ReleaseConfig, environment: Mapping[str, str]) -> ReleaseHost:
    token = require(
        "GITHUB_TOKEN",
        read_secret(environment, "GITHUB_TOKEN"),
        hint=f"use one with the permission `contents: read` in {config.repository}",
    )
    require_protected("github.api", config.github_api)
    return ReleaseHost(
        config.github_api, config.repository, token, wait=time.sleep, permission="contents: read"
    )
