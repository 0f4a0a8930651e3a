"""The committed trust root of the public instance is the one that was reviewed."""

import hashlib
from pathlib import Path

from sigstore.models import TrustedRoot

FOLDER = Path(__file__).parents[2] / "ci" / "verify" / "trust"


def test_its_readme_names_its_digest_and_the_client_reads_it() -> None:
    digest = hashlib.sha256((FOLDER / "trusted_root.json").read_bytes()).hexdigest()
    assert f"`{digest}`" in (FOLDER / "README.md").read_text()
    assert TrustedRoot.from_file(str(FOLDER / "trusted_root.json")).get_fulcio_certs()
