"""A running local sigstore, and the unmodified client."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from sigstore.models import ClientTrustConfig, TrustedRoot
from sigstore.oidc import IdentityToken, detect_credential
from sigstore.sign import Signer, SigningContext
from sigstore.verify import Verifier

from ci.rehearsal.sigstore.oidc import Job
from ci.rehearsal.sigstore.server import Running, Sigstore

JOB = Job(repository="lighthouse/snowdrop", tag="v3.24.20261123", commit="4f" * 20)


@pytest.fixture(name="rekor", params=[1, 2], ids=["Rekor v1", "Rekor v2"])
def _rekor(request: pytest.FixtureRequest) -> int:
    """Version of the log that signatures go into."""
    version: int = request.param
    return version


@pytest.fixture(name="serve")
def _serve(
    monkeypatch: pytest.MonkeyPatch, rekor: int
) -> Callable[[Path], AbstractContextManager[Running]]:
    """Return a function that runs an instance and sets its environment in this process."""

    @contextmanager
    def serve(folder: Path) -> Iterator[Running]:
        with (
            Sigstore.open(folder, JOB, rekor=rekor).serve() as running,
            monkeypatch.context() as patch,
        ):
            for name, value in running.environment.items():
                patch.setenv(name, value)
            yield running

    return serve


@contextmanager
def signer_of(running: Running) -> Iterator[Signer]:
    token = detect_credential()
    assert token
    config = ClientTrustConfig.from_json(
        json.dumps(
            {
                "mediaType": ClientTrustConfig.ClientTrustConfigType.CONFIG_0_1.value,
                "trustedRoot": json.loads(running.trusted_root.read_text()),
                "signingConfig": json.loads(running.signing_config.read_text()),
            }
        )
    )
    with SigningContext.from_trust_config(config).signer(IdentityToken(token)) as signer:
        yield signer


def verifier_of(running: Running) -> Verifier:
    return Verifier(trusted_root=TrustedRoot.from_file(str(running.trusted_root)))
