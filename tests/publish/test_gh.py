"""GitHub's own client finds and verifies the provenance in the attestation store."""

import base64
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from werkzeug.serving import make_server
from werkzeug.wrappers import Request

from ci.rehearsal.github.attestations import stored_attestation
from ci.rehearsal.github.server import Application
from ci.rehearsal.http_server import Handler
from tests.publish.test_adopt import Run, run  # noqa: F401 (the fixture `run`)
from tests.verify.conftest import _stage  # noqa: F401 (the fixture `stage`)
from tests.verify.judges import find_gh
from tests.verify.stage import IMAGE, NEW, REPOSITORY

BUILD = f"{REPOSITORY}/.github/workflows/build.yml"
Gh = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.full  # it installs gh


@pytest.fixture(scope="module", name="program")
def _program() -> str:
    return find_gh().program


@pytest.fixture(name="gh")
def _gh(program: str, run: Run, tmp_path: Path) -> Iterator[Gh]:  # noqa: F811 (the fixture)
    """Return a function that runs gh, whose only way out is a socket of the double.

    gh sends the requests for https://api.github.com through the socket of its setting
    `http_unix_socket`, without TLS.
    """
    socket, settings, root = (tmp_path / name for name in ("socket", "settings", "root.jsonl"))
    settings.mkdir()
    (settings / "config.yml").write_text(f"http_unix_socket: {socket}\n")
    root.write_text(json.dumps(json.loads(run.stage.trust_root.read_text())) + "\n")
    application = Request.application(Application(run.world))
    server = make_server(f"unix://{socket}", 0, application, True, request_handler=Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()

    def runner(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "GH_TOKEN": "any"}
        return subprocess.run(
            [program, *words],
            env=environment | {"GH_CONFIG_DIR": str(settings), "GH_NO_UPDATE_NOTIFIER": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    yield runner
    server.shutdown()
    thread.join()
    server.server_close()


def verify(gh: Gh, file: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Verify a file as docs/verify.md says."""
    return gh(
        *("attestation", "verify", str(file), "--repo", REPOSITORY),
        *("--signer-workflow", BUILD, "--source-ref", f"refs/tags/{NEW}"),
        *("--deny-self-hosted-runners", "--custom-trusted-root", str(folder / "root.jsonl")),
    )


def test_gh_verifies_each_subject_of_the_provenance(gh: Gh, run: Run, tmp_path: Path) -> None:  # noqa: F811
    before = verify(gh, run.dist / IMAGE, tmp_path)
    assert (before.returncode, "HTTP 404" in before.stderr) == (1, True)

    assert run.publish().attestation == "stored"

    images = sorted(run.dist.glob("*.qcow2"))
    assert len(images) == 2
    for image in images:
        done = verify(gh, image, tmp_path)
        assert done.returncode == 0, done.stderr
    other = tmp_path / "other.qcow2"
    other.write_bytes(images[0].read_bytes() + b"x")
    assert verify(gh, other, tmp_path).returncode == 1
    assert run.publish().attestation == "kept"
    assert len(run.world.attestations) == 1


def test_gh_refuses_a_stored_bundle_of_another_sigstore(
    gh: Gh,
    run: Run,  # noqa: F811
    tmp_path: Path,
) -> None:
    bundle = json.loads((run.dist / "provenance.sigstore.json").read_bytes())
    payload = base64.b64decode(bundle["dsseEnvelope"]["payload"])
    forged = run.stage.foreign.statement(payload)
    run.world.attestations.append(stored_attestation(1, forged))
    assert verify(gh, run.dist / IMAGE, tmp_path).returncode == 1


def test_gh_says_that_the_double_attests_no_release(gh: Gh, run: Run) -> None:  # noqa: F811
    run.publish()
    done = gh("release", "verify", NEW, "-R", REPOSITORY)
    assert done.returncode == 1
    assert f"no attestations for tag {NEW}" in done.stderr
