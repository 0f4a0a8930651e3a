"""One run of a command at a time in one clone."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from build.edges.running import FOLDER, only_run
from build.errors import RunningError

HOLD = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from build.edges.running import only_run
with only_run(Path(sys.argv[1]), "pin", lambda: datetime(2026, 11, 26, 17, 10, 3, tzinfo=UTC)):
    print("held", flush=True)
    sys.stdin.read()
"""


def now() -> datetime:
    return datetime(2026, 11, 26, 18, 0, 0, tzinfo=UTC)


def hold(config: Path) -> "subprocess.Popen[str]":
    """Return a process that holds the run of `pin` until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(config)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_run_names_the_first_until_that_is_killed(tmp_path: Path) -> None:
    config = tmp_path / "release.toml"
    with hold(config) as first:
        expected = rf"^another pin runs \(pid {first.pid}, since 2026-11-26 17:10:03 UTC\)$"
        for _ in range(2):
            with pytest.raises(RunningError, match=expected), only_run(config, "pin", now):
                pass
        with only_run(config, "build", now), only_run(tmp_path / "other" / "x.toml", "pin", now):
            pass
        first.kill()
    with only_run(config, "pin", now):
        text = (tmp_path / FOLDER / "pin").read_text()
        assert text == f"{os.getpid()} 2026-11-26 18:00:00 UTC\n"


@pytest.mark.parametrize("content", [b"", b"\0" * 50, b"12", b"1 \x1b[31m00-00-00 00:00:0 UTC\n"])
def test_a_run_that_has_not_written_its_line_is_reported_without_it(
    content: bytes, tmp_path: Path
) -> None:
    config = tmp_path / "release.toml"
    with only_run(config, "store push", now):
        (tmp_path / FOLDER / "store-push").write_bytes(content)
        with (
            pytest.raises(RunningError, match=r"^another store push runs$") as refused,
            only_run(config, "store push", now),
        ):
            pass
        assert str(tmp_path / FOLDER / "store-push") in refused.value.hint
