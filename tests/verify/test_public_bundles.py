"""Real bundles: of sigstore's conformance tests, and of public releases.

They are read from the folder `shared` beside the project, where there is one.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from build.errors import SnowdropError
from ci.verify.trust.bundles import PUBLIC_ROOT, Trust
from ci.verify.trust.policy import Policy, TrustedSigner
from tests import skips
from tests.verify.leaves import alterations

FOLDER = Path(__file__).parents[3] / "shared" / "sigstore-bundles"
CASES = sorted(path.parent for path in FOLDER.glob("conformance/*/bundle.sigstore.json"))
OLDER = "its bundle is of an older form than v0.3"
NO_CERTIFICATE = "its bundle has a key and no certificate, so it names no workflow"
BY_DESIGN = {
    "happy-path-v0.1": OLDER,
    "happy-path-v0.2": OLDER,
    "happy-path-v0.3": "its bundle has the older name of the form v0.3",
    "intoto-with-custom-trust-root": OLDER,
    "managed-key-and-trusted-root": NO_CERTIFICATE,
    "managed-key-happy-path": NO_CERTIFICATE,
    "trust-root-tlog-validity-end-inclusive": OLDER,
}
"""Cases that a general verifier must accept and `verify` refuses, with the reason."""
SIGNER = (
    "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/"
    ".github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main"
)
A_TXT = "a0cfc71271d6e278e57cd332ff957c3f7043fdda354c4cbb190a30d56efa01bf"
"""sha256 of the file that a case without one of its own is about."""


@dataclass(frozen=True)
class Signer(Policy):
    """A policy with the identity of a case."""

    identity: str = SIGNER

    @property
    def build_signer(self) -> str:
        """The identity that must have signed."""
        return self.identity


def accepts(case: Path, bundle: Path) -> bool:
    """Return whether `bundle` holds for the artifact, identity and root of a case."""
    root, identity, artifact = (case / n for n in ("trusted_root.json", "identity", "artifact"))
    who = identity.read_text().strip() if identity.exists() else SIGNER
    policy = Signer(TrustedSigner(repository=""), "", "", identity=who)
    digest = hashlib.sha256(artifact.read_bytes()).hexdigest() if artifact.exists() else A_TXT
    try:
        trust = Trust(root if root.exists() else PUBLIC_ROOT)
        if b"dsseEnvelope" in bundle.read_bytes():
            trust.check_statement(bundle, policy)
        else:
            trust.check_file(bundle, digest, policy)
    except SnowdropError:
        return False
    return True


@pytest.mark.skipif(not CASES, reason=skips.BUNDLES)
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_case_of_the_conformance_tests(case: Path) -> None:
    expected = not case.name.endswith("_fail") and case.name not in BY_DESIGN
    assert accepts(case, case / "bundle.sigstore.json") is expected


@pytest.mark.skipif(not CASES, reason=skips.BUNDLES)
@pytest.mark.parametrize(
    "name", ["happy-path-v0.3-new-mediaType", "rekor2-happy-path", "rekor2-dsse-happy-path"]
)
def test_no_field_of_a_real_bundle_can_be_altered(name: str, tmp_path: Path) -> None:
    case, altered = FOLDER / "conformance" / name, tmp_path / "bundle.json"
    table = alterations(json.loads((case / "bundle.sigstore.json").read_text()))
    accepted = []
    for where, raw in table:
        altered.write_bytes(raw)
        if accepts(case, altered):
            accepted.append(where)
    assert accepted == []
