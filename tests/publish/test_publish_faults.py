"""Each fault is followed by one plain run that ends complete, without a duplicate."""

import errno
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from build.errors import PublishError, RemoteError, SnowdropError
from ci.publish import adopt, github_release
from ci.rehearsal.github.state import Fault, Kind, World
from tests.publish.faults import (
    CREATE,
    ROWS,
    STORE,
    UPDATE,
    UPLOAD,
    Row,
    Run,
    meanwhile,
    release_it,
)
from tests.publish.release import IMAGE, Counted, write_release

ROOT = Path(__file__).parents[2]
KILLED = {
    "draft": (CREATE, ""),
    "first upload": (UPLOAD, "provenance.sigstore.json"),
    "image": (UPLOAD, IMAGE),
    "last upload": (UPLOAD, "SHA256SUMS.sigstore.json"),
    "attestation": (STORE, ""),
    "publication": (UPDATE, ""),
}
"""Actions of the plan, after which the run is killed: operation and asset."""


@pytest.fixture(name="run")
def _run(tmp_path: Path, api: str, world: World) -> Run:
    write_release(tmp_path)
    return Run(tmp_path, api, world)


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, id=row.name, marks=[] if row.quick else [pytest.mark.full])
        for row in ROWS.values()
    ],
)
def test_one_plain_run_completes_the_release(
    row: Row, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(github_release, "SILENCE", 0.5)
    wanted = run.digests()
    row.arrange(run)
    if row.error:
        with pytest.raises(SnowdropError) as failed:
            run.publish()
        assert re.search(row.error, f"{failed.value} {failed.value.hint}")
    else:
        run.publish()
    assert run.world.faults == [] or row.repair is not Row.repair
    row.repair(run)
    run.world.ended.set()

    again = run.publish()

    run.check_complete()
    assert again.before or row.error
    assert run.digests() == wanted


def test_the_table_is_whole() -> None:
    assert len(ROWS) >= 60
    assert sum(row.quick for row in ROWS.values()) < 16


@pytest.mark.parametrize(("kind", "low", "high"), [("403-limit", 20, 32), ("429", 1, 1)])
def test_a_rate_limit_is_waited_for_as_long_as_it_lasts(
    kind: Kind, low: int, high: int, run: Run
) -> None:
    run.world.faults.append(Fault(CREATE, kind))
    run.publish()
    (pause,) = run.pauses
    assert low <= pause <= high


def test_an_upload_is_counted_once(run: Run) -> None:
    progress = Counted()
    run.world.faults.append(Fault(UPLOAD, "reset-midway", IMAGE))
    run.publish(progress=progress)
    total = sum(path.stat().st_size for path in run.dist.iterdir())
    assert progress.steps["Upload 15 files"] == total


def test_a_closed_port_is_named(run: Run) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(RemoteError, match="refused") as failed:
        run.publish(api=closed)
    assert "run the command again" in failed.value.hint
    run.publish()
    run.check_complete()


def test_a_release_that_somebody_published_half_is_named_and_left(run: Run) -> None:
    meanwhile(UPLOAD, release_it, IMAGE)(run)
    with pytest.raises(RemoteError, match="immutable release"):
        run.publish()
    before = [each.name for each in run.release().assets]
    with pytest.raises(PublishError, match="not in the published release") as refused:
        run.publish()
    assert "increase `serial`" in refused.value.hint
    assert [each.name for each in run.release().assets] == before


def test_a_full_disk_loses_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.publish()
    wanted = run.digests()
    for path in run.dist.glob("SHA256SUMS.sigstore.json"):
        path.write_bytes(path.read_bytes().replace(b'"1"', b'"2"'))

    def full(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            run.publish()
    assert not (run.dist / adopt.STAGING).exists()
    changed = {name for name, value in run.digests().items() if value != wanted[name]}
    assert changed == {"SHA256SUMS.sigstore.json"}

    run.publish(accept=True)

    assert run.digests() == wanted
    run.check_complete()


def started(run: Run) -> subprocess.Popen[str]:
    """Start the command as a user does."""
    return subprocess.Popen(
        [sys.executable, "-m", "ci", "publish", "--config", str(run.config)],
        cwd=ROOT,
        env={**os.environ, "GITHUB_TOKEN": "token"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def interrupt(run: Run, operation: str, kind: Kind, name: str, number: int) -> tuple[int, str]:
    """Run the command, signal it at an operation, and return its status and its output."""
    processes: list[subprocess.Popen[str]] = []

    def act() -> None:
        processes[0].send_signal(number)
        processes[0].wait(60)

    run.world.faults.append(Fault(operation, kind, name, act))
    with run.world.lock:
        processes.append(started(run))
    output, _ = processes[0].communicate(timeout=120)
    assert run.world.faults == []
    run.world.ended.set()
    return processes[0].returncode, output


@pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=[] if each == "image" else [pytest.mark.full]) for each in KILLED],
)
def test_a_killed_run_is_completed(name: str, run: Run) -> None:
    operation, asset = KILLED[name]
    status, _ = interrupt(run, operation, "reset-after", asset, signal.SIGKILL)
    assert status == -signal.SIGKILL
    run.publish()
    # Killed behind the publication: the notes of a published release stay.
    run.check_complete(run.command_notes() if name == "publication" else "notes")


def test_an_interrupt_in_an_upload_ends_with_130(run: Run) -> None:
    status, output = interrupt(run, UPLOAD, "stalled", IMAGE, signal.SIGINT)
    assert status == 130
    assert "Traceback" not in output
    assert "interrupted" in output.lower()
    assert run.release().draft
    run.publish()
    run.check_complete()
