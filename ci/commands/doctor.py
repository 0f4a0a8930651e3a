"""`doctor`: what protects a release at GitHub, and what this machine lacks for one."""

import argparse
import time
from functools import partial

from ci.config import ReleaseConfig, read_config
from ci.preflight.checks import print_document, require, run_checks, table_rows
from ci.preflight.machine import RELEASE_SESSIONS, check_room, check_tools
from ci.preflight.settings import PERMISSION, check_settings, require_named_repository
from ci.publish.github_calls import GithubRepository
from ci.publish.release_files import require_protected
from ci.release.checkout import fresh_lock
from ci.report.console import Console
from ci.report.safe_output import read_secret

HELP = "Show what protects a release at GitHub, and what this machine lacks for one"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare no arguments: `doctor` has none."""


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print a table; return 1 when something is missing or failed, not for what cannot be read."""
    config = read_config(arguments.config)
    rows = run_checks(
        [
            ("programs", partial(check_tools, RELEASE_SESSIONS)),
            ("room", partial(check_room, config)),
            ("lock", lambda: fresh_lock(config.build).id),
        ]
    )
    rows += check_settings(partial(_open, config, console), config.build.branch)
    console.table(table_rows(rows))
    wrong = sum(row.state in ("FAILED", "missing") for row in rows)
    unknown = sum(row.state == "unknown" for row in rows)
    console.line(f"{wrong} of {len(rows)} to mend, {unknown} cannot be read with this token")
    print_document(rows, {}, console)
    return 1 if wrong else 0


def _open(config: ReleaseConfig, console: Console) -> GithubRepository:
    require_named_repository(config.repository)
    token = require(
        "GITHUB_TOKEN",
        read_secret(console.environment, "GITHUB_TOKEN"),
        hint=f"use one with the permission `{PERMISSION}` in {config.repository}; `gh auth token` "
        "prints that of the GitHub client",
    )
    require_protected("github.api", config.github_api)
    return GithubRepository(
        config.github_api, config.repository, token, wait=time.sleep, permission=PERMISSION
    )
