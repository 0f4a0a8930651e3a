"""What holds for every test: markers, reasons for skips, and a distribution to read."""

import os
import shutil
from collections.abc import Generator, Mapping

import pytest
from hypothesis import HealthCheck, settings

from build.edges.progress import Silent
from build.errors import ConfigError, RemoteError
from ci.rehearsal.sample.debian import Deb, fetch
from ci.rehearsal.sample.make import Sample, make_sample
from ci.rehearsal.sample.recipes import read_table
from ci.report.actions import OUTPUT, SUMMARY, write_summary
from tests import skips
from tests.alpine import SMALL
from tests.distribution import (
    SAMPLE_WORK,
    Distribution,
    alpine_distribution,
    sample_distribution,
)
from tests.summary import summarize

QEMU = "qemu-system-x86_64"
settings.register_profile(
    "fuzz", max_examples=2_000, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
"""For `nox -s fuzz`, which takes minutes; the tests use the default of a hundred."""


def pytest_configure(config: pytest.Config) -> None:
    """Keep the skip reasons of one run, and the files of a step of GitHub Actions for its end.

    The commands that the tests run would otherwise write their own summaries there.
    """
    config.stash[UNKNOWN] = set()
    names = [name for name in (OUTPUT, SUMMARY) if name in os.environ]
    config.stash[STEP] = {name: os.environ.pop(name) for name in names}


UNKNOWN = pytest.StashKey[set[str]]()
STEP = pytest.StashKey[Mapping[str, str]]()


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
    """Name the tests that were skipped for another reason; write the summary of the job."""
    chosen = config.args if config.args_source is pytest.Config.ArgsSource.ARGS else ()
    write_summary(config.stash[STEP], summarize(terminalreporter.stats, chosen))
    unknown = config.stash[UNKNOWN]
    for line in sorted(unknown):
        terminalreporter.write_line(f"skipped for a reason that tests/skips.py lacks: {line}")


@pytest.fixture(scope="session")
def debs() -> list[Deb]:
    """Give the Debian packages that the sample distribution is made of."""
    try:
        return fetch(read_table(), SAMPLE_WORK, mirror=None, progress=Silent())
    except (ConfigError, RemoteError) as error:
        pytest.skip(f"{skips.DEBIAN_MIRROR}: {error}")


@pytest.fixture(scope="session")
def sample(debs: list[Deb], tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """Give the sample distribution as a rehearsal makes it."""
    del debs
    out = tmp_path_factory.mktemp("sample") / "out"
    return make_sample(out=out, work=SAMPLE_WORK, mirror=None, progress=Silent())


@pytest.fixture(scope="session")
def distribution(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Distribution:
    """Give a repository of real packages: Alpine's when they are at hand, else the sample's."""
    if SMALL.is_dir():
        return alpine_distribution()
    sample: Sample = request.getfixturevalue("sample")
    return sample_distribution(sample.image, tmp_path_factory.mktemp("distribution"))
