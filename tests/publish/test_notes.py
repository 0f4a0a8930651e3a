"""The release notes begin with how to verify the release, in commands that can be copied."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from build.errors import VerificationError
from build.snapshot.lock import Lock
from ci.commands import publish as command
from ci.config import ISSUER
from ci.publish.contents import MEMORY
from ci.publish.notes import IMPORT_NOTES, VERIFY_NOTES
from ci.release.lock_diff import compare_locks
from ci.release.manifest import DIFFERENCE_BUNDLE
from tests.publish.conftest import Outcome
from tests.publish.release import IMAGE, VERSION, write_config, write_inventory, write_release
from tests.snapshot.conftest import lock_of, locked

ROOT = Path(__file__).parents[2]
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
        "git clone https://github.com/octo/snowdrop && cd snowdrop",
        f".venv/bin/nox -s verify -- {VERSION} --repository octo/snowdrop --save download",
        "  --bundle SHA256SUMS.sigstore.json \\",
        f"  --certificate-identity {SIGNER} \\",
        "  --certificate-oidc-issuer https://token.actions.githubusercontent.com \\",
        "sha256sum -c SHA256SUMS",
        f"https://mirror.fra1.example.org/alpine/{VERSION}/{IMAGE}",
    ):
        assert line in notes.splitlines()
    assert f"| `{IMAGE}` | image | 640.0 kB |" in notes
    assert ".sigstore.json` |" not in notes


def test_notes_say_what_is_in_the_image_and_how_to_import_it(
    tmp_path: Path, call: Callable[..., Outcome]
) -> None:
    dist = write_release(tmp_path)
    write_inventory(dist)
    notes = call(command, write_config(tmp_path, spaces=SPACES), "--notes").text
    url = f"https://mirror.fra1.example.org/alpine/{VERSION}/{IMAGE}"
    for line in (
        f"## What is in {IMAGE}",
        (
            "- Linux 6.18.3-0-virt; 2 packages, among them alpine-base 3.24.1-r0. The SBOM lists "
            "all of them."
        ),
        "- Services: networking, chronyd, sshd.",
        "- Open ports in the boot test: 22/tcp.",
        "- Log in as `root` with the SSH key that you give the droplet; there is no password.",
        (
            "- At least 512 MiB of memory, with which the image was booted, and a disk of 1,024 "
            "MiB; a larger disk is used as a whole."
        ),
        "- First login 28 s after the start, in QEMU.",
        (
            f"- `doctl compute image create snowdrop --image-url {url} --region fra1 "
            "--image-distribution Unknown`"
        ),
    ):
        assert line in notes.splitlines()
    assert "--variant droplet --region fra1 --via s3://MY-BUCKET\n" in notes


def test_a_droplet_of_the_boot_test_has_the_memory_that_the_notes_name() -> None:
    words = (ROOT / "ci" / "boot" / "machine.py").read_text()
    assert f'"-m", "{MEMORY}",' in words


def test_the_pages_have_the_commands_of_the_notes() -> None:
    """As they are typed: a change of one must change the other."""
    pages = "\n".join((ROOT / "docs" / name).read_text() for name in ("verify.md", "import.md"))
    known = {"repository": "OWNER/REPO", "folder": "REPO", "tag": "v3.24.20261123"}
    texts = [
        VERIFY_NOTES.substitute(known, identity="IDENTITY", issuer=ISSUER),
        IMPORT_NOTES.substitute(known, variant="droplet", name="snowdrop", url="URL"),
    ]
    found = [command for text in texts for command in commands_in(text)]
    assert len(found) >= 8
    assert [command for command in found if command not in pages] == []


def commands_in(text: str) -> list[str]:
    """Return the commands in blocks and between backquotes, each on one line."""
    joined = re.sub(r" \\\n\s*", " ", text)
    blocks = re.findall(r"```sh\n(.*?)```", joined, re.DOTALL)
    spans = re.findall(r"`((?:sha256sum|doctl|curl|ssh) [^`]*)`", joined)
    return [line for block in blocks for line in block.splitlines()] + spans


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
