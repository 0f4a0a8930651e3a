"""The rehearsal starts a sigstore as a process, signs with it, and ends it."""

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


def test_a_process_tells_where_it_is_and_ends_when_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = [sys.executable, "-m", "ci.rehearsal.sigstore", "--folder", str(tmp_path / "state")]
    argv += ["--repository", JOB.repository, "--tag", JOB.tag, "--sha", JOB.commit]
    environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            told = json.loads(process.stdout.readline())
            for name, value in told["environment"].items():
                monkeypatch.setenv(name, value)
            running = Running(
                address=told["address"],
                trusted_root=Path(told["trusted_root"]),
                signing_config=Path(told["signing_config"]),
                client_trust_config=Path(told["client_trust_config"]),
                environment=told["environment"],
            )
            with signer_of(running) as signer:
                bundle = signer.sign_artifact(b"image")
        finally:
            process.terminate()
        assert process.wait(timeout=20) == 0
    repository = policy.OIDCSourceRepositoryIdentifier(told["repository_id"])
    verifier_of(running).verify_artifact(b"image", bundle, repository)
