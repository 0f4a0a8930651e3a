"""The release notes say first how to check the release, in commands that can be copied."""

from collections.abc import Callable
from pathlib import Path

from ci.publish import command
from tests.publish.conftest import Outcome
from tests.publish.release import IMAGE, VERSION, write_config, write_release

SIGNER = f"https://github.com/octo/snowdrop/.github/workflows/build.yml@refs/tags/{VERSION}"
SPACES = {
    "bucket": "mirror",
    "region": "fra1",
    "prefix": "alpine/",
    "endpoint": "https://fra1.example.org",
    "public_url": "https://mirror.fra1.example.org",
}


def test_notes_begin_with_how_to_check(tmp_path: Path, call: Callable[..., Outcome]) -> None:
    write_release(tmp_path)
    notes = call(command, write_config(tmp_path, spaces=SPACES), "--notes").text
    assert notes.startswith("## Check it first")
    for line in (
        f"nox -s verify -- {VERSION} --repository octo/snowdrop",
        "  --bundle SHA256SUMS.sigstore.json \\",
        f"  --certificate-identity {SIGNER} \\",
        "  --certificate-oidc-issuer https://token.actions.githubusercontent.com \\",
        "sha256sum -c SHA256SUMS",
        f"https://mirror.fra1.example.org/alpine/{VERSION}/{IMAGE}",
    ):
        assert line in notes.splitlines()
    assert f"| `{IMAGE}` | image | 640.0 kB |" in notes
    assert ".sigstore.json` |" not in notes


def test_without_a_mirror_no_import_is_promised(
    tmp_path: Path, call: Callable[..., Outcome]
) -> None:
    write_release(tmp_path)
    assert "Import" not in call(command, write_config(tmp_path), "--notes").text
