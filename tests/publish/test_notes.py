"""The release notes begin with how to verify the release, in commands that can be copied."""

from collections.abc import Callable
from pathlib import Path

import pytest

from build.errors import VerificationError
from build.snapshot.lock import Lock
from ci.commands import publish as command
from ci.release.lock_diff import compare_locks
from ci.release.manifest import DIFFERENCE_BUNDLE
from tests.publish.conftest import Outcome
from tests.publish.release import IMAGE, VERSION, write_config, write_release
from tests.snapshot.conftest import lock_of, locked

SIGNER = f"https://github.com/octo/snowdrop/.github/workflows/build.yml@refs/tags/{VERSION}"
SPACES = {
    "bucket": "mirror",
    "region": "fra1",
    "prefix": "alpine/",
    "endpoint": "https://fra1.example.org",
    "public_url": "https://mirror.fra1.example.org",
}


def test_notes_begin_with_the_verification(tmp_path: Path, call: Callable[..., Outcome]) -> None:
    write_release(tmp_path)
    notes = call(command, write_config(tmp_path, spaces=SPACES), "--notes").text
    assert notes.startswith("## Verify it first")
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


def test_without_a_mirror_there_is_no_import_url(
    tmp_path: Path, call: Callable[..., Outcome]
) -> None:
    write_release(tmp_path)
    assert "Import" not in call(command, write_config(tmp_path), "--notes").text


def test_the_signed_changes_since_the_previous_release_are_listed(
    tmp_path: Path, call: Callable[..., Outcome]
) -> None:
    before, after = _locks()
    since = compare_locks(before, after, names=("v3.24.20261101", VERSION))
    write_release(tmp_path, since=since)
    notes = call(command, write_config(tmp_path), "--notes").text
    assert "## What changed" in notes
    assert f"v3.24.20261101 (`{before.id[:12]}`) → {VERSION} (`{after.id[:12]}`)" in notes
    assert "| upgraded | musl | 1.2.4-r0 | 1.2.5-r0 |" in notes


@pytest.mark.parametrize(
    "content",
    [b"no JSON", b"{}", b'{"dsseEnvelope": {"payload": "e30="}}', b'{"dsseEnvelope": 1}'],
)
def test_an_unreadable_statement_is_named(
    tmp_path: Path, call: Callable[..., Outcome], content: bytes
) -> None:
    before, after = _locks()
    dist = write_release(tmp_path, since=compare_locks(before, after, names=("old", "new")))
    (dist / DIFFERENCE_BUNDLE).write_bytes(content)
    with pytest.raises(VerificationError, match=f"^{DIFFERENCE_BUNDLE}: "):
        call(command, write_config(tmp_path), "--notes")


def _locks() -> tuple[Lock, Lock]:
    return (
        lock_of(locked("musl", 0, "1.2.4-r0")),
        lock_of(locked("musl", 0, "1.2.5-r0", sha256="d" * 64)),
    )
