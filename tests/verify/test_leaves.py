"""A bundle with any field altered is refused, in both versions of the log."""

import json
from hashlib import sha256
from pathlib import Path

import pytest

from build.errors import VerificationError
from ci.attest.statements import build_statement
from ci.verify.trust.bundles import Trust
from ci.verify.trust.policy import Policy, TrustedSigner
from tests.verify.leaves import alterations, at, paths
from tests.verify.mint import Json
from tests.verify.stage import NEW, REPOSITORY, Stage

CONTENT = b"signed content"
SHA256 = sha256(CONTENT).hexdigest()
STATEMENT_TYPE = "https://example.com/claim/v1"
STATEMENT = build_statement({"file": SHA256}, STATEMENT_TYPE, {"good": True})
KINDS = [
    pytest.param(rekor, kind, id=f"{kind} in Rekor v{rekor}")
    for rekor in (1, 2)
    for kind in ("file", "statement")
]

STAMPS = "verificationMaterial.timestampVerificationData"
ALLOWED = {
    1: [
        f"{STAMPS}: absent",
        f"{STAMPS}.rfc3161Timestamps: absent",
        f"{STAMPS}.rfc3161Timestamps.0: absent",
    ],
    2: [],
}
"""Without a timestamp the bundle of Rekor v1 is a whole one: the log has signed the time."""


def make(stage: Stage, rekor: int, kind: str) -> Json:
    """Return a bundle that holds."""
    mint = stage.mint.but(rekor=rekor)
    return mint.file(SHA256) if kind == "file" else mint.statement(STATEMENT)


class Judge:
    """What `verify` says of a bundle."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.trust = Trust(stage.trust_root)
        self.policy = Policy(TrustedSigner(repository=REPOSITORY), NEW, stage.commits[NEW])
        self.file = folder / "bundle.json"

    def check(self, kind: str, raw: bytes) -> None:
        """Check that it holds."""
        self.file.write_bytes(raw)
        if kind == "file":
            self.trust.check_file(self.file, SHA256, self.policy)
        else:
            self.trust.check_statement(self.file, self.policy)

    def accepts(self, kind: str, raw: bytes) -> bool:
        """Return whether it holds; an error that is not ours fails the test."""
        try:
            self.check(kind, raw)
        except VerificationError:
            return False
        return True


@pytest.mark.parametrize(("rekor", "kind"), KINDS)
def test_every_alteration_of_every_field_is_refused(
    stage: Stage, tmp_path: Path, rekor: int, kind: str
) -> None:
    bundle, judge = make(stage, rekor, kind), Judge(stage, tmp_path)
    assert judge.accepts(kind, json.dumps(bundle).encode())
    table = list(alterations(bundle))
    altered = {name.partition(":")[0] for name, _ in table}
    leaves = [path for path in paths(bundle) if isinstance(at(bundle, path), str)]
    assert {".".join(map(str, path)) for path in leaves} <= altered
    assert len(table) > 150
    assert [name for name, raw in table if judge.accepts(kind, raw)] == ALLOWED[rekor]
