"""`--offline` and folders: no socket is opened, and nothing is installed."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ci.commands.verify import no_socket
from ci.environment import STAMP
from tests import skips
from tests.verify.conftest import Output, ci
from tests.verify.stage import REPOSITORY, Scene, sha256_of

ROOT = Path(__file__).parents[2]
Ask = Callable[[Scene], Output]


@pytest.mark.skipif(shutil.which("strace") is None, reason=skips.TOOL)
def test_offline_opens_no_socket(scene: Scene) -> None:
    """No network call is seen by strace, from the first import to the last line."""
    trace = scene.place / "trace"
    watch = ["strace", "-f", "-qq", "-e", "trace=%network", "-o", str(trace)]
    scene.words += ["--deep"]
    done = ci(scene.argv, *watch)
    assert (done.returncode, trace.read_text()) == (0, "")
    assert f"{scene.folder}: verified," in done.stdout
    ci(["verify", "http://127.0.0.1:9", "--repository", REPOSITORY], *watch)
    assert "socket(AF_INET" in trace.read_text(), "strace sees what opens one"


@pytest.mark.skipif(shutil.which("strace") is None, reason=skips.TOOL)
@pytest.mark.parametrize("installed", [False, True])
def test_the_session_opens_no_socket_and_installs_nothing(scene: Scene, *, installed: bool) -> None:
    """As somebody types it, in a checkout with and without the environment of the session."""
    checkout, trace = scene.place / "checkout", scene.place / "trace"
    for name in ("ci", "build", "requirements"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, checkout / name, ignore=ignored)
    shutil.copyfile(ROOT / "noxfile.py", checkout / "noxfile.py")
    if installed:
        # Another interpreter than that of nox installed it: that is no reason to do it again.
        python = checkout / ".nox" / "release" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
        digest = sha256_of(ROOT / "requirements" / "release.txt")
        (python.parents[1] / STAMP).write_text(f"{digest}\n3.9.1 /usr/bin/python3.9\n")
    watch = ["strace", "-f", "-qq", "-e", "trace=%network", "-e", "signal=none", "-o", str(trace)]
    words = ["-m", "nox", "-s", "verify", "--", *scene.argv[1:], "--deep"]
    done = subprocess.run(
        [*watch, sys.executable, *words], cwd=checkout, capture_output=True, text=True, check=False
    )
    assert trace.read_text() == ""
    if installed:
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"{scene.folder}: verified," in done.stdout
    else:
        assert done.returncode == 2
        assert "error: .nox/release: not installed, and `--offline` installs" in done.stderr
        assert not (checkout / ".nox").exists()


def test_offline_refuses_what_would_open_a_socket() -> None:
    with no_socket(), pytest.raises(PermissionError, match="--offline"):
        socket.socket()
    socket.socket().close()


def test_a_folder_verifies_where_there_is_no_network(scene: Scene) -> None:
    alone = ["unshare", "--net", "--map-root-user", "--user"]
    probe = subprocess.run([*alone, "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip(skips.NAMESPACES)
    done = ci(scene.argv, *alone)
    assert (done.returncode, done.stderr) == (0, "")
