"""Fixtures: a signed release, and the `verify` command run on it."""

import functools
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from ci.__main__ import main
from tests.verify.cases import in_rekor_v1
from tests.verify.judges import (
    SUITES,
    Cosign,
    Judge,
    find_cosign,
    find_gh,
    need_namespaces,
)
from tests.verify.stage import Scene, Stage, make_stage

ROOT = Path(__file__).parents[2]
Serve = Callable[[Path], str]


@pytest.fixture(scope="session", name="stage")
def _stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with pytest.MonkeyPatch.context() as patch:

        def enter(environment: Any) -> None:  # noqa: ANN401
            for name, value in environment.items():
                patch.setenv(name, value)

        stage = make_stage(tmp_path_factory.mktemp("stage"), enter)
    yield stage
    for mint in (stage.mint, stage.foreign):
        mint.log.close()
        mint.log_v1.close()


@pytest.fixture(scope="session", name="stage_v1")
def _stage_v1(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """Give the stage whose bundles are all of Rekor v1."""
    return in_rekor_v1(stage, tmp_path_factory.mktemp("v1"))


@pytest.fixture(scope="session", name="tools")
def _tools() -> dict[str, Judge]:
    need_namespaces()
    return {"cosign": find_cosign(SUITES["cosign 3"]), "gh": find_gh()}


@pytest.fixture(scope="session", name="cosign2")
def _cosign2() -> Cosign:
    need_namespaces()
    return find_cosign(SUITES["cosign 2"])


@pytest.fixture(name="scene")
def _scene(stage: Stage, tmp_path: Path) -> Scene:
    return Scene(stage, tmp_path)


class Output:
    """Output of the command."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.err = err
        self.document: dict[str, Any] = json.loads(out) if out else {}

    @property
    def failed(self) -> dict[str, str]:
        """What was found by each check that failed."""
        checks = self.document.get("checks", [])
        return {check["name"]: check["found"] for check in checks if not check["passed"]}

    @property
    def names(self) -> list[str]:
        """Every check that was made."""
        return [check["name"] for check in self.document["checks"]]


@pytest.fixture(name="ask")
def _ask(capsys: pytest.CaptureFixture[str]) -> Callable[[Scene], Output]:
    """Return a function that runs the command in this process."""

    def ask(scene: Scene) -> Output:
        capsys.readouterr()
        moment = datetime.now(tz=UTC) + scene.later
        with patch("ci.verify.verify.utc_now", lambda: moment):
            code = main([*scene.argv, "--json"])
        out, err = capsys.readouterr()
        return Output(code, out, err)

    return ask


@pytest.fixture(name="serve")
def _serve() -> Iterator[Serve]:
    """Return a function that serves a folder and returns its URL."""
    with _servers() as start:
        yield start


@contextmanager
def _servers() -> Iterator[Serve]:
    servers: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def start(folder: Path) -> str:
        handler = functools.partial(Quiet, directory=str(folder))
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_address[1]}"

    try:
        yield start
    finally:
        for server, thread in servers:
            server.shutdown()
            thread.join()
            server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    """A file server without a log."""

    def log_message(self, *words: object) -> None:
        """Log nothing."""


def ci(words: Sequence[str], *around: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m ci WORDS` in a process of its own, behind the words `around`."""
    return subprocess.run(
        [*around, sys.executable, "-m", "ci", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def remote(scene: Scene, target: str, *words: str) -> Scene:
    """Let the scene verify what is served at `target`."""
    scene.target, scene.words = target, list(words)
    return scene
