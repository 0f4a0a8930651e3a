"""SHA256SUMS is what coreutils read and write, and names only files beside it."""

import hashlib
import shutil
from pathlib import Path

import pytest

from build.edges.process import run
from build.errors import VerificationError
from ci.attest.collect import artifact_of
from ci.release.checksums import dump_checksums, parse_checksums
from tests import skips

FILES = {"b.apk": b"package", "A.qcow2": b"image", "release+1.json": b"{}"}
SUMS = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}


@pytest.mark.skipif(not shutil.which("sha256sum"), reason=skips.TOOL)
def test_sha256sum_checks_our_file_and_writes_the_same(tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    theirs = run(["sha256sum", *sorted(FILES)], cwd=tmp_path).stdout
    assert dump_checksums(SUMS) == theirs
    (tmp_path / "SHA256SUMS").write_bytes(dump_checksums(SUMS))
    run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path)


def test_the_parser_reads_what_dump_writes() -> None:
    assert parse_checksums(dump_checksums(SUMS)) == SUMS


ZERO = "0" * 64


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(f"{ZERO}  a\n{ZERO}  b".encode(), "cut off", id="cut off"),
        pytest.param(f"{ZERO}  b\n{ZERO}  a\n".encode(), "unsorted", id="unsorted"),
        pytest.param(f"{ZERO}  a\n{ZERO}  a\n".encode(), "line 2: a twice", id="twice"),
        pytest.param(f"{ZERO} *a\n".encode(), "line 1 is", id="binary mode"),
        pytest.param(f"{ZERO}  ../a\n".encode(), "line 1 is", id="leads out"),
        pytest.param(f"{ZERO}  /etc/passwd\n".encode(), "line 1 is", id="absolute"),
        pytest.param(f"{ZERO}  a\r\n".encode(), "line 1 is", id="carriage return"),
        pytest.param(f"{'0' * 63}  a\n".encode(), "line 1 is", id="short digest"),
        pytest.param(f"\\{ZERO}  a\n".encode(), "line 1 is", id="escaped name"),
        pytest.param(b"\xff\xfe\n", "line 1 is", id="not UTF-8"),
    ],
)
def test_a_file_that_dump_would_not_write_is_refused(raw: bytes, message: str) -> None:
    with pytest.raises(VerificationError, match=f"^SHA256SUMS: .*{message}"):
        parse_checksums(raw)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match=r"^image\.qcow2: no such file"):
        artifact_of(tmp_path / "image.qcow2", "image")
