"""A sigstore runs as a separate process until SIGTERM."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sigstore.verify import policy

from ci.rehearsal.sigstore.server import Running
from tests.rehearsal.sigstore.conftest import JOB, signer_of, verifier_of

ROOT = Path(__file__).parents[3]


def test_a_process_prints_its_address_and_ends_on_sigterm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = [sys.executable, "-m", "ci.rehearsal.sigstore", "--folder", str(tmp_path / "state")]
    argv += ["--repository", JOB.repository, "--tag", JOB.tag, "--sha", JOB.commit]
    environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            ready = json.loads(process.stdout.readline())
            for name, value in ready["environment"].items():
                monkeypatch.setenv(name, value)
            running = Running(
                address=ready["address"],
                trusted_root=Path(ready["trusted_root"]),
                signing_config=Path(ready["signing_config"]),
                environment=ready["environment"],
            )
            with signer_of(running) as signer:
                bundle = signer.sign_artifact(b"image")
        finally:
            process.terminate()
        assert process.wait(timeout=20) == 0
    repository = policy.OIDCSourceRepositoryIdentifier(ready["repository_id"])
    verifier_of(running).verify_artifact(b"image", bundle, repository)
