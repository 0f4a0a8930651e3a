"""What holds for every test: markers, and the reasons for which one may be skipped."""

import os
import shutil
from collections.abc import Generator

import pytest

from tests import skips
from tests.alpine import SMALL

QEMU = "qemu-system-x86_64"


def pytest_configure(config: pytest.Config) -> None:
    """Keep the skip reasons of one run."""
    config.stash[UNKNOWN] = set()


UNKNOWN = pytest.StashKey[set[str]]()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose marker names what this machine lacks."""
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip(skips.ROOT)
    if item.get_closest_marker("alpine") and not SMALL.is_dir():
        pytest.skip(skips.ALPINE)
    if item.get_closest_marker("qemu") and shutil.which(QEMU) is None:
        pytest.skip(skips.QEMU)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note a skip whose reason is not among those of tests/skips.py."""
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not reason.startswith(skips.REASONS):
            item.config.stash[UNKNOWN].add(f"{item.nodeid}: {reason}")
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run that skipped a test for another reason."""
    if session.config.stash[UNKNOWN]:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Name the tests that were skipped for another reason."""
    unknown = config.stash[UNKNOWN]
    for line in sorted(unknown):
        terminalreporter.write_line(f"skipped for a reason that tests/skips.py lacks: {line}")
