"""`verify --converted` names the signed image that a converted file has the disk of."""

import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from build.errors import ConfigError, VerificationError
from ci.commands import verify as verify_command
from ci.release.manifest import MANIFEST, build_bundle, parse_manifest
from ci.verify.verified import VerifiedImage
from tests.publish.conftest import Outcome, call
from tests.publish.release import IMAGE, statement, write_config, write_release

__all__ = ["call"]
DISK = bytes(range(256)) * 4096


@pytest.fixture(name="check")
def _check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[..., Outcome]
) -> Callable[[Path], Outcome]:
    """Return a function that runs the command for a release whose image has DISK."""
    dist = write_release(tmp_path)
    record = {"raw": {"size": len(DISK), "sha256": hashlib.sha256(DISK).hexdigest()}}
    (dist / build_bundle(IMAGE)).write_bytes(statement(record))
    manifest = parse_manifest((dist / MANIFEST).read_bytes())
    images = [VerifiedImage(dist, manifest, image) for image in manifest.of_role("image")]
    # The verification itself is the matter of tests/verify.
    monkeypatch.setattr("ci.verify.verified.verify_release", lambda *_: images)
    config = write_config(tmp_path)
    return lambda file: call(verify_command, config, str(dist), "--converted", str(file), "--json")


@pytest.mark.parametrize("suffix", [".raw", ".raw.gz"])
def test_the_signed_image_is_named(
    suffix: str, tmp_path: Path, check: Callable[[Path], Outcome]
) -> None:
    file = tmp_path / f"disk{suffix}"
    file.write_bytes(gzip.compress(DISK) if suffix.endswith("gz") else DISK)
    assert check(file).data["images"] == [IMAGE]


def test_another_disk_is_refused(tmp_path: Path, check: Callable[[Path], Outcome]) -> None:
    file = tmp_path / "disk.raw"
    file.write_bytes(DISK[:-1] + b"x")
    with pytest.raises(VerificationError, match="that of no image of the release"):
        check(file)


@pytest.mark.parametrize("name", ["disk.iso", "missing.raw"])
def test_a_file_of_no_known_format_is_refused(
    name: str, tmp_path: Path, check: Callable[[Path], Outcome]
) -> None:
    (tmp_path / "disk.iso").write_bytes(DISK)
    with pytest.raises(ConfigError, match=r"ends in \.raw, \.raw\.gz"):
        check(tmp_path / name)
