"""A signed release, and the eyes of somebody who was given it."""

import functools
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from build.edges.progress import Silent
from ci.attest.walk import sign_release
from ci.rehearsal.sigstore.server import Running
from ci.verify.bundles import Trust
from ci.verify.checks import Findings
from ci.verify.release import Expectation, verify_folder
from tests.attest.conftest import JOB, Workshop, _enter, _sigstore, _workshop

__all__ = ["_enter", "_sigstore", "_workshop"]
ISSUER = "https://token.actions.githubusercontent.com"
LOOK_AT = Expectation(repository=JOB.repository, issuer=ISSUER, tag=JOB.tag)


def sign(workshop: Workshop) -> Path:
    """Sign what is in the workshop, and return its folder as somebody would download it."""
    sign_release(workshop.config, [workshop.record], environment={}, progress=Silent())
    for path in (workshop.record, workshop.report):
        path.rename(workshop.root / path.name)
    return workshop.dist


@pytest.fixture(name="release")
def _release(workshop: Workshop, sigstore: Running) -> Path:
    del sigstore
    return sign(workshop)


@pytest.fixture(name="trust")
def _trust(workshop: Workshop, sigstore: Running) -> Trust:
    del sigstore
    root = workshop.config.sign.trust_root
    assert root is not None
    return Trust(root)


@pytest.fixture(name="look")
def _look(release: Path, trust: Trust) -> Callable[..., Findings]:
    """Return what verifies the release as it lies there now."""

    def look(expectation: Expectation = LOOK_AT) -> Findings:
        return verify_folder(release, trust, expectation)

    return look


@pytest.fixture(name="served")
def _served(release: Path) -> Iterator[str]:
    """Serve the release as a mirror does; give its address."""
    handler = functools.partial(Quiet, directory=str(release))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


class Quiet(SimpleHTTPRequestHandler):
    """A file server that says nothing."""

    def log_message(self, *words: object) -> None:
        """Say nothing."""
